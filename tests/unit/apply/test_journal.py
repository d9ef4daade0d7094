"""The journal: what happened is found again, whoever wrote at once, died or was interrupted, and no secret is in it."""

from __future__ import annotations

import multiprocessing
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.apply.journal import Journal, Result, new_id, redacted
from labcloud.errors import EngineError, NotFoundError
from labcloud.providers.simulated import Killed


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


def _file(home: Path) -> Path:
    (path,) = (home / "journal").iterdir()
    return path


def test_an_operation_is_found_with_its_events(journal: Journal) -> None:
    with journal.operation("create", "acme/c", {"workers": 2}) as operation:
        operation.event("node-made", node="worker-0", seconds=0.5)
        operation.event("ready")
    record = journal.read(operation.id)
    assert (record.verb, record.target, record.result, record.error) == ("create", "acme/c", Result.OK, "")
    assert dict(record.spec) == {"workers": 2}
    assert [(event.kind, dict(event.details)) for event in record.events] == [
        ("node-made", {"node": "worker-0", "seconds": 0.5}),
        ("ready", {}),
    ]
    assert record.began <= record.events[0].time <= record.ended
    assert record.began.endswith("Z")
    assert len(record.began) == len("2026-01-01T00:00:00.000Z")


def test_a_failed_operation_keeps_the_errors_kind_and_details(journal: Journal) -> None:
    with pytest.raises(EngineError), journal.operation("create", "acme/c") as operation:
        raise EngineError("Docker refused", details="no space left")
    record = journal.read(operation.id)
    assert (record.result, record.error, record.kind, record.said) == (Result.ERROR, "Docker refused", "EngineError", "no space left")


def test_operations_are_listed_newest_first(journal: Journal) -> None:
    ids = []
    for verb in ("create", "scale", "delete"):
        with journal.operation(verb, "acme/c") as operation:
            operation.event("x")
        ids.insert(0, operation.id)
    assert [record.id for record in journal.operations()] == ids
    assert len(journal.operations(limit=2)) == 2
    assert all(record.events == () for record in journal.operations())


def test_an_empty_journal_is_read_and_not_made(journal: Journal, tmp_path: Path) -> None:
    assert journal.operations() == []
    with pytest.raises(NotFoundError):
        journal.read("nothing")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("raised", "result", "error"),
    [
        (EngineError("Docker refused"), Result.ERROR, "Docker refused"),
        (ValueError("odd"), Result.ERROR, "a bug: odd"),
        (KeyboardInterrupt(), Result.INTERRUPTED, ""),
        (SystemExit(1), Result.INTERRUPTED, ""),
    ],
)
def test_how_it_ended_is_noted(journal: Journal, raised: BaseException, result: Result, error: str) -> None:
    with pytest.raises(type(raised)), journal.operation("create", "acme/c") as operation:
        raise raised
    record = journal.read(operation.id)
    assert (record.result, record.error) == (result, error)
    assert record.ended


def test_a_running_operation_is_running(journal: Journal, tmp_path: Path) -> None:
    with journal.operation("create", "acme/c") as operation:
        assert Journal(tmp_path).read(operation.id).result is Result.RUNNING


def test_a_killed_process_writes_no_end(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(Killed), journal.operation("create", "acme/c") as operation:
        raise Killed
    assert journal.read(operation.id).ended == ""


def _die(home: Path) -> None:
    with Journal(home).operation("create", "acme/c") as operation:
        operation.event("node-made")
        os._exit(9)


def test_an_operation_of_a_dead_process_is_broken_off(journal: Journal, tmp_path: Path) -> None:
    worker = multiprocessing.get_context("spawn").Process(target=_die, args=(tmp_path,))
    worker.start()
    worker.join(30)
    (record,) = journal.operations()
    assert record.result is Result.BROKEN_OFF
    assert [event.kind for event in journal.read(record.id).events] == ["node-made"]


def test_another_process_of_the_same_number_is_not_it(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(Killed), journal.operation("create", "acme/c"):
        raise Killed
    path = _file(tmp_path)
    path.write_text(path.read_text().replace('"ticks":', '"ticks":9'))
    assert journal.operations()[0].result is Result.BROKEN_OFF


def test_a_torn_line_harms_nobody(journal: Journal, tmp_path: Path) -> None:
    with journal.operation("create", "acme/c"):
        pass
    journal.close()
    with _file(tmp_path).open("ab") as file:
        file.write(b'[1]\n"event":"begin","details":\n{"time":"2026-01-01T00:00:00.000Z","operation":"x","event":"begin","details":{"a')
    with journal.operation("delete", "acme/c") as operation:
        operation.event("node-gone")
    assert [record.verb for record in journal.operations()] == ["delete", "create"]
    assert len(journal.read(operation.id).events) == 1


def test_an_operation_may_pass_the_end_of_a_month(journal: Journal, tmp_path: Path) -> None:
    with journal.operation("create", "acme/c") as operation:
        operation.event("node-made")
    lines = _file(tmp_path).read_text().splitlines(keepends=True)
    journal.close()
    _file(tmp_path).unlink()
    (tmp_path / "journal" / "2026-01.jsonl").write_text("".join(lines[:2]))
    (tmp_path / "journal" / "2026-02.jsonl").write_text(lines[2])
    assert journal.read(operation.id).result is Result.OK
    assert [(record.id, record.result) for record in journal.operations(limit=1)] == [(operation.id, Result.OK)]


def _write(home: Path, name: str) -> None:
    with Journal(home).operation("create", name) as operation:
        threads = [threading.Thread(target=lambda: [operation.event("x", text="y" * 3000) for _ in range(50)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def test_processes_and_threads_may_write_at_once(journal: Journal, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write, args=(tmp_path, f"t/{number}")) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    records = [journal.read(record.id) for record in journal.operations()]
    assert sorted((record.target, record.result, len(record.events)) for record in records) == [
        (f"t/{n}", Result.OK, 200) for n in range(3)
    ]


def test_the_journal_is_private(journal: Journal, tmp_path: Path) -> None:
    with journal.operation("create", "acme/c"):
        pass
    assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o700
    assert _file(tmp_path).stat().st_mode & 0o777 == 0o600


def test_a_journal_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "journal").touch()
    with pytest.raises(EngineError, match="could not write the journal") as caught, Journal(tmp_path).operation("create", "acme/c"):
        pass
    assert caught.value.resolution


def test_no_secret_is_written(journal: Journal, tmp_path: Path) -> None:
    spec = {
        "password": "s3cret",
        "nested": [{"api_key": "s3cret", "Access-Token": ["s3cret"]}],
        "url": "https://ada:s3cret@host/x",
        "workers": 2,
    }
    with journal.operation("create", "acme/c", spec) as operation:
        operation.event("said", line="using token=s3cret and password: s3cret now", client_secret={"a": "s3cret"})
    with pytest.raises(EngineError), journal.operation("create", "acme/c"):
        raise EngineError("refused https://u:s3cret@host", details="password=s3cret")
    assert "s3cret" not in _file(tmp_path).read_text()
    record = journal.read(operation.id)
    assert record.spec["workers"] == 2
    assert record.spec["url"] == "https://ada:[redacted]@host/x"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda each: st.lists(each) | st.dictionaries(st.text(max_size=3), each),
)


@given(st.dictionaries(st.sampled_from(["password", "TOKEN", "dfs.secret", "ssh-key"]), values, min_size=1))
def test_secrets_are_redacted_whatever_they_are(facts: dict[str, object]) -> None:
    assert set(redacted({"outer": facts})["outer"].values()) == {"[redacted]"}


def test_names_of_operations_are_short_and_in_the_order_of_time() -> None:
    names = [new_id() for _ in range(1000)]
    assert len({len(name) for name in names}) == 1
    assert len(names[0]) == 11
    assert len(set(names)) == 1000
    assert sorted(names) == names
