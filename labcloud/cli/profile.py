"""profile list, show, check, settings, render: the versions that can be asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from labcloud.cli.output import emit, note, output_option, print_table, title
from labcloud.errors import ConfigError, NotFoundError, UsageError
from labcloud.model import format_memory, parse_memory

_WIDTH: Final = 48  # of a default


@click.group("profile")
def profile_command() -> None:
    """Versions that can be asked for. A profile is a folder of data; docs/profiles.md tells how to add one."""


@profile_command.command("list")
@output_option
def list_profiles(output: str) -> None:
    """All profiles."""
    from labcloud.profiles import load, names

    profiles = [load(name) for name in names()]
    rows = [
        {"name": each.name, "version": each.version, "java": each.java, "title": each.title, "services": list(each.services)}
        for each in profiles
    ]

    def table() -> None:
        print_table(
            ("PROFILE", "VERSION", "JAVA", "SERVICES"),
            [(each.name, each.version, each.java, ", ".join(each.services)) for each in profiles],
        )

    emit(rows, output, table)


@profile_command.command("show")
@click.argument("name")
@click.option("--memory", metavar="M", help="Memory of each node, to see how it is shared out.  [default: the profile's]")
@output_option
def show_profile(name: str, memory: str | None, output: str) -> None:
    """One profile: groups, services, ports, and how a node's memory is shared out."""
    from labcloud.apply.requests import CreateRequest, declared
    from labcloud.model import ClusterRef
    from labcloud.profiles import load, sizing

    profile = load(name)
    request = CreateRequest(ClusterRef("tenant", "cluster"), name, memory=parse_memory(memory) if memory else None)
    sizes = sizing(profile, declared(request, profile, user_id=0))
    facts = {
        "name": profile.name,
        "version": profile.version,
        "title": profile.title,
        "summary": profile.summary,
        "java": profile.java,
        "groups": [
            {"name": each.group, "count": each.count, "memory": each.memory, "minimum_memory": each.minimum, "values": each.values}
            for each in sizes.values()
        ],
        "services": [
            {
                "name": each,
                "group": service.group,
                "user": service.user,
                "heap": sizes[service.group].services[each].heap,
                "ports": service.ports,
            }
            for each, service in profile.services.items()
        ],
    }

    def table() -> None:
        title(f"{profile.name}  version {profile.version} on Java {profile.java}")
        click.echo(profile.summary + "\n")
        print_table(
            ("GROUP", "NODES", "MEMORY", "AT LEAST", "DAEMONS AND SYSTEM"),
            [
                (each.group, each.count, format_memory(each.memory), format_memory(each.minimum), format_memory(int(each.reserved)))
                for each in sizes.values()
            ],
            right=(1, 2, 3, 4),
        )
        click.echo()
        print_table(
            ("SERVICE", "GROUP", "USER", "HEAP", "PORTS"),
            [
                (
                    each,
                    service.group,
                    service.user,
                    f"{sizes[service.group].services[each].heap}m",
                    ", ".join(f"{port} {number}" for port, number in service.ports.items()),
                )
                for each, service in profile.services.items()
            ],
            right=(3,),
        )

    emit(facts, output, table)


@profile_command.command("check")
@click.argument("names", nargs=-1)
def check_profiles(names: tuple[str, ...]) -> None:
    """Every problem of profiles, with file and line; of all of them if none is named."""
    from labcloud.profiles import check
    from labcloud.profiles import names as known

    chosen = names or tuple(known())
    problems = [str(problem) for name in chosen for problem in check(name)]
    if problems:
        raise ConfigError(
            f"{len(problems)} problem{'s' if len(problems) > 1 else ''} in the profiles",
            details="\n".join(dict.fromkeys(problems)),
            resolution="correct the files; docs/profiles.md has the schema",
        )
    note(f"{', '.join(chosen)}: all well")


@profile_command.command("settings")
@click.argument("name")
@click.argument("pattern", required=False, default="")
@output_option
def list_settings(name: str, pattern: str, output: str) -> None:
    """The settings that a profile knows: all, or those whose name has PATTERN in it, or matches it where it has a *.

    A change is taken up by the next client, live (by a command to a running service), or when the services that read it start again.
    """
    from labcloud.profiles import load
    from labcloud.profiles.catalogue import catalogue

    found = catalogue(load(name), pattern)
    if not found:
        raise NotFoundError(
            f"{name} knows no setting with {pattern!r} in its name" if pattern else f"nobody has written down which settings {name} knows",
            resolution=f"see all: labcloud profile settings {name}" if pattern else "see 'Settings' in docs/profiles.md",
        )

    def table() -> None:
        print_table(
            ("SETTING", "DEFAULT", "KIND", "CHANGE", "SERVICES"),
            [
                (
                    f"{each.file}:{each.name}",
                    each.default if len(each.default) <= _WIDTH else f"{each.default[: _WIDTH - 1]}…",
                    each.kind,
                    str(each.change),
                    ", ".join(f"{service} (live)" if service in each.live else service for service in each.services),
                )
                for each in found
            ],
        )

    emit(found, output, table)


@profile_command.command("render")
@click.argument("name")
@click.option("--workers", type=int, metavar="N")
@click.option("--memory", metavar="M")
@click.option("--set", "settings", multiple=True, metavar="FILE:KEY=VALUE")
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), help="Write the files below this folder instead of printing them.")
def render_profile(name: str, workers: int | None, memory: str | None, settings: tuple[str, ...], to: Path | None) -> None:
    """The files that a cluster of this profile gets: those of the first node of each group."""
    from labcloud.apply.requests import CreateRequest, declared
    from labcloud.cli.request import pairs
    from labcloud.model import ClusterRef
    from labcloud.profiles import by_group, load, render

    profile = load(name)
    request = CreateRequest(
        ClusterRef("tenant", "cluster"),
        name,
        workers=workers,
        memory=parse_memory(memory) if memory else None,
        settings=pairs(settings, "FILE:KEY=VALUE"),
    )
    files = by_group(render(profile, declared(request, profile, user_id=20000), "lab"))
    if to is None:
        for path, text in files.items():
            click.echo(click.style(f"==> {path}", bold=True))
            click.echo(text)
        return
    if to.exists() and any(to.iterdir()):
        raise UsageError(f"the folder {to} is not empty", resolution="name a new one")
    for path, text in files.items():
        target = to / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    note(f"{len(files)} files written below {to}")
