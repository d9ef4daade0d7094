"""Expressions over results that may be unknown."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.diagnosis.expressions import ALWAYS, ExpressionError, parse

_NAMES = ("disk-full", "quota", "x.y")
_VALUE = st.sampled_from((True, False, None))


@pytest.mark.parametrize(
    ("text", "results", "value"),
    [
        ("disk-full & not quota", {"disk-full": True, "quota": False}, True),
        ("disk-full & not quota", {"disk-full": True, "quota": True}, False),
        ("disk-full & not quota", {"disk-full": True, "quota": None}, None),
        ("disk-full & not quota", {"disk-full": False, "quota": None}, False),
        ("a | (b & c)", {"a": False, "b": True, "c": True}, True),
        ("a | b", {"a": None, "b": True}, True),
        ("not a", {"a": None}, None),
        ("a", {}, None),
    ],
)
def test_a_value_follows_from_what_is_known(text: str, results: dict[str, bool | None], value: bool | None) -> None:
    assert parse(text).holds(results) is value


def test_an_edge_without_an_expression_always_holds() -> None:
    assert ALWAYS.holds({}) is True


def test_names_and_those_that_help_by_being_true() -> None:
    found = parse("disk-full & not (quota | not other)")
    assert set(found.names) == {"disk-full", "quota", "other"}
    assert set(found.positive) == {"disk-full", "other"}


@pytest.mark.parametrize("text", ["", "a &", "a b", "(a", "not", "a ^ b", "&"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError, match="is no expression"):
        parse(text)


_EXPRESSIONS = st.recursive(
    st.sampled_from(_NAMES),
    lambda below: st.one_of(
        below.map(lambda text: f"not ({text})"),
        st.tuples(below, below).map(lambda pair: f"({pair[0]}) & ({pair[1]})"),
        st.tuples(below, below).map(lambda pair: f"({pair[0]}) | ({pair[1]})"),
    ),
    max_leaves=6,
)


@given(_EXPRESSIONS, st.fixed_dictionaries(dict.fromkeys(_NAMES, _VALUE)))
def test_what_is_known_stays_whatever_the_unknown_turns_out_to_be(text: str, results: dict[str, bool | None]) -> None:
    expression = parse(text)
    value = expression.holds(results)
    unknown = [name for name, each in results.items() if each is None]
    later = {
        expression.holds({**results, **dict(zip(unknown, values, strict=True))}) for values in product((True, False), repeat=len(unknown))
    }
    assert None not in later
    assert value is None or later == {value}
