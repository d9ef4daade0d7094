"""Amounts of memory, read and written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import UsageError
from labcloud.model import format_bytes, format_memory, parse_memory


@given(st.integers(1, 9_999_999))
def test_memory_is_written_back_the_same(mib: int) -> None:
    assert parse_memory(format_memory(mib)) == mib


@pytest.mark.parametrize(("text", "mib"), [("2g", 2048), ("512m", 512), ("2GiB", 2048), ("1Gb", 1024), (" 1g ", 1024)])
def test_memory_as_people_write_it(text: str, mib: int) -> None:
    assert parse_memory(text) == mib


@pytest.mark.parametrize("text", ["", "2", "g", "0g", "-1g", "1.5g", "1t", "1g1", "99999999g", "1 g", "１g"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_memory(text)


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (1400, "1.4 kB"), (103_000_000, "103 MB"), (2 * 10**12, "2.0 TB")])
def test_bytes_for_people(count: int, text: str) -> None:
    assert format_bytes(count) == text
