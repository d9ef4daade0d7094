from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import EngineError
from labcloud.protect import answers


def test_a_status_line_is_progress() -> None:
    line = b'{"message_type":"status","seconds_remaining":9,"total_files":4,"files_done":3,"total_bytes":1000,"bytes_done":250}'
    assert answers.progress(answers.message(line), 2) == answers.Progress(250, 1000, 3, 4, 9.0, 125.0)
    assert answers.progress({}, 0) == answers.Progress(0, 0, 0, 0, None, 0.0)


@pytest.mark.parametrize("line", [b"", b"created restic repository", b"[1]", b"null", b"\xff", b'{"a":'])
def test_any_other_line_says_nothing(line: bytes) -> None:
    assert answers.message(line) == {}


def test_a_restore_s_progress_never_passes_its_end() -> None:
    assert answers.written(50, 100, 5) == answers.Progress(50, 100, 0, 0, 5.0, 10.0)
    assert answers.written(120, 100, 5).bytes_done == 100
    assert answers.written(120, 0, 5) == answers.Progress(120, 0, 0, 0, None, 24.0)


@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2100, 1, 1)), st.integers(0, 999))
def test_times_are_read_to_the_microsecond(time: datetime, nanoseconds: int) -> None:
    text = f"{time.isoformat(timespec='microseconds')}{nanoseconds:03}Z"
    assert answers.time_of(text) == time.replace(tzinfo=UTC)


def test_copies_are_sorted_by_time_whatever_their_zone() -> None:
    def listed(id: str, time: str) -> dict[str, object]:
        return {"id": id * 64, "short_id": id * 8, "time": time, "hostname": "a/b", "tags": None}

    found = answers.copies(
        [listed("a", "2026-01-01T10:00:00Z"), listed("b", "2026-01-01T09:00:00-05:00"), listed("c", "2026-01-01T08:00:00.5Z")]
    )
    assert [each.id[0] for each in found] == ["b", "a", "c"]
    assert found[0].time == datetime(2026, 1, 1, 14, tzinfo=UTC)
    assert found[0].tags == ()
    assert answers.copies(None) == []


def test_answers_that_are_no_json() -> None:
    assert answers.decoded(b" \n", "snapshots") is None
    with pytest.raises(EngineError, match="'snapshots' is no JSON"):
        answers.decoded(b"oh", "snapshots")


def test_problems_are_told_once_without_what_does_no_harm() -> None:
    pack = "4b08bc1e1cdfcc1a57570f47104b77afcc07a9d216f9a968814895a647d6315c"
    other = "5964ec09cfdcd9777958ff0de7bad0d710fc54663653b55713c6dffb9fd5d495"
    stderr = (
        f"Pack ID does not match, want {pack}, got {other}\npack {other}: not referenced in any index\npack {pack}: does not exist\n"
        f"pack {pack}: does not exist\nerror for tree 24f83cd0:\n  id {other} not found in repository\nFatal: repository contains errors\n"
    )
    problems = answers.problems(stderr)
    assert problems == (
        f"Pack ID does not match, want {pack}, got {other}", f"pack {pack}: does not exist", "error for tree 24f83cd0:",
        f"id {other} not found in repository",
    )  # fmt: skip
    assert answers.packs(problems) == (pack,)


@given(st.text(alphabet="ab*?[]\\/", min_size=1, max_size=12))
def test_a_literal_pattern_is_rooted_and_escaped(path: str) -> None:
    pattern = answers.literal(path)
    assert pattern.startswith("/")
    plain = pattern.replace("\\\\", "\0").replace("\\*", "*").replace("\\?", "?").replace("\\[", "[").replace("\0", "\\")
    assert plain == "/" + path.strip("/")
    assert not any(sign in pattern.replace("\\\\", "").replace(f"\\{sign}", "") for sign in "*?[")


@pytest.mark.parametrize(
    ("text", "fits"), [("a" * 8, True), ("0" * 64, True), ("latest", False), ("--help", False), ("ABCDEF12", False), ("a" * 7, False)]
)
def test_what_can_be_an_id(text: str, fits: bool) -> None:
    assert answers.is_id(text) is fits


def test_entries_are_told_from_the_line_of_the_copy() -> None:
    said = {"name": "a", "type": "file", "path": "/a", "size": 3, "mtime": "2026-11-25T22:48:47.793060433Z", "struct_type": "node"}
    entry = answers.entry(json.loads(json.dumps(said)))
    assert entry is not None
    assert (entry.path, entry.kind, entry.size) == ("/a", "file", 3)
    assert answers.entry({"struct_type": "snapshot"}) is None
