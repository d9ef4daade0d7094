"""What HDFS had around a copy, on real clusters: the checksums are Hadoop's own, and a file that is being written is none of a copy's."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from labcloud.lab import Lab
from labcloud.model import ClusterRef
from labcloud.profiles import load
from labcloud.protect.contents import CHANGED, OPEN, compare, describe, listing
from labcloud.providers.docker.provider import DockerProvider
from labcloud.services.hadoop import Hadoop
from tests.acceptance.driver import Cluster, Labcloud, ended, wait_for

pytestmark = pytest.mark.timeout(600)
NAMES = (
    "a b", "ünïcode-日本", "100%", "x%41y", "p+q", "s;t", "st*r", "q?m", "br[a]ck", "cur{a,b}ly", "h#sh", "am&p=1", "quo'te", 'dou"ble',
    "d i r+%/p+q %25;x",
)  # fmt: skip
HOME = "/user/ada"


@pytest.fixture(scope="module", params=["hadoop-3.4"])
def cluster(labcloud: Labcloud, mark: str, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    # Hadoop 2.7 as well is what drills compare in test_protection.py.
    made = Cluster(labcloud, f"{mark}-ct", request.param, "c")
    made.create()
    yield made
    made.delete()


@pytest.fixture(scope="module")
def hadoop(labcloud: Labcloud, cluster: Cluster) -> Iterator[Hadoop]:
    provider = DockerProvider(labcloud.home, labcloud.id)
    declared = Lab(labcloud.home).cluster(ClusterRef(cluster.tenant, cluster.name))
    assert declared is not None
    made = Hadoop(provider, declared, load(declared.profile))
    for name in NAMES:
        made.files().write(f"{HOME}/{name}", f"of {name}".encode())
    made.files().write(f"{HOME}/empty", b"")
    cluster.exec("sh", "-c", f"head -c 3000000 /dev/urandom | hdfs dfs -D dfs.blocksize=1048576 -put - {HOME}/blocks", user="hdfs")
    yield made
    provider.close()


def test_checksums_are_those_that_hadoop_prints(cluster: Cluster, hadoop: Hadoop) -> None:
    contents = describe(hadoop, lambda: None)[1]
    ours = {each.path: each.checksum for each in contents.entries if each.length and each.path.startswith(HOME)}
    assert len(ours) == len(NAMES) + 1
    literally = [re.sub(r"([*?\[\]{}\\])", r"\\\1", path) for path in ours]
    printed = cluster.exec("env", "LC_ALL=C.UTF-8", "hdfs", "dfs", "-checksum", *literally, user="hdfs").stdout.decode()
    assert ours == {path: f"{kind}:{digits}" for path, kind, digits in (line.split("\t") for line in printed.splitlines())}
    assert ours[f"{HOME}/blocks"].startswith("MD5-of-2048MD5-of-512CRC32")


def test_both_protocols_list_the_same(hadoop: Hadoop) -> None:
    assert listing(hadoop.files()) == listing(hadoop.web_files())


def test_a_file_that_is_being_written_is_no_part_of_a_copy(cluster: Cluster, hadoop: Hadoop) -> None:
    path = f"{HOME}/empty"
    until_told = f"(while [ ! -e /tmp/close ]; do sleep 0.2; done; echo at last) | hdfs dfs -appendToFile - {path}"
    writer = cluster.labcloud.begin("exec", "--node", "master-0", "--user", "hdfs", cluster.ref, "--", "sh", "-c", until_told)

    def close() -> None:
        cluster.exec("touch", "/tmp/close", user="hdfs")
        done = ended(writer)
        assert done.code == 0, done

    wait_for("the file to be open", lambda: path in hadoop.open_files())
    contents = describe(hadoop, lambda: None)[1]
    assert contents.skipped == {OPEN: 1}
    assert describe(hadoop, close)[1].skipped == {CHANGED: 1}
    assert path not in {each.path for each in contents.entries}


def test_differences_are_found(hadoop: Hadoop) -> None:
    contents = describe(hadoop, lambda: None)[1]
    assert compare(hadoop, contents).equal
    hadoop.files().write(f"{HOME}/p+q", b"OF p+q")
    hadoop.files().delete(f"{HOME}/100%")
    hadoop.files().rename(HOME, "/user/bob")
    found = compare(hadoop, contents, {HOME: "/user/bob"})
    assert (found.missing, dict(found.differing)) == ((f"{HOME}/100%",), {f"{HOME}/p+q": "another checksum"})
    assert found.files == len(contents.entries) - 2
