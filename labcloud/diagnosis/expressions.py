"""Expressions over results, as edges of a graph have them: ``disk-full & not quota``, ``a | (b & c)``. Pure.

A result is true, false, or unknown (its checkpoint failed). The logic is Kleene's: what follows whatever the unknown may be is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any


class ExpressionError(ValueError):
    """A text that is no expression."""


@dataclass(frozen=True)
class Expression:
    """``text`` as it was written and the ``names`` in it; those in ``positive`` are asked to be true."""

    text: str
    names: tuple[str, ...]
    positive: tuple[str, ...]
    _tree: Any = field(repr=False, compare=False)

    def holds(self, results: Mapping[str, bool | None]) -> bool | None:
        """What it gives with ``results``; None if that is not known. A name that is not there is unknown."""
        return _value(self._tree, results)


ALWAYS = Expression("", (), (), None)
"""What an edge without an expression has."""


def parse(text: str) -> Expression:
    """Read an expression. Raise ExpressionError with what is wrong."""
    from boolean import ParseError

    try:
        tree = _algebra().parse(text)
    except ParseError as exc:
        raise ExpressionError(f"{text!r} is no expression: {exc}") from exc
    symbols = tree.get_symbols()
    if not symbols:
        raise ExpressionError(f"{text!r} names no result")
    return Expression(text, _unique(str(each.obj) for each in symbols), _unique(_positive(tree, True)), tree)


def _value(tree: Any, results: Mapping[str, bool | None]) -> bool | None:
    from boolean import AND, NOT, OR

    if tree is None:
        return True
    if isinstance(tree, NOT):
        inner = _value(tree.args[0], results)
        return None if inner is None else not inner
    if isinstance(tree, AND | OR):
        decisive = isinstance(tree, OR)
        values = [_value(each, results) for each in tree.args]
        if decisive in values:
            return decisive
        return None if None in values else not decisive
    return results.get(str(tree.obj))


def _positive(tree: Any, wanted: bool) -> list[str]:
    """The names that help by being true."""
    from boolean import NOT, Symbol

    if isinstance(tree, Symbol):
        return [str(tree.obj)] if wanted else []
    inner = wanted != isinstance(tree, NOT)
    return [name for each in tree.args for name in _positive(each, inner)]


def _unique(names: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


@cache
def _algebra() -> Any:
    from boolean import BooleanAlgebra

    return BooleanAlgebra(allowed_in_token=(".", "_", "-"))
