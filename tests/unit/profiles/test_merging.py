"""The laws of ``extends``."""

from hypothesis import given
from hypothesis import strategies as st

from labcloud.profiles.files import merge

scalars = st.integers() | st.text(max_size=3) | st.booleans() | st.lists(st.integers(), max_size=2)
keys = st.sampled_from("abcd")
whole = st.recursive(
    st.dictionaries(keys, scalars, max_size=3), lambda inner: st.dictionaries(keys, scalars | inner, max_size=3), max_leaves=8
)
changes = st.recursive(
    st.dictionaries(keys, scalars | st.none(), max_size=3),
    lambda inner: st.dictionaries(keys, scalars | st.none() | inner, max_size=3),
    max_leaves=8,
)


@given(whole)
def test_nothing_changes_nothing(parent: dict) -> None:
    assert merge(parent, {}) == parent == merge({}, parent)


@given(whole, changes)
def test_a_change_made_twice_is_made_once(parent: dict, child: dict) -> None:
    once = merge(parent, child)
    assert merge(once, child) == once


# Documents of one schema: what is a mapping in one of them is one in all.
alike = st.fixed_dictionaries(
    {}, optional={"a": st.dictionaries(keys, scalars, max_size=3), "b": st.dictionaries(keys, scalars), "c": scalars}
)


@given(alike, alike, alike)
def test_without_removals_the_order_of_merging_does_not_matter(one: dict, two: dict, three: dict) -> None:
    assert merge(merge(one, two), three) == merge(one, merge(two, three))


@given(whole, changes)
def test_none_is_never_left(parent: dict, child: dict) -> None:
    def has_none(value: object) -> bool:
        return value is None or (isinstance(value, dict) and any(map(has_none, value.values())))

    assert not has_none(merge(parent, child))


def test_mappings_merge_lists_replace_none_removes() -> None:
    parent = {"jvm": {"all": ["-a"], "task": ["-t"]}, "java": 8}
    assert merge(parent, {"jvm": {"all": ["-b"], "task": None}, "java": 11}) == {"jvm": {"all": ["-b"]}, "java": 11}
