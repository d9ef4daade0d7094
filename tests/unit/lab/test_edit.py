"""Single values in YAML texts: what is set is read, what is removed is gone, and every other line stays as its writer left it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from labcloud.lab.edit import set_value

TEXT = """\
# ours
profile: hadoop-2.7   # the course's
groups:
# the one
- name: master
  count: 1
  settings:
    # why
    hdfs-site:a.b: 1
    hdfs-site:c.d: 2  # two

    # behind
- name: worker   # many
  count: 2
settings:
  hdfs-site:dfs.replication: '2'
  # last of settings
files:
  /etc/motd:
    content: |
      # not a comment
      hello

      # the last
# tail
lease: {until: x, then: stop}
empty:
none: {}
"""


def plain(text: str) -> Any:
    return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506


@pytest.mark.parametrize(
    ("path", "value", "old", "new"),
    [
        (("profile",), "hadoop-3.4", "profile: hadoop-2.7   #", "profile: hadoop-3.4   #"),
        (("settings", "hdfs-site:dfs.replication"), "3", "replication: '2'", "replication: '3'"),
        (("settings", "x:y"), "on", "replication: '2'\n", "replication: '2'\n  x:y: 'on'\n"),
        (("groups", "worker", "count"), 5, "count: 2\n", "count: 5\n"),
        (("groups", "worker", "settings", "x:y"), "1", "count: 2\n", "count: 2\n  settings:\n    x:y: '1'\n"),
        (("groups", "master", "settings", "hdfs-site:c.d"), None, "    hdfs-site:c.d: 2  # two\n", ""),
        (("groups", "master", "settings", "x:y"), "1", "2  # two\n", "2  # two\n    x:y: '1'\n"),
        (("settings", "hdfs-site:dfs.replication"), None, "settings:\n  hdfs-site:dfs.replication: '2'\n  # last of settings\n", ""),
        (("files", "/etc/motd", "mode"), "0644", "      # the last\n", "      # the last\n    mode: '0644'\n"),
        (("files", "/etc/motd", "content"), "x", "|\n      # not a comment\n      hello\n\n      # the last\n", "x\n"),
        (("files", "/etc/motd", "content"), "a\nb\n", "      # not a comment\n      hello\n\n      # the last\n", "      a\n      b\n"),
        (("new", "deep", "er"), "1", "none: {}\n", "none: {}\nnew:\n  deep:\n    er: '1'\n"),
        (("empty", "x"), "1", "empty:\n", "empty:\n  x: '1'\n"),
        (("none", "x"), "1", "none: {}\n", "none:\n  x: '1'\n"),
        (("none",), None, "none: {}\n", ""),
        (("lease", "then"), "delete", "{until: x, then: stop}", "{until: x, then: delete}"),
        (("lease", "new", "x"), "é", "{until: x, then: stop}", "{until: x, then: stop, new: {x: é}}"),
        (("lease", "then"), None, "{until: x, then: stop}", "{until: x}"),
        (("lease",), None, "lease: {until: x, then: stop}\n", ""),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_one_value_is_changed_and_nothing_else(path: tuple[str, ...], value: Any, old: str, new: str) -> None:
    assert TEXT.count(old) == 1
    changed = set_value(TEXT, path, value)
    if "|\n" in new or value == "a\nb\n":
        assert plain(changed)["files"]["/etc/motd"]["content"] == "a\nb\n"
        assert "# behind" in changed and "# tail" in changed
    else:
        assert changed == TEXT.replace(old, new)


def test_what_is_so_already_stays_and_what_is_not_there_cannot_go() -> None:
    for path, value in ((("settings", "hdfs-site:dfs.replication"), "2"), (("settings", "none"), None), (("no", "thing"), None)):
        assert set_value(TEXT, path, value) == TEXT
    assert set_value("", ("a", "b"), "1") == "a:\n  b: '1'\n"
    assert set_value("# only this\n", ("a",), 1) == "# only this\na: 1\n"


@pytest.mark.parametrize(
    "path", [("groups", "nobody", "count"), ("groups", "worker"), ("profile", "x"), ("groups", "worker", "count", "x")]
)
def test_a_path_that_leads_nowhere_is_an_error(path: tuple[str, ...]) -> None:
    with pytest.raises(KeyError):
        set_value(TEXT, path, "1")


keys = st.sampled_from(["a", "b", "c.d", "hdfs-site:x", "true", "1", "ä"])
values = st.one_of(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=8), st.integers(0, 9), st.just("x\ny\n"))
trees = st.recursive(values, lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=8)
documents = st.dictionaries(keys, trees, min_size=1, max_size=4)


@given(documents, st.lists(keys, min_size=1, max_size=3), values, st.booleans(), st.booleans())
def test_what_is_set_is_read(document: dict[str, Any], path: list[str], value: Any, flow: bool, removed: bool) -> None:
    text = "# head\n" + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, default_flow_style=None if flow else False)
    wanted = copy.deepcopy(plain(text))
    inner = wanted
    for key in path[:-1]:
        if not isinstance(inner.get(key, {}) or {}, dict):
            return
        if not inner.get(key):
            if removed:
                assert set_value(text, path, None) == text or not inner.get(key)
                return
            inner[key] = {}
        inner = inner[key]
    if removed:
        was = path[-1] in inner
        changed = set_value(text, path, None)
        if not was:
            assert changed == text
        found: Any = plain(changed) or {}
        for key in path[:-1]:
            found = found.get(key) or {}
        assert path[-1] not in found
        return
    inner[path[-1]] = plain(yaml.safe_dump(value)) if not isinstance(value, str) else value
    changed = set_value(text, path, value)
    assert plain(changed) == wanted
    assert set_value(changed, path, value if isinstance(value, str) else str(value)) == changed
    assert changed.startswith("# head\n")
