"""Data that is given to another cluster: the same identity that the image's own script gives a new one."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from labcloud.errors import EngineError
from labcloud.images import declarations
from labcloud.protect.identity import HdfsIdentity, adopt

SCRIPT = declarations.FOLDER / "base/files/usr/lib/labcloud/prepare/namenode"
NAMENODE = (
    "namespaceID=@NAMESPACE_ID@\nclusterID=@CLUSTER_ID@\ncTime=0\nstorageType=NAME_NODE\nblockpoolID=@BLOCKPOOL_ID@\nlayoutVersion=-63\n"
)
IDS = [
    "0" * 32,
    "f" * 32,
    "80000000ffffffff00000000deadbeef",
    *(hashlib.md5(name, usedforsecurity=False).hexdigest() for name in (b"a", b"b", b"c")),
]
UUID = "datanodeUuid=0b1ee5a4-9d7e-4a8e-8ee1-0f5f7c9a2f10"


@pytest.mark.parametrize("id", IDS)
def test_it_is_what_the_script_of_the_image_makes(tmp_path: Path, id: str) -> None:
    template, conf, name = tmp_path / "home/libexec/namenode/current", tmp_path / "conf", tmp_path / "data/name"
    for folder in (template, conf, name):
        folder.mkdir(parents=True)
    (template / "VERSION").write_text(NAMENODE)
    (conf / "hdfs-site.xml").write_text(f"<property><name>dfs.namenode.name.dir</name><value>file://{name}</value></property>")
    environment = {"PATH": "/usr/bin:/bin", "HADOOP_HOME": str(tmp_path / "home"), "HADOOP_CONF_DIR": str(conf), "LABCLOUD_CLUSTER_ID": id}
    subprocess.run(["bash", str(SCRIPT)], env=environment, check=True, capture_output=True)
    made = dict(line.split("=") for line in (name / "current/VERSION").read_text().split())
    assert HdfsIdentity.of(id).fields.items() <= made.items()


def volume(root: Path, pools: tuple[str, ...] = ("BP-7-10.0.0.1-1500000000000",)) -> Path:
    """A data volume of a node that is everything at once."""
    texts = {
        "hdfs/name/current/VERSION": "#Wed\n" + NAMENODE.replace("@NAMESPACE_ID@", "7").replace("@CLUSTER_ID@", "CID-old"),
        "hdfs/data/current/VERSION": f"#Wed\nstorageID=DS-1\nclusterID=CID-old\ncTime=0\n{UUID}\nlayoutVersion=-57\n",
    } | {f"hdfs/data/current/{pool}/current/VERSION": f"namespaceID=7\ncTime=0\nblockpoolID={pool}\nlayoutVersion=-57\n" for pool in pools}
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True)
        (root / path).write_text(text)
        (root / path).chmod(0o640)
    return root


def texts(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}


def test_every_file_and_the_folder_of_the_pool_say_who_it_is(tmp_path: Path) -> None:
    new = HdfsIdentity.of("ab" * 16)
    root = volume(tmp_path / "volume")
    adopt(root, new)
    after = texts(root)
    assert set(after) == {"hdfs/name/current/VERSION", "hdfs/data/current/VERSION", f"hdfs/data/current/{new.pool}/current/VERSION"}
    assert after[f"hdfs/data/current/{new.pool}/current/VERSION"] == (
        f"namespaceID={new.namespace}\ncTime=0\nblockpoolID={new.pool}\nlayoutVersion=-57\n"
    )
    data = after["hdfs/data/current/VERSION"]
    assert f"clusterID={new.cluster}\n" in data
    assert UUID not in data
    assert "storageID=DS-1\n" in data
    assert "namespaceID" not in data, "a key that was not there stays away"
    assert {f"{key}={value}" for key, value in new.fields.items()} <= set(after["hdfs/name/current/VERSION"].splitlines())
    assert (root / "hdfs/data/current/VERSION").stat().st_mode & 0o777 == 0o640


def test_doing_it_again_changes_nothing(tmp_path: Path) -> None:
    root = volume(tmp_path / "volume")
    adopt(root, HdfsIdentity.of("ab" * 16))
    before = texts(root)
    adopt(root, HdfsIdentity.of("ab" * 16))
    assert texts(root) == before


def test_all_volumes_of_a_datanode_get_the_same_new_name(tmp_path: Path) -> None:
    """A DataNode refuses a volume that says another name than its first (`DataStorage.setDatanodeUuid`)."""
    names = set()
    for number in range(2):
        root = volume(tmp_path / str(number))
        adopt(root, HdfsIdentity.of("ab" * 16))
        names.add(next(line for line in texts(root)["hdfs/data/current/VERSION"].splitlines() if line.startswith("datanodeUuid=")))
    assert len(names) == 1
    root = volume(tmp_path / "other")
    adopt(root, HdfsIdentity.of("cd" * 16))
    assert names.isdisjoint(texts(root)["hdfs/data/current/VERSION"].splitlines())


def test_a_file_that_has_another_name_keeps_its_text(tmp_path: Path) -> None:
    root, other = volume(tmp_path / "volume"), tmp_path / "other"
    os.link(root / "hdfs/data/current/VERSION", other)
    before = other.read_text()
    adopt(root, HdfsIdentity.of("ab" * 16))
    assert other.read_text() == before


def test_several_block_pools_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="2 block pools"):
        adopt(volume(tmp_path, ("BP-1-a-1", "BP-2-b-2")), HdfsIdentity.of("ab" * 16))


def test_a_volume_without_hdfs_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "yarn").mkdir()
    adopt(tmp_path, HdfsIdentity.of("ab" * 16))
    assert texts(tmp_path) == {}
