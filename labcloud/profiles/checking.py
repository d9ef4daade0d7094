"""Everything that is wrong in a profile's files, at once: shapes, dangling names, expressions, a trial rendering."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from labcloud.errors import ConfigError, LabError
from labcloud.profiles import files
from labcloud.profiles.expressions import syntax_error
from labcloud.profiles.loading import Problem, build
from labcloud.profiles.model import Formula, Profile


def check(name: str, root: Path | None = None) -> list[Problem]:
    """Return every problem of the profile and of what it extends; none if all is well. Raise NotFoundError if there is no such."""
    try:
        chain = files.ancestry(name, root)
    except ConfigError as exc:
        return [_from_error(exc, files.known(root)[name])]
    profile, problems = build(name, chain)
    if profile is None:
        return problems
    problems = [
        Problem(*files.locate(profile.folders, place), f"{'.'.join(place)}: {wrong}") for place, wrong in _expressions(profile) if wrong
    ]
    return problems or _trial(profile)


def _expressions(profile: Profile) -> Iterator[tuple[tuple[str, ...], str]]:
    for file, settings in profile.settings.items():
        yield from ((("settings", file, key), syntax_error(text, template=True)) for key, text in settings.items())
    yield from ((("environment", key), syntax_error(text, template=True)) for key, text in profile.environment.items())
    for name, group in profile.groups.items():
        formulas: dict[tuple[str, ...], Formula] = {("system",): group.system, ("workload",): group.workload}
        formulas |= {("inputs", key): formula for key, formula in group.inputs.items()}
        formulas |= {("values", key): formula for key, formula in group.values.items()}
        yield from ((("groups", name, *place), _formula_error(each)) for place, each in formulas.items())
    for name, service in profile.services.items():
        yield ("services", name, "heap"), _formula_error(service.heap)
        yield ("services", name, "overhead"), _formula_error(service.overhead)


def _formula_error(formula: Formula) -> str:
    return syntax_error(formula, template=False) if isinstance(formula, str) else ""


def _trial(profile: Profile) -> list[Problem]:
    """Read what is known of the profile's settings, and render a cluster of its defaults."""
    from labcloud.profiles.golden import DOMAIN, sample
    from labcloud.profiles.knowledge import knowledge
    from labcloud.profiles.rendering import render

    try:
        knowledge(profile)
        render(profile, sample(profile), DOMAIN)
    except LabError as exc:
        return [_from_error(exc, profile.folders[0])]
    return []


def _from_error(error: LabError, folder: Path) -> Problem:
    """Take apart ``path:line: message``, where an error begins with that."""
    path, _, rest = error.brief.partition(":")
    line, _, message = rest.partition(":")
    if line.isdigit():
        return Problem(Path(path), int(line), message.strip())
    return Problem(folder / files.FILE, 1, error.brief)
