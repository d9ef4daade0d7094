"""What HDFS had around a copy, and what a restored one has of it: over the simulated WebHDFS."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import ConfigError, EngineError
from labcloud.model import Cluster, ClusterRef, NodeGroup, NodeRef, NodeSpec, NodeVolume
from labcloud.profiles import load
from labcloud.protect import contents as module
from labcloud.protect.contents import CHANGED, NO_CHECKSUM, NO_TIME, OPEN, Comparison, Contents, Entry, compare, describe, listing
from labcloud.providers.base import Response
from labcloud.providers.simulated import SimulatedProvider, World
from labcloud.providers.simulated.daemons import hdfs
from labcloud.providers.simulated.webhdfs import Tree
from labcloud.services.hadoop import Hadoop

REF = ClusterRef("acme", "c")
NODES = (NodeRef(REF, "master", 0), NodeRef(REF, "worker", 0))
CLUSTER = Cluster(REF, "hadoop-2.7", "simulated", "0" * 32, "image:1", (NodeGroup("master", 1, 1536), NodeGroup("worker", 1, 2048)))
NAMES = (  # what a web server, a shell and a pattern would read as something else
    "a b", "ünïcode-日本", "100%", "x%41y", "p+q", "s;t", "st*r", "q?m", "br[a]ck", "cur{a,b}ly", "h#sh", "am&p=1",
    'dou"ble', "(1) bytes",
)  # fmt: skip


class Counting(SimulatedProvider):
    """Counts the checksums that DataNodes are asked for, and fails where it is told to."""

    def __init__(self) -> None:
        self.world = World()
        super().__init__(Path("/nowhere"), "lab", world=self.world)
        self.asked = 0
        self.failing: Callable[[str], bool] = lambda path: False  # noqa: ARG005

    def request(self, ref: NodeRef, port: int, path: str, *, method: str = "GET", body: bytes = b"", timeout: float = 5.0) -> Response:
        if self.failing(path):
            raise EngineError(f"port {port} of {ref} does not answer")
        self.asked += "GETFILECHECKSUM" in path and ref.group == "worker"
        return super().request(ref, port, path, method=method, body=body, timeout=timeout)

    def tree(self) -> Tree:
        return hdfs(self.world.lab("lab").cluster(REF))


@pytest.fixture
def engine() -> Counting:
    provider = Counting()
    provider.ensure_network(REF.tenant)
    provider.ensure_config(REF, {"master-0/services/namenode": "", "worker-0/services/datanode": ""})
    for ref in NODES:
        provider.ensure_node(NodeSpec(ref, "image:1", "hadoop-2.7", 1024, 1.0, (NodeVolume(),)))
    return provider


@pytest.fixture
def hadoop(engine: Counting, monkeypatch: pytest.MonkeyPatch) -> Hadoop:
    monkeypatch.setattr(module, "_PAUSE", 0.001)
    made = Hadoop(engine, CLUSTER, load("hadoop-2.7"))
    for name in NAMES:
        made.files().write(f"/user/ada/{name}/{name}", f"of {name}".encode())
    made.files().write("/data/empty", b"")
    made.files().write("/data/file", b"content")
    return made


def described(hadoop: Hadoop, around: Callable[[], object] = lambda: None, previous: Contents | None = None) -> Contents:
    return describe(hadoop, around, previous)[1]


def paths(contents: Contents) -> set[str]:
    return {each.path for each in contents.entries}


ALL = {f"/user/ada/{name}/{name}" for name in NAMES} | {"/data/empty", "/data/file"}


# What there was


def test_every_file_has_its_length_time_and_checksum(hadoop: Hadoop) -> None:
    result, contents = describe(hadoop, lambda: "taken")
    assert (result, paths(contents), contents.skipped, contents.why) == ("taken", ALL, {}, "")
    assert [each.path for each in contents.entries] == sorted(ALL)
    assert contents.size == sum(len(f"of {name}".encode()) for name in NAMES) + len("content")
    by_path = {each.path: each for each in contents.entries}
    file = by_path["/data/file"]
    # 12 bytes of numbers and 16 of MD5: the four bytes too many that the servlet prints are not there.
    assert (file.length, len(file.checksum)) == (7, len("MD5-of-0MD5-of-512CRC32:") + 56)
    assert file.mtime_ms == hadoop.files().statuses("/data")["file"].modified > 1_500_000_000_000
    assert by_path["/data/empty"].checksum == ""
    assert len({each.checksum for each in contents.entries}) == len(ALL)


def test_what_passes_by_is_not_listed(hadoop: Hadoop) -> None:
    for path in ("/tmp/job", "/user/ada/put._COPYING_", "/tmporary", "/user/tmp/kept"):
        hadoop.files().write(path, b"x")
    assert set(listing(hadoop.files())) == ALL | {"/tmporary", "/user/tmp/kept"}


def test_a_folder_that_goes_away_while_it_is_listed_is_passed_over(hadoop: Hadoop) -> None:
    assert hadoop.files().statuses("/never") == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda files: files.write("/data/file", b"other content"),
        lambda files: files.write("/data/file", b"CONTENT"),
        lambda files: files.delete("/data/file"),
        lambda files: files.rename("/data/file", "/data/empty2"),
    ],
    ids=["longer", "of the same length", "deleted", "renamed"],
)
def test_a_file_that_changes_while_the_copy_is_taken_is_not_kept(hadoop: Hadoop, change: Callable[[object], None]) -> None:
    contents = described(hadoop, lambda: change(hadoop.files()))
    assert paths(contents) == ALL - {"/data/file"}
    assert contents.skipped[CHANGED] >= 1


def test_a_new_file_is_not_kept(hadoop: Hadoop) -> None:
    contents = described(hadoop, lambda: hadoop.files().write("/data/new", b"x"))
    assert (paths(contents), contents.skipped) == (ALL, {CHANGED: 1})


def test_a_file_that_is_open_all_the_while_looks_complete_and_is_not_kept(engine: Counting, hadoop: Hadoop) -> None:
    for path in ("/data/file", "/user/ada/a b/a b", "/user/ada/(1) bytes/(1) bytes"):
        engine.tree()[path].open = True
    contents = described(hadoop)
    assert contents.skipped == {OPEN: 3}
    assert len(contents.entries) == len(ALL) - 3


def test_what_an_earlier_copy_knows_is_not_asked_again(engine: Counting, hadoop: Hadoop) -> None:
    first = described(hadoop)
    assert engine.asked == len(ALL) - 1  # an empty file is not asked for
    hadoop.files().write("/data/file", b"CONTENT")
    second = described(hadoop, previous=first)
    assert engine.asked == len(ALL)
    assert {each.path for each in set(first.entries) ^ set(second.entries)} == {"/data/file"}


# HDFS that does not answer


def test_a_copy_is_taken_although_hdfs_does_not_answer(engine: Counting, hadoop: Hadoop) -> None:
    engine.failing = lambda path: True  # noqa: ARG005
    result, contents = describe(hadoop, lambda: "taken")
    assert (result, contents.entries) == ("taken", ())
    assert "does not answer" in contents.why


@pytest.mark.parametrize("page", ["LISTSTATUS", "fsck"])
def test_hdfs_that_stops_answering_during_the_copy_leaves_nothing_to_compare(engine: Counting, hadoop: Hadoop, page: str) -> None:
    def around() -> str:
        engine.failing = lambda path: page in path
        return "taken"

    result, contents = describe(hadoop, around)
    assert (result, contents.entries) == ("taken", ())
    assert contents.why


def test_what_the_copy_raises_is_raised(hadoop: Hadoop) -> None:
    def around() -> None:
        raise EngineError("no room")

    with pytest.raises(EngineError, match="no room"):
        describe(hadoop, around)


def test_a_checksum_is_tried_again(engine: Counting, hadoop: Hadoop) -> None:
    failures = iter([True, True])
    engine.failing = lambda path: "GETFILECHECKSUM" in path and "/data/file" in path and next(failures, False)
    assert paths(described(hadoop)) == ALL


def test_a_file_without_a_checksum_is_not_kept(engine: Counting, hadoop: Hadoop) -> None:
    engine.failing = lambda path: "GETFILECHECKSUM" in path and "/data/file" in path
    contents = described(hadoop)
    assert (paths(contents), contents.skipped) == (ALL - {"/data/file"}, {NO_CHECKSUM: 1})


def test_many_without_an_answer_end_the_asking(engine: Counting, hadoop: Hadoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_UNANSWERED", 3)
    monkeypatch.setattr(module, "_THREADS", 1)
    engine.failing = lambda path: "GETFILECHECKSUM" in path
    contents = described(hadoop)
    assert (paths(contents), contents.skipped) == ({"/data/empty"}, {NO_CHECKSUM: 3, NO_TIME: len(ALL) - 4})


def test_when_the_time_is_over_the_next_copy_goes_on(hadoop: Hadoop) -> None:
    first = described(hadoop)
    known = replace(first, entries=first.entries[:5])
    _, contents = describe(hadoop, lambda: None, known, limit=0)
    assert paths(contents) == paths(known) | {"/data/empty"}
    assert contents.skipped == {NO_TIME: len(ALL) - len(contents.entries)}
    assert described(hadoop, previous=contents) == first


# Comparing


def test_the_same_files_are_equal(hadoop: Hadoop) -> None:
    contents = described(hadoop)
    hadoop.files().write("/data/more", b"is no difference")
    comparison = compare(hadoop, contents)
    assert comparison == Comparison(len(ALL), contents.size)
    assert comparison.equal


def test_each_difference_is_named(engine: Counting, hadoop: Hadoop) -> None:
    contents = described(hadoop)
    files = hadoop.files()
    files.delete("/user/ada/p+q")
    files.write("/user/ada/s;t/s;t", b"short")
    files.write("/user/ada/100%/100%", b"OF 100%")
    files.write("/data/empty", b"x")
    engine.failing = lambda path: "GETFILECHECKSUM" in path and "/data/file" in path
    comparison = compare(hadoop, contents)
    assert comparison.missing == ("/user/ada/p+q/p+q",)
    assert dict(comparison.differing) == {
        "/user/ada/s;t/s;t": "5 bytes, not 6",
        "/user/ada/100%/100%": "another checksum",
        "/data/empty": "1 bytes, not 0",
        "/data/file": comparison.differing["/data/file"],
    }
    assert "does not answer" in comparison.differing["/data/file"]
    assert comparison.files == len(ALL) - 5
    assert not comparison.equal


def test_a_home_that_was_moved_is_compared_where_it_is(hadoop: Hadoop) -> None:
    hadoop.files().write("/user/adam/x", b"another's")
    contents = described(hadoop)
    for name in NAMES[:-1]:
        hadoop.files().write(f"/user/bob/{name}/{name}", f"of {name}".encode())
        hadoop.files().delete(f"/user/ada/{name}")
    assert compare(hadoop, contents, {"/user/ada": "/user/bob"}) == Comparison(len(ALL) + 1, contents.size)
    assert len(compare(hadoop, contents).missing) == len(NAMES) - 1


def test_what_is_not_compared_in_time_is_not_called_equal(hadoop: Hadoop) -> None:
    comparison = compare(hadoop, described(hadoop), limit=0)
    assert set(comparison.differing.values()) == {NO_TIME}
    assert comparison.files == 1  # the empty one


def test_a_restored_cluster_that_does_not_answer_is_an_error(engine: Counting, hadoop: Hadoop) -> None:
    contents = described(hadoop)
    engine.failing = lambda path: "LISTSTATUS" in path
    with pytest.raises(EngineError):
        compare(hadoop, contents)


# In a file

entries = st.builds(Entry, st.text(min_size=1), st.integers(0, 2**50), st.integers(0, 2**45), st.text())
everything = st.builds(
    Contents, st.lists(entries, max_size=8).map(tuple), st.dictionaries(st.text(), st.integers(0), max_size=3), st.text()
)


@given(everything)
def test_contents_are_read_as_they_were_written(contents: Contents) -> None:
    assert Contents.load(contents.dump()) == contents


def test_the_same_contents_are_the_same_bytes() -> None:
    first = Contents((Entry("/a", 1, 2, "x:1"),), {"b": 1, "a": 2})
    assert first.dump() == replace(first, skipped={"a": 2, "b": 1}).dump()


def packed(*lines: object) -> bytes:
    return gzip.compress("\n".join(json.dumps(each) for each in lines).encode())


HEAD = {"version": 1, "files": 1, "skipped": {}, "why": ""}


@pytest.mark.parametrize(
    "data",
    [
        b"", b"odd", Contents((Entry("/a", 1, 2, "x"),)).dump()[:-12], packed(), packed([]), packed({"version": 1}),
        packed({**HEAD, "version": 2}), packed(HEAD), packed(HEAD, ["/a", 1, 2]), packed(HEAD, ["/a", "x", 2, ""]), packed(HEAD, 3),
        packed({**HEAD, "skipped": []}, ["/a", 1, 2, ""]),
    ],
)  # fmt: skip
def test_what_is_no_contents_is_a_config_error(data: bytes) -> None:
    with pytest.raises(ConfigError, match=r"files\.json\.gz"):
        Contents.load(data)


def test_a_damaged_file_is_a_config_error() -> None:
    whole = bytearray(Contents(tuple(Entry(f"/{number}", number, 2, "x") for number in range(99))).dump())
    whole[len(whole) // 2] ^= 0xFF
    with pytest.raises(ConfigError):
        Contents.load(bytes(whole))
