"""From files to a `Profile`: merge, check against the schema, fill in what depends on the version alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labcloud.errors import ConfigError, NotFoundError
from labcloud.profiles import files
from labcloud.profiles.expressions import ExpressionError, as_text, fill
from labcloud.profiles.model import Artifact, Command, Folder, GroupDefaults, Probe, Profile, Service, Snapshot, UserInterface
from labcloud.profiles.ready import Ready


@dataclass(frozen=True)
class Problem:
    """Something wrong in a profile's file."""

    path: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def names(root: Path | None = None) -> list[str]:
    """Every profile that `load` takes."""
    return files.concrete(root)


def load(name: str, root: Path | None = None) -> Profile:
    """Return the profile. Raise NotFoundError (with the nearest name) or ConfigError (with file and line)."""
    try:
        ready = Ready(name, root)
    except (KeyError, OSError):
        return _read(name, root)
    profile = ready.read()
    if profile is None:
        profile = _read(name, root)
        ready.keep(profile)
    return profile


def _read(name: str, root: Path | None) -> Profile:
    chain = files.ancestry(name, root)
    if chain[0][1].get("abstract") is True:
        usable = ", ".join(each for each in names(root) if name in each)
        raise NotFoundError(f"{name!r} is what profiles have in common, not a profile", resolution=f"choose one of {usable}")
    profile, problems = build(name, chain)
    if profile is None:
        raise _config_error(problems)
    return profile


def _config_error(problems: Sequence[Problem]) -> ConfigError:
    return ConfigError(
        str(problems[0]),
        details="\n".join(map(str, problems[1:])),
        resolution="correct the file; docs/profiles.md has the schema",
    )


def build(name: str, chain: Sequence[tuple[Path, Mapping[str, Any]]]) -> tuple[Profile | None, list[Problem]]:
    """Return the profile, or None and everything that its files' shapes have wrong."""
    from pydantic import ValidationError

    from labcloud.profiles.schema import ProfileFile

    folders = tuple(folder for folder, _ in chain)
    try:
        written = ProfileFile.model_validate(files.merged(chain))
    except ValidationError as exc:
        return None, [_problem(folders, error["loc"], error["msg"].removeprefix("Value error, ")) for error in exc.errors()]
    problems = [_problem(folders, place, message) for place, message in _dangling(written)]
    texts: dict[str, str] = {}
    for target, source in written.files.items():
        found = files.template(folders, source)
        if found is None:
            problems.append(_problem(folders, ("files", target), f"there is no templates/{source}"))
        else:
            texts[target] = found.read_text(encoding="utf-8")
    if problems:
        return None, problems
    try:
        return _profile(name, written, texts, folders), []
    except ExpressionError as exc:
        return None, [_problem(folders, (), str(exc))]


def _problem(folders: Sequence[Path], place: Iterable[str | int], message: str) -> Problem:
    steps = tuple(place)
    path, line = files.locate(folders, steps)
    return Problem(path, line, f"{'.'.join(map(str, steps))}: {message}" if steps else message)


def _dangling(written: Any) -> Iterable[tuple[tuple[str | int, ...], str]]:
    """Names that stand for something which is not there."""
    for name, group in written.groups.items():
        if not group.minimum <= group.count <= group.maximum:
            yield ("groups", name, "count"), f"{group.count} is not between {group.minimum} and {group.maximum}"
    unknown = [(index, name) for index, name in enumerate(written.snapshot.still) if name not in written.services]
    yield from ((("snapshot", "still", index), f"there is no service {name!r}") for index, name in unknown)
    for name, service in written.services.items():
        place = ("services", name)
        if service.group not in written.groups:
            yield (*place, "group"), f"there is no group {service.group!r}"
        if service.ui and service.ui.port not in service.ports:
            yield (*place, "ui", "port"), f"{name} has no port {service.ui.port!r}"
        if service.probe and service.probe.port not in service.ports:
            yield (*place, "probe", "port"), f"{name} has no port {service.probe.port!r}"
        for index, each in enumerate(service.after):
            other, _, port = each.partition("/")[0].partition(".")
            if other not in written.services or (port and port not in written.services[other].ports):
                yield (*place, "after", index), f"there is no port {each!r}"


def _profile(name: str, written: Any, texts: Mapping[str, str], folders: tuple[Path, ...]) -> Profile:
    early = {**written.variables, "version": written.version, "java": written.java}
    jvm, class_data = _jvm(written, early)
    return Profile(
        name=name,
        version=written.version,
        title=written.title,
        summary=written.summary,
        java=written.java,
        supported_java=tuple(written.supported_java),
        stack=fill(written.stack, early),
        artifacts=tuple(_artifact(key, each, early) for key, each in written.artifacts.items()),
        groups={key: GroupDefaults(name=key, **dict(each)) for key, each in written.groups.items()},
        services={key: _service(key, each) for key, each in written.services.items()},
        commands={key: {sub: Command(**dict(each)) for sub, each in subcommands.items()} for key, subcommands in written.commands.items()},
        filesystem=tuple(Folder(**dict(each)) for each in written.filesystem),
        jvm_options=jvm["all"],
        class_data=class_data,
        jvm={**jvm, "all": f"{jvm['all']} {class_data}".strip()},
        variables=early,
        environment=written.environment,
        service_options=tuple(written.service_options),
        settings={file: {key: as_text(value) for key, value in each.items()} for file, each in written.settings.items()},
        files=texts,
        exclude_files=tuple(written.exclude_files),
        snapshot=_snapshot(written.snapshot),
        folders=folders,
    )


def _jvm(written: Any, early: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    """Return the flags by kind of JVM, and those of the class-data archive."""
    release = written.jvm.releases[written.java]
    opens = [f"--add-opens={each}=ALL-UNNAMED" for each in release.opens]
    flags = {
        "all": [*written.jvm.all, *release.flags, *opens, *release.programs],
        "daemon": written.jvm.daemon,
        "client": written.jvm.client,
        "task": [*written.jvm.task, *release.flags, *opens],
    }
    return {kind: fill(" ".join(each), early) for kind, each in flags.items()}, fill(" ".join(release.class_data), early)


def _snapshot(written: Any) -> Snapshot:
    files = tuple((each.pattern, each.way) for each in written.files)
    return Snapshot(still=tuple(written.still), files=files, needs=tuple(written.needs))


def _artifact(name: str, written: Any, early: Mapping[str, Any]) -> Artifact:
    return Artifact(
        name=name,
        maven=fill(written.maven or "", early),
        url=fill(written.url or "", early),
        file=fill(written.file or "", early),
        transitive=written.transitive,
        optional=written.optional,
        to=fill(written.to, early),
    )


def _service(name: str, written: Any) -> Service:
    facts = dict(written)
    for plural in ("options", "args", "dirs", "after", "leave"):
        facts[plural] = tuple(facts[plural])
    facts["ui"] = UserInterface(**dict(written.ui)) if written.ui else None
    facts["probe"] = Probe(**dict(written.probe)) if written.probe else None
    return Service(name=name, **facts)
