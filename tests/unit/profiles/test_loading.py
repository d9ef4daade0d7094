"""Profiles are found, inherited, and refused with a file and a line."""

from pathlib import Path

import pytest

from labcloud.errors import ConfigError, NotFoundError
from labcloud.model.ways import Way
from labcloud.profiles import check, load, names
from labcloud.protect.trees import Rules

POOL = "hdfs/data/current/BP-1-127.0.0.1-1/current"
SAMPLES = {
    "hdfs/name/current/fsimage_0000000000000000042": Way.LINK,
    "hdfs/name/current/fsimage_0000000000000000042.md5": Way.LINK,
    "hdfs/name/current/fsimage.ckpt_0000000000000000042": None,
    "hdfs/name/current/edits_0000000000000000001-0000000000000000042": Way.LINK,
    "hdfs/name/current/edits_inprogress_0000000000000000043": Way.COPY,
    "hdfs/name/current/seen_txid": Way.COPY,
    "hdfs/name/in_use.lock": None,
    "hdfs/data/in_use.lock": None,
    f"{POOL}/finalized/subdir0/subdir1/blk_1073741825": Way.LINK,
    f"{POOL}/finalized/subdir0/subdir1/blk_1073741825_1001.meta": Way.LINK,
    f"{POOL}/rbw/blk_1073741826": Way.GROW,
    f"{POOL}/rbw/blk_1073741826_1002.meta": Way.COPY,
    f"{POOL}/VERSION": Way.COPY,
    f"{POOL}/scanner.cursor": None,
    "yarn/state/FSRMStateRoot/AMRMTokenSecretManagerRoot/AMRMTokenSecretManagerNode": Way.COPY,
    "yarn/local/usercache/x": None,
}


@pytest.fixture
def extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LABCLOUD_PROFILES", str(tmp_path))
    return tmp_path


def write(root: Path, name: str, text: str) -> Path:
    path = root / name / "profile.yaml"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    return path


def test_an_unknown_profile_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFoundError, match="there is no profile") as caught:
        load("hadop-2.7")
    assert "hadoop-2.7" in caught.value.resolution
    assert "hadoop-3.4" in caught.value.details


@pytest.mark.parametrize("name", ["", "../hadoop", "/etc", "hadoop-2.7/", "Hadoop-2.7\n"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(NotFoundError):
        load(name)


def test_what_profiles_share_is_no_profile() -> None:
    with pytest.raises(NotFoundError, match="in common"):
        load("hadoop-3")


def test_java_decides_flags() -> None:
    old, new = load("hadoop-2.7"), load("hadoop-3.4")
    assert old.class_data == ""
    assert "--add-opens" not in old.jvm_options + old.jvm["task"]
    own = "-Xbootclasspath/a:/opt/stacks/hadoop/libexec/libraries.jar"
    assert own in old.jvm_options
    assert own not in old.jvm["task"], "a task's libraries may be the user's"
    assert own not in new.jvm_options
    assert "classes.jsa" in new.class_data
    assert "classes.jsa" not in new.jvm_options
    assert new.jvm["task"].count("--add-opens=java.base/java.lang=ALL-UNNAMED") == 1


def test_a_version_is_a_few_lines(extra: Path) -> None:
    write(extra, "hadoop-9.9", "extends: hadoop-3\nversion: 9.9.1\ntitle: Next\njava: 21\n")
    assert "hadoop-9.9" in names()
    profile = load("hadoop-9.9")
    assert (profile.stack, profile.services["namenode"].ports["http"]) == ("hadoop-9.9.1", 9870)
    assert "org.apache.hadoop:hadoop-common:9.9.1" in [artifact.maven for artifact in profile.artifacts]
    assert check("hadoop-9.9") == []


def test_a_profile_may_add_services(extra: Path) -> None:
    text = """\
extends: hadoop-3.3
title: HBase
settings:
  hbase-site:
    hbase.rootdir: "{{ setting('core-site:fs.defaultFS') }}/hbase"
services:
  hmaster:
    {group: master, user: hdfs, class: org.apache.hadoop.hbase.master.HMaster,
     heap: 64, overhead: 100, ports: {http: 16010}, after: [namenode.rpc]}
"""
    write(extra, "hbase-2", text)
    profile = load("hbase-2")
    assert check("hbase-2") == []
    assert list(profile.services_of("master"))[-1] == "hmaster"
    assert "hbase-site" in profile.settings


BROKEN = [
    ("extends: hadoop-3\nversion: [\n", 3, "expected"),
    ("- a list\n", 1, "a profile is a mapping"),
    ("extends: hadoop-3\nversion: 1.0.0\ntitle: T\njava: eight\n", 4, "java"),
    ("extends: hadoop-3\nversion: 1.0.0\ntitle: T\njava: 7\n", 1, "Java 7"),
    ("extends: hadoop-3\nversion: 1.0.0\ntitle: T\njava: 11\nports: {}\n", 5, "ports"),
    ("extends: hadop-3\n", 1, "no profile 'hadop-3' to extend"),
    ("extends: broken\n", 1, "extend each other"),
    ("extends: hadoop-3.3\n\nservices:\n  datanode:\n    after: [namenode.nothing]\n", 5, "no port 'namenode.nothing'"),
    ("extends: hadoop-3.3\nservices:\n  datanode:\n    ports:\n      http: 99999\n", 5, "65535"),
    ("extends: hadoop-3.3\ngroups:\n  worker:\n    memory: much\n", 4, "amount of memory"),
    ("extends: hadoop-3.3\nsnapshot:\n  still: [namenode, hmaster]\n", 3, "no service 'hmaster'"),
    ("extends: hadoop-3.3\nsnapshot:\n  files:\n  - {link: a, copy: b}\n", 4, "give one of link, grow and copy"),
    ("extends: hadoop-3.3\nsnapshot:\n  files:\n  - {}\n", 4, "give one of link, grow and copy"),
    ("extends: hadoop-3.3\nsnapshot:\n  files:\n  - {link: ''}\n", 4, "link"),
    ("extends: hadoop-3.3\nsnapshot:\n  needs: [/data/0]\n", 3, "needs"),
]


@pytest.mark.parametrize(("text", "line", "said"), BROKEN)
def test_a_broken_file_is_named_with_its_line(extra: Path, text: str, line: int, said: str) -> None:
    path = write(extra, "broken", text)
    with pytest.raises(ConfigError) as caught:
        load("broken")
    assert caught.value.brief.startswith(f"{path}:{line}: ")
    assert said in caught.value.brief
    assert (check("broken")[0].path, check("broken")[0].line) == (path, line)


EXPRESSIONS = [
    ("services:\n  datanode:\n    heap: 40 +\n", 4),
    ("services:\n  datanode:\n    heap: elsewhere.memory\n", 4),
    ("settings:\n  core-site:\n    a.b: '{{ nothing }}'\n", 4),
    ("settings:\n  core-site:\n    a.b: \"{{ setting('core-site:a.b') }}\"\n", 4),
    ("settings:\n  core-site:\n    a.b: \"{{ ''.__class__.__mro__ }}\"\n", 4),
]


@pytest.mark.parametrize(("text", "line"), EXPRESSIONS)
def test_check_finds_expressions_that_fail(extra: Path, text: str, line: int) -> None:
    path = write(extra, "broken", "extends: hadoop-3.3\n" + text)
    problems = check("broken")
    assert [(each.path, each.line) for each in problems] == [(path, line)]


def test_check_finds_everything_at_once(extra: Path) -> None:
    write(extra, "broken", "extends: hadoop-3.3\njava: x\nunknown: 1\nservices:\n  datanode: {heap: [], user: A B}\n")
    assert len(check("broken")) >= 4


def test_what_a_snapshot_holds_is_read_in_order(extra: Path) -> None:
    text = "extends: hadoop-3.3\nsnapshot:\n  needs: [a/b]\n  files:\n  - {copy: a/b}\n  - {link: a/*}\n  - {grow: c}\n"
    write(extra, "mine", text)
    snapshot = load("mine").snapshot
    assert snapshot.files == (("a/b", Way.COPY), ("a/*", Way.LINK), ("c", Way.GROW))
    assert (snapshot.needs, snapshot.still) == (("a/b",), load("hadoop-3.3").snapshot.still)


def test_every_version_of_hadoop_says_what_its_snapshots_hold() -> None:
    for name in names():
        snapshot = load(name).snapshot
        assert set(snapshot.still) <= set(load(name).services)
        ways = {path: Rules(snapshot.files).way(path) for path in SAMPLES}
        assert ways == SAMPLES
        assert all(Rules(snapshot.files).way(path) is Way.COPY for path in snapshot.needs)
