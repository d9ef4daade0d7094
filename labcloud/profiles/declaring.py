"""What nodes shall have besides Hadoop's configuration, as text that a node's own script makes so: docs/node.md has the format.

Templates are jinja2, in its sandbox; a name that is not there is an error with its line. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

from labcloud.errors import ConfigError
from labcloud.model import Configuration, NodeFile

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import ImmutableSandboxedEnvironment

FOLDER: Final = "declared"


def declared(wanted: Configuration, sources: Mapping[str, str], facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Path and text of each file of the configuration tree that says which files, folders and packages a node has; none if it has none."""
    lines = [f"directory\t{path}\t{each.owner}\t{each.group}\t{each.mode}" for path, each in sorted(wanted.directories.items())]
    for number, (path, each) in enumerate(sorted(wanted.files.items())):
        lines.append(f"file\t{path}\t{each.owner}\t{each.group}\t{each.mode}\t{number}")
        yield f"{FOLDER}/{number}", _content(path, each, sources, facts)
    lines += [f"package\t{package}" for package in sorted(wanted.packages)]
    if lines:
        yield f"{FOLDER}/manifest", "".join(f"{line}\n" for line in lines)


def _content(path: str, file: NodeFile, sources: Mapping[str, str], facts: Mapping[str, Any]) -> str:
    name = f"files/{file.source}" if file.source else path
    if file.source and file.source not in sources:
        raise ConfigError(
            f"{path} is declared to be {name}, and the lab repository has no such file", resolution="write it, or say content"
        )
    text = sources[file.source] if file.source else file.content
    return _filled(text, name, facts) if file.template else text


def _filled(text: str, name: str, facts: Mapping[str, Any]) -> str:
    from jinja2 import TemplateError, TemplateSyntaxError

    try:
        return _compiled(text).render(facts)
    except TemplateSyntaxError as exc:
        raise _wrong(name, exc.lineno, exc.message or "it cannot be read", facts) from exc
    except (TemplateError, ArithmeticError, TypeError, ValueError, LookupError) as exc:
        raise _wrong(name, _line(exc), str(exc), facts) from exc


def _wrong(name: str, line: int, problem: str, facts: Mapping[str, Any]) -> ConfigError:
    return ConfigError(f"{name}:{line}: the template is wrong: {problem}", resolution=f"it may ask for {', '.join(facts)}")


def _line(error: BaseException) -> int:
    """The template's line that raised: jinja2 gives frames of templates their own file name and lines."""
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


@lru_cache(maxsize=256)
def _compiled(text: str) -> Template:
    return _environment().from_string(text)


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
