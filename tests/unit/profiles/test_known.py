"""What versions know of settings: the shipped tables, and how they are read from jars."""

from __future__ import annotations

import shutil
import struct
import zipfile
from pathlib import Path

import pytest

from labcloud.errors import ConfigError, UsageError
from labcloud.profiles import load, names
from labcloud.profiles.bytecode import read_class
from labcloud.profiles.files import roots
from labcloud.profiles.knowledge import ABSENT, DEPRECATED, FILE, KINDS, Known, knowledge, merged, read
from labcloud.profiles.known import main, settings_of, write_all

SHIPPED = sorted(roots()[-1].glob(f"*/{FILE}"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_shipped_tables_are_well_formed(path: Path) -> None:
    stack, lines = read(path)
    assert lines == sorted(lines)
    assert len({each.name for each in lines}) == len(lines)
    assert {each.kind for each in lines} <= {*KINDS, DEPRECATED, ABSENT}
    assert all(each.file and each.name and " " not in each.name for each in lines)
    assert bool(stack) == (path.parent.name in names())


@pytest.mark.parametrize("name", names())
def test_well_known_names(name: str) -> None:
    known = knowledge(load(name))
    assert known.stack == load(name).stack
    expected = {
        "dfs.replication": ("hdfs-site", "int", "3"),
        "dfs.blocksize": ("hdfs-site", "size", "134217728"),
        "dfs.permissions.enabled": ("hdfs-site", "boolean", "true"),
        "dfs.namenode.safemode.threshold-pct": ("hdfs-site", "float", "0.999f"),
        "fs.defaultFS": ("core-site", "text", "file:///"),
        "io.file.buffer.size": ("core-site", "int", "4096"),
        "yarn.scheduler.minimum-allocation-mb": ("yarn-site", "int", "1024"),
        "yarn.nodemanager.vmem-check-enabled": ("yarn-site", "boolean", "true"),
        "mapreduce.task.io.sort.mb": ("mapred-site", "int", "100"),
        "fs.default.name": ("core-site", DEPRECATED, "fs.defaultFS"),
        "mapred.reduce.tasks": ("mapred-site", DEPRECATED, "mapreduce.job.reduces"),
    }
    found = {each: known.known[each] for each in expected}
    assert {each: (line.file, line.kind, line.default) for each, line in found.items()} == expected


def test_versions_differ_where_hadoop_does() -> None:
    old, new = knowledge(load("hadoop-2.7")), knowledge(load("hadoop-3.4"))
    assert (old.known["dfs.heartbeat.interval"].kind, new.known["dfs.heartbeat.interval"].kind) == ("long", "duration")
    assert "dfs.namenode.redundancy.interval.seconds" not in old.known
    assert new.known["dfs.namenode.replication.interval"] == Known(
        "hdfs-site", "dfs.namenode.replication.interval", DEPRECATED, "dfs.namenode.redundancy.interval.seconds"
    )


@pytest.mark.parametrize("name", names())
def test_what_no_default_file_has_is_known_too(name: str) -> None:
    # The profile sets it; in Hadoop it is only in DFSConfigKeys.
    assert "dfs.namenode.datanode.registration.ip-hostname-check" in knowledge(load(name)).known


def test_every_refresh_and_reader_is_of_a_service_that_there_is() -> None:
    for name in names():
        profile = load(name)
        for each in knowledge(profile).refreshes.values():
            assert {each.service, each.at} <= set(profile.services)
            assert each.argv[0] in profile.commands
            assert each.argv[1] in profile.commands[each.argv[0]]


# Writing


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Labcloud's own profiles, without what they know of settings."""
    for path in roots()[-1].glob("*/profile.yaml"):
        shutil.copytree(path.parent, tmp_path / path.parent.name, ignore=shutil.ignore_patterns(FILE, "expected", "lock.yaml"))
    return tmp_path


def test_what_versions_share_is_written_once_and_nothing_is_lost(copied: Path) -> None:
    found = {name: sorted(merged(load(name).folders)[1].values()) for name in names()}
    written = write_all(found, copied)
    assert {path.relative_to(copied) for path in written} == {path.relative_to(roots()[-1]) for path in SHIPPED}
    for path in SHIPPED:
        assert (copied / path.relative_to(roots()[-1])).read_text() == path.read_text()
    for name in names():
        assert sorted(merged(load(name, copied).folders)[1].values()) == found[name]


def test_a_version_alone_is_written_as_what_differs(copied: Path) -> None:
    shared = [Known("core-site", "a.b", "int", "1"), Known("core-site", "a.c", "text", "")]
    write_all(dict.fromkeys(names(), shared), copied)
    assert write_all({"hadoop-3.4": [Known("core-site", "a.b", "long", "1")]}, copied) == [copied / "hadoop-3.4" / FILE]
    assert (copied / "hadoop-3.4" / FILE).read_text().splitlines() == [
        f"#stack\t{load('hadoop-3.4').stack}",
        "core-site\ta.b\tlong\t1",
        "core-site\ta.c\tabsent\t",
    ]
    assert set(merged(load("hadoop-3.4", copied).folders)[1]) == {"a.b"}
    assert set(merged(load("hadoop-3.3", copied).folders)[1]) == {"a.b", "a.c"}


def test_a_broken_line_is_named(copied: Path) -> None:
    (copied / "hadoop" / FILE).write_text("core-site\tonly-two\n")
    with pytest.raises(ConfigError, match=rf"{FILE}:1: not FILE"):
        merged(load("hadoop-2.7", copied).folders)


def test_folders_without_hadoop_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no jar"):
        settings_of(tmp_path)
    for arguments in ([], ["hadoop-2.7"]):
        with pytest.raises(UsageError, match="name profiles"):
            main(arguments)


# Reading jars


class Assembler:
    """Just enough of a class file: constants, and one method that calls others with texts."""

    def __init__(self) -> None:
        self.pool = bytearray()
        self.size = 1
        self.known: dict[tuple[int, bytes], int] = {}

    def entry(self, tag: int, content: bytes) -> int:
        if (tag, content) not in self.known:
            self.known[tag, content] = self.size
            self.pool += bytes([tag]) + content
            self.size += 2 if tag == 5 else 1
        return self.known[tag, content]

    def utf8(self, text: str) -> int:
        return self.entry(1, struct.pack(">H", len(text.encode())) + text.encode())

    def refer(self, tag: int, *indices: int) -> int:
        return self.entry(tag, b"".join(struct.pack(">H", each) for each in indices))

    def text(self, text: str) -> int:
        return self.refer(8, self.utf8(text))

    def method(self, owner: str, name: str, descriptor: str) -> int:
        return self.refer(10, self.refer(7, self.utf8(owner)), self.refer(12, self.utf8(name), self.utf8(descriptor)))

    def call(self, owner: str, name: str, descriptor: str, *texts: str) -> bytes:
        pushed = b"".join(struct.pack(">BH", 19, self.text(each)) for each in texts)
        return pushed + struct.pack(">BH", 182, self.method(owner, name, descriptor))

    def assemble(self, name: str, constants: dict[str, str], code: bytes) -> bytes:
        this, interface = self.refer(7, self.utf8(name)), self.refer(7, self.utf8("java/lang/Runnable"))
        self.entry(5, struct.pack(">q", 7))  # a long takes two places
        fields = b""
        for key, value in constants.items():
            fields += struct.pack(">HHHH", 0x18, self.utf8(key), self.utf8("Ljava/lang/String;"), 1)
            fields += struct.pack(">HIH", self.utf8("ConstantValue"), 2, self.text(value))
        body = struct.pack(">HHI", 2, 2, len(code)) + code + struct.pack(">HH", 0, 0)
        method = struct.pack(">HHHH", 1, self.utf8("read"), self.utf8("()V"), 1) + struct.pack(">HI", self.utf8("Code"), len(body)) + body
        head = struct.pack(">IHHH", 0xCAFEBABE, 0, 52, self.size) + self.pool
        return head + struct.pack(">HHHHH", 1, this, this, 1, interface) + struct.pack(">H", len(constants)) + fields + struct.pack(">H", 1) + method + struct.pack(">H", 0)  # fmt: skip  # noqa: E501


CONFIGURATION = "org/apache/hadoop/conf/Configuration"
TABLESWITCH = bytes([170])  # it is at 0 here: three bytes of padding
SWITCH = TABLESWITCH + bytes(3) + struct.pack(">iii", 20, 1, 2) + struct.pack(">ii", 20, 20)


def program() -> bytes:
    made = Assembler()
    delta = f"{CONFIGURATION}$DeprecationDelta"
    code = SWITCH + b"".join(
        [
            made.call(CONFIGURATION, "getInt", "(Ljava/lang/String;I)I", "dfs.undocumented.number"),
            made.call(CONFIGURATION, "getTimeDuration", "(Ljava/lang/String;JLjava/util/concurrent/TimeUnit;)J", "dfs.both"),
            made.call(CONFIGURATION, "getLong", "(Ljava/lang/String;J)J", "dfs.both"),
            made.call(CONFIGURATION, "get", "(Ljava/lang/String;Ljava/lang/String;)Ljava/lang/String;", "yarn.some.text", "yarn.default"),
            made.call("java/util/Map", "getInt", "(Ljava/lang/String;I)I", "dfs.not.a.setting"),
            made.call(delta, "<init>", "(Ljava/lang/String;Ljava/lang/String;)V", "dfs.old", "dfs.both"),
            made.call(delta, "<init>", "(Ljava/lang/String;[Ljava/lang/String;)V", "dfs.older", "dfs.both", "dfs.documented"),
        ]
    )
    return made.assemble("org/apache/hadoop/hdfs/DFSConfigKeys", {"DFS_DECLARED_KEY": "dfs.declared", "OTHER": "no setting"}, code)


DEFAULTS = """<configuration>
<property><name>dfs.documented</name><value>true</value></property>
<property><name>ipc.[port_number].backoff.enable</name><value>
  false </value></property>
</configuration>"""


def test_jars_are_read(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    with zipfile.ZipFile(tmp_path / "share" / "hadoop-hdfs-1.jar", "w") as jar:
        jar.writestr("hdfs-default.xml", DEFAULTS)
        jar.writestr("org/apache/hadoop/hdfs/DFSConfigKeys.class", program())
    with zipfile.ZipFile(tmp_path / "hadoop-mapreduce-examples-1.jar", "w") as jar:
        jar.writestr("hdfs-default.xml", "this is not looked at")
    assert settings_of(tmp_path) == [
        Known("hdfs-site", "dfs.both", "long"),
        Known("hdfs-site", "dfs.declared", "text"),
        Known("hdfs-site", "dfs.documented", "boolean", "true"),
        Known("hdfs-site", "dfs.old", DEPRECATED, "dfs.both"),
        Known("hdfs-site", "dfs.older", DEPRECATED, "dfs.both, dfs.documented"),
        Known("hdfs-site", "dfs.undocumented.number", "int"),
        Known("hdfs-site", "ipc.*.backoff.enable", "boolean", "false"),
        Known("yarn-site", "yarn.some.text", "text"),
    ]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and more"])
def test_what_is_no_class_file_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="no Java class file"):
        read_class(content)
