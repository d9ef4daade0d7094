"""Texts with ``{{ … }}`` and formulas, as profiles contain them, in jinja2's expression language, sandboxed.

It knows nothing of profiles: names come in as a mapping, errors go out as ValueError with the expression in the message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jinja2.environment import TemplateExpression
    from jinja2.sandbox import ImmutableSandboxedEnvironment

_BRACES: Final = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_DOTTED: Final = re.compile(r"\s*[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*\s*")

FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {"min": min, "max": max, "int": int, "round": round}
"""What every expression may call."""


class ExpressionError(ValueError):
    """An expression that cannot be read, or that asks for what is not there."""


def fill(text: str, names: Mapping[str, Any]) -> str:
    """Return ``text`` with each ``{{ expression }}`` replaced by its value. What the values contain is not looked at again."""
    if "{{" not in text:
        return text
    return _BRACES.sub(lambda found: as_text(evaluate(found[1], names)), text)


def number(expression: int | float | str, names: Mapping[str, Any]) -> int | float:
    """Return the number that ``expression`` is or gives."""
    value = evaluate(expression, names) if isinstance(expression, str) else expression
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ExpressionError(f"{expression!r} gives {value!r}, not a number")
    return value


def evaluate(expression: str, names: Mapping[str, Any]) -> Any:
    """Return what ``expression`` gives. Dotted names, nine in ten of all expressions, are looked up without a compiler."""
    if _DOTTED.fullmatch(expression):
        return _look_up(expression.strip(), names)
    try:
        value = _compile(expression)(**names)
    except ExpressionError:
        raise
    except Exception as exc:  # whatever the sandbox or a function raises
        raise ExpressionError(f"{expression.strip()!r}: {exc}") from exc
    from jinja2 import Undefined

    if isinstance(value, Undefined):
        raise ExpressionError(f"{expression.strip()!r} gives nothing")
    return value


def as_text(value: object) -> str:
    """Return ``value`` as Hadoop's files have it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def syntax_error(text: str, *, template: bool) -> str:
    """Return what is wrong with the syntax of a text with braces, or of a bare expression; empty if nothing is."""
    for expression in _BRACES.findall(text) if template else [text]:
        try:
            _compile(expression)
        except ExpressionError as exc:
            return str(exc)
    return ""


def _look_up(dotted: str, names: Mapping[str, Any]) -> Any:
    value: Any = names
    for part in dotted.split("."):
        try:
            value = value[part]  # a mapping may have a value for names that nobody gave
        except (KeyError, TypeError) as exc:
            known = ", ".join(sorted(map(str, value))) if isinstance(value, Mapping) else "nothing"
            raise ExpressionError(f"{dotted!r}: no {part!r} here; there is {known}") from exc
    return value


@lru_cache(maxsize=2048)
def _compile(expression: str) -> TemplateExpression:
    from jinja2 import TemplateSyntaxError

    try:
        return _environment().compile_expression(expression.strip(), undefined_to_none=False)
    except TemplateSyntaxError as exc:
        raise ExpressionError(f"{expression.strip()!r}: {exc.message}") from exc


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
    environment.globals.clear()
    environment.globals.update(FUNCTIONS)
    return environment
