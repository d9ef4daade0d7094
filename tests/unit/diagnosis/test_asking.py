"""Scripts and preflight checks as checkpoints."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from labcloud.diagnosis.asking import Asker
from labcloud.diagnosis.model import Checkpoint, Script, Source
from labcloud.errors import EngineError, LabError, NotFoundError
from labcloud.model.checks import failed, passed, skipped
from labcloud.providers.base import Result

from .conftest import Ward

NAMES = {"cluster": "acme/c", "tenant": "acme"}
GIVES = {"slow": ("node", "milliseconds"), "wet": ()}


def checkpoint(*argv: str, on: str = "", seconds: float = 10) -> Checkpoint:
    return Checkpoint("look", GIVES, Source(Path("x.yaml"), 0), script=Script(argv, on), seconds=seconds)


def python(text: str) -> Checkpoint:
    return checkpoint(sys.executable, "-c", text)


def test_a_script_here_says_names_and_values(ward: Ward) -> None:
    said = "slow=true\\nslow.milliseconds = 85\\nwet=no\\nelse=true\\nslow.colour=red\\njust words"
    assert Asker(ward.subject(), NAMES).ask(python(f"print('{said}')")) == {"slow": [{"milliseconds": "85"}]}


def test_placeholders_of_its_command_line_are_filled(ward: Ward) -> None:
    found = checkpoint(sys.executable, "-c", "import sys; print('slow=yes'); print('slow.milliseconds=' + sys.argv[1])", "{cluster}")
    assert Asker(ward.subject(), NAMES).ask(found) == {"slow": [{"milliseconds": "acme/c"}]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sys; print('slow=true'); sys.exit('no such disk')", "ended with 1: no such disk"),
        ("raise SystemExit(3)", "ended with 3: it said nothing"),
        ("print('slow=perhaps')", "slow=perhaps: true or false was expected"),
    ],
)
def test_a_script_that_fails_gives_nothing(ward: Ward, text: str, said: str) -> None:
    with pytest.raises(EngineError, match=said):
        Asker(ward.subject(), NAMES).ask(python(text))


def test_a_script_that_is_not_there_or_does_not_end(ward: Ward) -> None:
    asker = Asker(ward.subject(), NAMES)
    with pytest.raises(EngineError, match="/no/such/program cannot be run: No such file"):
        asker.ask(checkpoint("/no/such/program"))
    began = time.monotonic()
    with pytest.raises(EngineError, match=r"sleep did not end within 0.2 s"):
        asker.ask(checkpoint("sleep", "30", seconds=0.2))
    assert time.monotonic() - began < 20


def test_a_script_on_nodes_says_where(ward: Ward) -> None:
    ward.provider.answer(("measure",), Result(0, b"slow=true\nslow.milliseconds=9\n"))
    found = Asker(ward.subject(), NAMES).ask(checkpoint("measure", on="worker"))
    assert found == {"slow": [{"node": "worker-0", "milliseconds": "9"}, {"node": "worker-1", "milliseconds": "9"}]}
    with pytest.raises(NotFoundError, match="no node of acme/c runs that is meant by 'edge'"):
        Asker(ward.subject(), NAMES).ask(checkpoint("measure", on="edge"))


@pytest.mark.parametrize(
    ("finding", "names"),
    [(failed("none left", "free some", free=0), {"memory-failed"}), (passed("enough"), set())],
)
def test_a_preflight_check_is_asked_by_its_id(ward: Ward, monkeypatch: pytest.MonkeyPatch, finding: object, names: set[str]) -> None:
    from labcloud.model.checks import Check

    monkeypatch.setattr(type(ward.provider), "checks", lambda _: (Check("host.mine", "why", lambda _: finding, machine=True),))  # type: ignore[arg-type, return-value]
    found = Checkpoint("memory", {}, Source(Path("x.yaml"), 0), check="host.mine")
    results = Asker(ward.subject(), NAMES).ask(found)
    assert results.keys() == names
    assert all(cases == [{"summary": "none left", "fix": "free some"}] for cases in results.values())


def test_a_check_that_is_skipped_or_unknown_gives_nothing(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    from labcloud.model.checks import Check

    checks = (
        Check("host.mine", "why", lambda _: skipped("not here"), machine=True),
        Check("cluster.mine", "why", lambda _: passed("well")),
    )
    monkeypatch.setattr(type(ward.provider), "checks", lambda _: checks)
    for id, said in (("host.mine", "not here"), ("host.other", "there is no check 'host.other'"), ("cluster.mine", "about a cluster")):
        with pytest.raises(LabError, match=said):
            Asker(ward.subject(), NAMES).ask(Checkpoint("memory", {}, Source(Path("x.yaml"), 0), check=id))
