"""Storage classes in the lab repository: read with the line of what is wrong, changed as one commit, kept while they are used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import ConfigError
from labcloud.lab import Lab
from labcloud.lab.documents import dump
from labcloud.lab.storage import Use, read_storage, storage_document, use_of
from labcloud.model import NodeGroup, StorageClass, Volume
from labcloud.model.storage import Media
from tests.unit.lab.conftest import make_cluster

PATH = Path("/lab/storage.yaml")
GOOD = """\
default: {path: /srv/lab}
fast:
  path: /mnt/nvme/
  media: ssd
  title: two new drives
nfs:
  driver: local
  options: {type: nfs, o: "addr=10.0.0.7,rw", device: ":/export"}
  shared: true
"""
NFS = StorageClass("nfs", driver="local", options={"type": "nfs", "o": "addr=10.0.0.7,rw", "device": ":/export"}, shared=True)
words = st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True)
facts = {"media": st.sampled_from(Media), "shared": st.booleans(), "title": st.text("ab cü:#'", max_size=9)}
classes = st.dictionaries(
    words,
    st.builds(lambda path, **more: {"path": f"/{path}", **more}, words, **facts)
    | st.builds(lambda driver, **more: {"driver": driver, **more}, words, options=st.dictionaries(words, words), **facts),
    min_size=1, max_size=4,
).map(lambda found: {name: StorageClass(name, **each) for name, each in found.items()})  # fmt: skip


def test_what_people_write_is_read() -> None:
    found = read_storage(GOOD, PATH)
    assert dict(found) == {
        "default": StorageClass("default", path="/srv/lab"),
        "fast": StorageClass("fast", path="/mnt/nvme", media=Media.SSD, title="two new drives"),
        "nfs": NFS,
    }
    assert [each.where for each in found.values()] == ["/srv/lab", "/mnt/nvme", "driver local"]


@given(classes)
def test_what_is_written_is_read_the_same(wanted: dict[str, StorageClass]) -> None:
    assert read_storage(dump(storage_document(wanted)), PATH) == wanted


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("/srv/lab}", "srv}", 1, "is not a folder for volumes"),
        ("/srv/lab}", "/}", 1, "is not a folder for volumes"),
        ("/srv/lab}", "/srv/../etc}", 1, "is not a folder for volumes"),
        ("fast:", "Fast:", 2, "cannot name a storage class"),
        ("fast:", "default:", 2, "said twice"),
        ("  path: /mnt/nvme/\n", "", 3, "needs either a path or a driver"),
        ("  driver: local\n", "", 7, "needs either a path or a driver"),
        ("  driver: local\n", "  path: /x\n", 8, "options are a driver's"),
        ("media: ssd", "media: tape", 4, "is no kind of media"),
        ("driver: local", "driver: -x", 7, "cannot name a volume driver"),
        ("shared: true", "shared: yes", 9, "neither true nor false"),
        ("media: ssd", "medium: ssd", 4, "means nothing here"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(old: str, new: str, line: int, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        read_storage(GOOD.replace(old, new, 1), PATH)
    assert caught.value.brief.startswith(f"{PATH}:{line}:")
    assert said in caught.value.brief


def test_a_lab_has_no_classes_at_first(lab: Lab) -> None:
    assert dict(lab.storage()) == {}


def test_a_change_is_one_commit_and_keeps_comments(lab: Lab, git: Callable[..., str]) -> None:
    assert lab.change_storage(lambda classes, _: {**classes, "nfs": NFS}, "first")
    path = lab.home / "lab/storage.yaml"
    path.write_text("# ours\n" + path.read_text())
    fast = StorageClass("fast", path="/mnt")
    assert lab.change_storage(lambda classes, _: {**classes, "fast": fast}, "second")
    assert not lab.change_storage(lambda classes, _: classes, "nothing")
    assert (dict(lab.storage()), path.read_text().startswith("# ours\n")) == ({"nfs": NFS, "fast": fast}, True)
    assert lab.change_storage(lambda *_: {}, "none")
    assert not path.exists()
    assert git("log", "--format=%s").splitlines()[:2] == ["none", "second"]


def test_what_clusters_declare_in_a_class_is_counted() -> None:
    fast = (Volume(20, "fast"), Volume(5))
    clusters = [
        make_cluster("acme", "a", groups=(NodeGroup("master", 1, 1024), NodeGroup("worker", 3, 1024, volumes=fast))),
        make_cluster("acme", "b", groups=(NodeGroup("master", 1, 1024),)),
    ]
    assert use_of("fast", clusters) == Use(3, 60, (clusters[0].ref,))
    assert use_of("default", clusters) == Use(1 + 3 + 1, 10 + 15 + 10, (clusters[0].ref, clusters[1].ref))
    assert use_of("bulk", clusters) == Use()
