"""preflight on the command line, and what create does with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labcloud.model.checks import Check, failed
from labcloud.providers.simulated import SimulatedProvider
from tests.unit.cli.conftest import Labcloud

ASKED = ("hadoop-2.7", "--tenant", "acme", "--name", "c", "--provider", "simulated", "--workers", "2")


@pytest.fixture
def poor(home: Path, labcloud: Labcloud) -> None:
    """A tenant that may have two nodes and a gibibyte."""
    assert labcloud("create", *ASKED[:3], "--name", "first", "--provider", "simulated", "--workers", "1", "--memory", "2g").code == 0
    assert labcloud("delete", "acme/first").code == 0
    (home / "lab/tenants/acme.yaml").write_text("user_id: 20000\nquotas:\n  nodes: 2\n  memory: 1g\n")


def test_everything_that_is_wrong_is_told_at_once_with_exit_code_11(labcloud: Labcloud, poor: None) -> None:
    done = labcloud("preflight", *ASKED, "-o", "json")
    report = json.loads(done.out)
    failed = {each["id"]: each for each in report["checks"] if each["status"] == "fail"}
    assert (done.code, report["ok"], sorted(failed)) == (11, False, ["quota.memory", "quota.nodes"])
    assert set(failed["quota.nodes"]) == {"id", "status", "summary", "evidence", "fix", "severity", "why", "ignored", "seconds", "firm"}
    assert failed["quota.nodes"]["summary"] == "nodes: 3 more asked for, 0 of 2 taken"
    assert failed["quota.nodes"]["fix"] == "labcloud tenant set acme --quota nodes=3"
    assert failed["quota.nodes"]["evidence"] == {"quota": 2.0, "taken_by_others": 0.0, "taken_by_this": 0, "asked": 3}
    assert done.err.startswith("error: preflight refuses acme/c: quota.nodes, quota.memory\n")


def test_the_table_shows_each_check_its_reason_and_what_mends_it(labcloud: Labcloud, poor: None) -> None:
    lines = labcloud("preflight", *ASKED).out.splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith("fail quota.nodes"))
    assert lines[at + 2].strip() == "try: labcloud tenant set acme --quota nodes=3"
    assert lines[-1].startswith("refused: ")


def test_create_asks_first_and_makes_nothing_that_is_refused(labcloud: Labcloud, poor: None, home: Path) -> None:
    done = labcloud("create", *ASKED)
    assert done.code == 11
    assert "quota.nodes: nodes: 3 more asked for, 0 of 2 taken" in done.err
    assert "mend it: labcloud tenant set acme --quota memory=5632m" in done.err
    assert json.loads(labcloud("list", "-o", "json").out) == []
    assert not (home / "lab/clusters/acme/c.yaml").exists()


def test_the_answers_are_kept_with_the_operation(labcloud: Labcloud, poor: None) -> None:
    labcloud("create", *ASKED)
    last = json.loads(labcloud("operation", "list", "-o", "json").out)[0]
    assert (last["result"], last["target"]) == ("error", "acme/c")
    (event,) = json.loads(labcloud("operation", "show", last["id"], "-o", "json").out)["events"]
    assert (event["kind"], event["details"]["ok"]) == ("preflight", False)
    assert {each["id"] for each in event["details"]["checks"] if each["status"] == "fail"} == {"quota.memory", "quota.nodes"}
    shown = labcloud("operation", "show", last["id"]).out
    assert "2 of " in shown
    assert "quota.nodes: nodes: 3 more asked for, 0 of 2 taken" in shown


def test_what_is_passed_over_with_a_reason_is_kept_with_it(labcloud: Labcloud, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = Check("site.badge", "the door stays shut without one", lambda _: failed("no badge", "fetch one"))
    monkeypatch.setattr(SimulatedProvider, "checks", lambda _: (failing,))
    assert labcloud("create", *ASKED).code == 11
    assert labcloud("preflight", *ASKED, "--ignore", "site.badge=I have a key").code == 0
    assert labcloud("create", *ASKED, "--ignore", "site.badge=I have a key").code == 0
    last = json.loads(labcloud("operation", "list", "-o", "json").out)[0]
    event = json.loads(labcloud("operation", "show", last["id"], "-o", "json").out)["events"][0]
    assert [(each["id"], each["ignored"]) for each in event["details"]["checks"] if each["status"] == "fail"] == [
        ("site.badge", "I have a key")
    ]
    assert "site.badge: no badge  (passed over: I have a key)" in labcloud("operation", "show", last["id"]).out


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        ((), 2, "preflight needs a PROFILE and a --tenant"),
        (("hadoop-2.7",), 2, "preflight needs a PROFILE and a --tenant"),
        ((*ASKED, "--ignore", "quota.nodse=why"), 2, "there is no check 'quota.nodse'"),
        ((*ASKED, "--ignore", "quota.nodes=why"), 2, "the check 'quota.nodes' cannot be passed over"),
        ((*ASKED, "--ignore", "quota.nodes"), 2, "'quota.nodes' is not of the form ID=REASON"),
        ((*ASKED, "--ignore", "quota.nodes= "), 2, "--ignore quota.nodes gives no reason"),
        (("hadop-2.7", *ASKED[1:]), 4, "hadop-2.7"),
        ((*ASKED, "--memory", "-1g"), 2, "'-1g' is not an amount of memory"),
        ((*ASKED, "--volume-size", "0g"), 2, "'0g' is not a size of volumes"),
        ((*ASKED, "--lease", "soon"), 2, "'soon'"),
        ((*ASKED, "--provider", "cloud"), 2, "there is no provider 'cloud'"),
    ],
)
def test_bad_input_is_one_sentence(labcloud: Labcloud, argv: tuple[str, ...], code: int, said: str) -> None:
    done = labcloud("preflight", *argv)
    assert (done.code, done.out) == (code, "")
    assert said in done.err.splitlines()[0]


def test_the_machine_alone(labcloud: Labcloud) -> None:
    report = json.loads(labcloud("preflight", "--host", "--provider", "simulated", "-o", "json").out)
    assert report["ok"]
    assert not [each for each in report["checks"] if each["id"].startswith("quota.")]


def test_several_tenants_get_a_report_each(labcloud: Labcloud) -> None:
    reports = json.loads(labcloud("preflight", *ASKED, "--tenant", "beta", "-o", "json").out)
    assert [(each["tenant"], each["name"], each["ok"]) for each in reports] == [("acme", "c", True), ("beta", "c", True)]


def test_the_list_says_why_each_check_is_there(labcloud: Labcloud) -> None:
    rows = json.loads(labcloud("preflight", "--list", "--provider", "simulated", "-o", "json").out)
    assert {"quota.clusters", "quota.profile"} <= {each["id"] for each in rows}
    assert all(each["why"] and each["severity"] in ("blocking", "advisory") for each in rows)
    assert len({each["id"] for each in rows}) == len(rows)


def test_nodes_that_are_too_small_are_an_answer_among_the_others(labcloud: Labcloud, poor: None) -> None:
    done = labcloud("preflight", *ASKED, "--memory", "128m", "-o", "json")
    assert done.code == 11
    assert {"profile.memory", "quota.nodes"} <= {each["id"] for each in json.loads(done.out)["checks"] if each["status"] == "fail"}


def test_growth_is_asked_and_shrinking_is_not(labcloud: Labcloud, cluster: str, home: Path) -> None:
    (home / "lab/tenants/acme.yaml").write_text("user_id: 20000\nquotas: {nodes: 3}\n")
    assert labcloud("scale", cluster, "--workers", "3").code == 11
    assert labcloud("scale", cluster, "--workers", "1", "--no-wait").code == 0
    assert labcloud("scale", cluster, "--workers", "2").code == 0


def test_a_stopped_cluster_is_started_whatever_the_quota_became(labcloud: Labcloud, cluster: str, home: Path) -> None:
    labcloud("stop", cluster)
    (home / "lab/tenants/acme.yaml").write_text("user_id: 20000\nquotas: {nodes: 1}\n")
    assert labcloud("start", cluster).code == 0


def test_a_repeated_create_of_a_cluster_that_runs_asks_nothing(labcloud: Labcloud, cluster: str, home: Path) -> None:
    (home / "lab/tenants/acme.yaml").write_text("user_id: 20000\nquotas: {nodes: 1}\n")
    assert labcloud("create", *ASKED).code == 0
