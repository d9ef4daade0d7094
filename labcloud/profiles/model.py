"""A profile as the rest of labcloud sees it: values only. Nothing here reads files or evaluates anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from labcloud.model import Volume
from labcloud.model.ways import Way

Formula = int | float | str
"""A number, or an expression that gives one."""


@dataclass(frozen=True)
class Artifact:
    """A file of the distribution: one of ``maven`` (``group:artifact:version[:type[:classifier]]``), ``url``, ``file``.

    ``transitive``: with what it depends on. ``optional``: a build goes on without it. ``to``: its folder in the stack.
    """

    name: str
    maven: str = ""
    url: str = ""
    file: str = ""
    transitive: bool = True
    optional: bool = False
    to: str = ""


@dataclass(frozen=True)
class Command:
    """A subcommand of ``hadoop``, ``hdfs``, …. ``options`` are words: see docs/profiles.md."""

    class_name: str
    options: str = ""
    help: str = ""


@dataclass(frozen=True)
class Folder:
    """A folder of a new file system; ``mode`` is octal, as text."""

    path: str
    owner: str
    group: str
    mode: str


@dataclass(frozen=True)
class GroupDefaults:
    """Nodes of one kind: how many there are unless someone says otherwise, and how their memory (MiB) is shared out.

    Each has ``volumes`` data volumes of ``volume_size`` GiB.
    """

    name: str
    title: str
    count: int
    minimum: int
    maximum: int
    scalable: bool
    memory: int
    cpus: float
    volumes: int
    volume_size: int
    system: Formula
    workload: Formula
    inputs: Mapping[str, Formula]
    values: Mapping[str, Formula]

    @property
    def data_volumes(self) -> tuple[Volume, ...]:
        """The volumes of each of its nodes, as a cluster declares them."""
        return (Volume(self.volume_size),) * self.volumes


@dataclass(frozen=True)
class UserInterface:
    """Web pages of a service: the name of its port, and the path to begin at."""

    port: str
    path: str


@dataclass(frozen=True)
class Probe:
    """How to ask a service for its state: GET ``path`` at the port named ``port``.

    The answer is JSON. ``kind`` is ``json``, or ``jmx``: then the facts are in ``beans[0]``, which has to be there. The
    service works if ``field`` (dotted; empty: the answer itself is enough) is there and, unless ``expect`` is None, equals it.
    """

    port: str
    path: str
    kind: str
    field: str = ""
    expect: str | int | bool | None = None


@dataclass(frozen=True)
class Service:
    """A daemon. ``nice`` lowers its priority (``nice(1)``).

    ``leave`` is the command, for its own user, by which it ends so that its clients know that it comes back (``{host}`` and ``{port.NAME}``
    stand for its node's full name and its ports); the supervisor starts it again. Empty: a signal ends it.

    ``after``: before it starts, ports (``namenode.rpc``) must accept connections, pages (``namenode.http/PATH#REGEX``) must answer with a
    line that matches, and nodes of services (``namenode``) must be known by name.
    """

    name: str
    title: str
    group: str
    user: str
    class_name: str
    heap: Formula
    overhead: Formula
    ports: Mapping[str, int]
    options: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    ui: UserInterface | None = None
    dirs: tuple[str, ...] = ()
    prepare: str = ""
    nice: int = 0
    after: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    probe: Probe | None = None


@dataclass(frozen=True)
class Snapshot:
    """What a snapshot of a cluster is made of.

    ``still`` are the services that stand still at its moment. ``files`` are patterns (`fnmatch`; ``*`` matches ``/`` as well) of paths
    in a data volume, each with its way; the first that fits counts, and what none fits is left out. ``needs`` are paths of which at least
    one volume must have each: without them it is not the whole.
    """

    still: tuple[str, ...] = ()
    files: tuple[tuple[str, Way], ...] = ()
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Profile:
    """A version of Hadoop, or of what runs on it.

    ``java`` is the release that it runs on, ``supported_java`` are those that its distribution runs on (empty if nobody says so).
    ``jvm_options`` are the flags of every JVM but those of the class-data archive, which ``class_data`` has (empty where the
    Java has none); ``jvm`` has ``all`` (both), ``daemon``, ``client`` and ``task``. ``settings`` and ``files`` are by file, as
    ``hdfs-site`` and ``log4j.properties``. ``folders`` are where it was read from, itself first, its most distant ancestor last.
    """

    name: str
    version: str
    title: str
    summary: str
    java: int
    supported_java: tuple[int, ...]
    stack: str
    artifacts: tuple[Artifact, ...]
    groups: Mapping[str, GroupDefaults]
    services: Mapping[str, Service]
    commands: Mapping[str, Mapping[str, Command]]
    filesystem: tuple[Folder, ...]
    jvm_options: str
    class_data: str
    jvm: Mapping[str, str]
    variables: Mapping[str, str]
    environment: Mapping[str, str]
    service_options: tuple[str, ...]
    settings: Mapping[str, Mapping[str, str]]
    files: Mapping[str, str]
    exclude_files: tuple[str, ...]
    snapshot: Snapshot = Snapshot()
    folders: tuple[Path, ...] = ()

    def has_file_of(self, key: str) -> bool:
        """Whether a setting (``hdfs-site:dfs.replication``) is of a file that this profile has."""
        return key.partition(":")[0] in self.settings

    @property
    def image_name(self) -> str:
        """The name of the image that its nodes are made of."""
        return self.name

    @property
    def examples_jar(self) -> str:
        """Where a node has the jar of MapReduce's examples; empty if the profile has none."""
        for each in self.artifacts:
            if each.name == "hadoop-mapreduce-examples":
                _, artifact, version = each.maven.split(":")[:3]
                return f"{self.variables['hadoop_home']}/{each.to}/{artifact}-{version}.jar"
        return ""

    def services_of(self, group: str) -> Mapping[str, Service]:
        return MappingProxyType({name: each for name, each in self.services.items() if each.group == group})
