"""What people may write in a profile.yaml and a settings.yaml, after their ancestors were merged in.

Shapes only; docs/profiles.md explains them.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from labcloud.errors import UsageError
from labcloud.model import MAX_NODES, parse_memory
from labcloud.model.ways import Way

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$")]
GroupName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Word = Annotated[str, StringConstraints(pattern=r"^(?:\{\{.*?\}\}|\S)+$")]
Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
Formula = int | float | str
Scalar = bool | int | float | str


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Artifact(_Shape):
    maven: Annotated[str, StringConstraints(pattern=r"^[^:\s]+(:[^:]+){2,4}$")] | None = None
    url: str | None = None
    file: str | None = None
    transitive: bool = True
    optional: bool = False
    to: str = ""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.maven, self.url, self.file)) != 1:
            raise ValueError("give one of maven, url and file")
        return self


class Release(_Shape):
    flags: list[Word] = []
    programs: list[Word] = []
    opens: list[Word] = []
    class_data: list[Word] = []


class Jvm(_Shape):
    all: list[Word] = []
    daemon: list[Word] = []
    client: list[Word] = []
    task: list[Word] = []
    releases: dict[int, Release]


class Group(_Shape):
    title: str = ""
    count: Annotated[int, Field(ge=1, le=MAX_NODES)]
    minimum: Annotated[int, Field(ge=1)] = 1
    maximum: Annotated[int, Field(le=MAX_NODES)] = MAX_NODES
    scalable: bool = False
    memory: int
    cpus: Annotated[float, Field(gt=0)] = 1.0
    volumes: Annotated[int, Field(ge=1)] = 1
    volume_size: Annotated[int, Field(ge=1)] = 10
    system: Formula = 0
    workload: Formula = 0
    inputs: dict[Identifier, Formula] = {}
    values: dict[Identifier, Formula] = {}

    @field_validator("memory", mode="before")
    @classmethod
    def _mib(cls, value: object) -> int:
        try:
            return parse_memory(str(value))
        except UsageError as exc:
            raise ValueError(exc.brief) from exc


class Ui(_Shape):
    port: Name
    path: Annotated[str, StringConstraints(pattern="^/")] = "/"


class Probe(_Shape):
    port: Name
    path: Annotated[str, StringConstraints(pattern="^/")]
    kind: Literal["jmx", "json"]
    field: str = ""
    expect: bool | int | str | None = None


class Service(_Shape):
    title: str = ""
    group: GroupName
    user: Name
    class_name: Annotated[str, Field(alias="class")]
    heap: Formula
    overhead: Formula
    ports: dict[Name, Port] = {}
    options: list[Word] = []
    args: list[Word] = []
    ui: Ui | None = None
    dirs: list[Annotated[str, StringConstraints(pattern=r"^(/|\{\{)")]] = []
    prepare: str = ""
    nice: Annotated[int, Field(ge=0, le=19)] = 0
    after: list[Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]+(\.[a-z0-9_-]+(/[^\s#]*#\S+)?)?$")]] = []
    leave: list[Annotated[str, StringConstraints(pattern=r"^\S+$")]] = []
    probe: Probe | None = None


class Command(_Shape):
    class_name: Annotated[str, Field(alias="class")]
    options: str = ""
    help: str = ""


class Folder(_Shape):
    path: Annotated[str, StringConstraints(pattern="^/")]
    owner: Name
    group: Name
    mode: Annotated[str, StringConstraints(pattern="^[01]?[0-7]{3}$")]


InVolume = Annotated[str, StringConstraints(pattern=r"^[^/]")]


class SnapshotFile(_Shape):
    link: InVolume | None = None
    grow: InVolume | None = None
    copy_: Annotated[InVolume | None, Field(alias="copy")] = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(each is not None for each in (self.link, self.grow, self.copy_)) != 1:
            raise ValueError("give one of link, grow and copy")
        return self

    @property
    def pattern(self) -> str:
        return self.link or self.grow or self.copy_ or ""

    @property
    def way(self) -> Way:
        return Way.LINK if self.link else Way.GROW if self.grow else Way.COPY


class Snapshot(_Shape):
    still: list[Name] = []
    needs: list[InVolume] = []
    files: list[SnapshotFile] = []


class ProfileFile(_Shape):
    """A whole profile."""

    version: str
    title: str
    summary: str = ""
    java: int
    supported_java: list[int] = []
    stack: str
    variables: dict[Identifier, str] = {}
    artifacts: dict[Name, Artifact]
    jvm: Jvm
    environment: dict[Identifier, str] = {}
    groups: dict[GroupName, Group]
    services: dict[Name, Service]
    service_options: list[Word] = []
    filesystem: list[Folder] = []
    files: dict[FileName, FileName] = {}
    exclude_files: list[FileName] = []
    settings: dict[FileName, dict[str, Scalar]] = {}
    commands: dict[Name, dict[str, Command]] = {}
    snapshot: Snapshot = Snapshot()

    @model_validator(mode="after")
    def _java_is_known(self) -> Self:
        if self.java not in self.jvm.releases:
            raise ValueError(f"jvm.releases says nothing of Java {self.java}")
        return self


Kind = Literal["boolean", "int", "long", "float", "size", "duration", "text"]
Services = tuple[str, ...] | Literal["all"]
Condition = Annotated[str, StringConstraints(pattern=r"^[^:=\s]+:[^=\s]+=.*$")]
SettingPattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._*-]+(:\S+)?$")]


class Refresh(_Shape):
    service: str
    argv: Annotated[tuple[str, ...], Field(min_length=1)]
    user: str
    at: str
    settings: tuple[SettingPattern, ...] = ()
    but: tuple[SettingPattern, ...] = ()
    reconfigures: bool = False


class SettingsFile(_Shape):
    """A whole settings.yaml."""

    names: dict[str, dict[str, Kind]] = {}
    concerns: dict[str, dict[str, Services]] = {}
    conditions: dict[str, Condition] = {}
    variables: dict[str, Services] = {}
    refreshes: dict[str, Refresh] = {}
