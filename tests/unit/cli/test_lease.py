"""`lease`: lists, changes, passes, and what is refused."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from labcloud.cli import schedules
from labcloud.leases.ending import Ending
from labcloud.model.periods import stamp
from tests.unit.cli.conftest import Labcloud

GOLDEN = Path(__file__).parent / "golden"


def at(**length: float) -> str:
    """A moment from now."""
    return stamp(datetime.now(UTC) + timedelta(**length))


def over(home: Path) -> None:
    """The lease of acme/c has ended an hour ago."""
    path = home / "lab" / "clusters" / "acme" / "c.yaml"
    path.write_text(re.sub(r"until: .*", f"until: {at(hours=-1)}", path.read_text()))


def test_the_json_of_the_list_is_this(labcloud: Labcloud, cluster: str) -> None:
    assert labcloud("lease", "list", "-o", "json").out == "[]\n"
    labcloud("lease", "set", cluster, "8h", "--then", "delete")
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "TIME", labcloud("lease", "list", "-o", "json").out)
    assert text == (GOLDEN / "leases.json").read_text()


def test_the_list_for_people(labcloud: Labcloud, cluster: str) -> None:
    assert "no cluster has a lease" in labcloud("lease", "list").err
    labcloud("lease", "set", cluster, "2d")
    head, row = labcloud("lease", "list", "--tenant", "acme").out.splitlines()
    assert head.split() == ["CLUSTER", "STATE", "ENDS", "THEN", "LEFT"]
    assert re.fullmatch(r"acme/c +running +\S+Z +stop +2d", row)
    assert labcloud("lease", "list", "--tenant", "blue").out == ""


def test_setting_says_what_becomes_of_the_cluster(labcloud: Labcloud, cluster: str) -> None:
    until = at(hours=5)
    done = labcloud("lease", "set", cluster, "--until", until, "--then", "delete")
    assert (done.code, done.out) == (0, "")
    assert re.fullmatch(rf"the lease of acme/c ends at {until} \(5h left\), then it is deleted with all its data\n", done.err)


def test_extending_prints_the_lease(labcloud: Labcloud, cluster: str) -> None:
    before = json.loads(labcloud("lease", "set", cluster, "1h", "-o", "json").out)
    after = json.loads(labcloud("lease", "extend", "--tenant", "acme", "c", "30m", "-o", "json").out)
    assert datetime.fromisoformat(after["until"]) - datetime.fromisoformat(before["until"]) == timedelta(minutes=30)
    assert (after["then"], yaml.safe_load(labcloud("lease", "extend", cluster, "1m", "-o", "yaml").out).keys()) == ("stop", after.keys())


def test_removing_says_whether_there_was_one(labcloud: Labcloud, cluster: str) -> None:
    labcloud("lease", "set", cluster, "1h")
    assert labcloud("lease", "remove", cluster).err == "acme/c has no lease any more\n"
    assert labcloud("lease", "remove", cluster).err == "acme/c had no lease; nothing had to be done\n"
    assert json.loads(labcloud("lease", "remove", cluster, "-o", "json").out) == {"tenant": "acme", "name": "c", "removed": False}


def test_a_run_tells_and_ends_and_then_has_nothing_to_say(labcloud: Labcloud, home: Path, cluster: str) -> None:
    assert (labcloud("lease", "run").out, labcloud("lease", "run", "-o", "json").out) == ("", "[]\n")
    labcloud("lease", "set", cluster, "20m")
    (told,) = json.loads(labcloud("lease", "run", "-o", "json").out)
    assert (told["done"], told["warning"], told["error"]) == ("told", "", "")
    assert labcloud("exec", cluster, "cat", "/run/labcloud/notice").out.endswith("then it is stopped, and its data stays.\n")
    over(home)
    done = labcloud("lease", "run")
    assert (done.code, [line.split()[:2] for line in done.out.splitlines()]) == (0, [["CLUSTER", "DONE"], ["acme/c", "stopped"]])
    again = labcloud("lease", "run")
    assert (again.code, again.out, again.err) == (0, "", "")
    assert json.loads(labcloud("list", "-o", "json").out)[0]["status"] == "stopped"


def test_a_cluster_whose_lease_is_over_is_started_after_an_extension(labcloud: Labcloud, home: Path, cluster: str) -> None:
    labcloud("lease", "set", cluster, "20m")
    over(home)
    labcloud("lease", "run")
    refused = labcloud("start", cluster)
    assert (refused.code, refused.err.splitlines()[-1]) == (5, "  try: extend it first: labcloud lease extend acme/c 4h")
    done = labcloud("lease", "extend", cluster, "4h")
    assert done.err.splitlines()[-1] == "it is stopped; labcloud start acme/c starts it"
    assert labcloud("start", cluster).code == 0


def test_a_lease_from_its_creation_to_its_end(labcloud: Labcloud, home: Path) -> None:
    create = ("create", "hadoop-2.7", "--tenant", "acme", "--name", "c", "--provider", "simulated")
    assert labcloud(*create, "--lease", "8h", "--then", "delete").code == 0
    assert json.loads(labcloud("lease", "list", "-o", "json").out)[0]["left"] == "8h"
    assert labcloud("lease", "run").out == ""
    over(home)
    assert labcloud("lease", "run").out.splitlines()[-1].split()[:2] == ["acme/c", "deleted"]
    assert labcloud("list", "-o", "json").out == "[]\n"


def test_a_failure_is_told_and_has_its_exit_code(labcloud: Labcloud, home: Path, cluster: str) -> None:
    labcloud("lease", "set", cluster, "20m")
    over(home)
    labcloud("tenant", "create", "other")  # commits that
    (home / "lab" / "clusters" / "acme" / "c.yaml").write_text("nonsense: 1\n")
    done = labcloud("lease", "run")
    assert done.code == 10
    assert "c.yaml:1: 'nonsense' means nothing here" in done.err
    assert done.err.splitlines()[-2:] == ["error: 1 clusters failed: acme/c", "  try: the next run tries again"]


def test_a_warning_is_told(labcloud: Labcloud, cluster: str) -> None:
    assert labcloud("tenant", "set", "acme", "--notify", "http://127.0.0.1:1/hook").code == 0
    labcloud("lease", "set", cluster, "20m")
    done = labcloud("lease", "run")
    assert (done.code, done.err) == (0, "acme/c: http://127.0.0.1:1: connection refused; the next run tries again\n")


def test_watching_goes_on_until_it_is_interrupted(labcloud: Labcloud, cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    labcloud("lease", "set", cluster, "31m")
    pauses: list[float] = []

    def press(_: object, seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("labcloud.apply.watch.Watch.pause", press)
    done = labcloud("lease", "run", "--watch")
    assert (done.code, done.out, done.err.strip()) == (130, "", "interrupted")
    assert [50 < seconds <= 60 for seconds in pauses] == [True, True]


def test_watching_goes_on_after_an_error(labcloud: Labcloud, home: Path, cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "lab" / "clusters" / "acme" / "No Name.yaml").write_text("")
    passes: list[int] = []
    run = Ending.run

    def counted(self: Ending, now: datetime) -> object:
        passes.append(1)
        return run(self, now)

    def press(_: object, seconds: float) -> None:
        if len(passes) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Ending, "run", counted)
    monkeypatch.setattr("labcloud.apply.watch.Watch.pause", press)
    done = labcloud("lease", "run", "--watch")
    assert (done.code, done.err.count("'No Name' cannot name a cluster")) == (130, 2)


@pytest.mark.parametrize(
    ("argv", "code", "sentence"),
    [
        (("set", "acme/c"), 2, "say for how long, or until when"),
        (("set", "acme/c", "8h", "--until", "2030-01-01"), 2, "say for how long, or until when"),
        (("set", "acme/c", "8"), 2, "'8' is not a length of time"),
        (("set", "acme/c", "0m"), 2, "'0m' is no useful length of time"),
        (("set", "acme/c", "--until", "soon"), 2, "'soon' is not a time"),
        (("set", "acme/c", "--until", "2025-01-01"), 2, "a lease cannot end at 2025-01-01T00:00:00Z: that is over"),
        (("set", "acme/c", "--until", "9000-01-01"), 2, "a lease cannot end at 9000-01-01T00:00:00Z: that is over a year away"),
        (("set", "acme/d", "8h"), 4, "there is no cluster acme/d"),
        (("set", "c", "8h"), 2, "'c' names no tenant"),
        (("extend", "acme/c", "8h"), 5, "the cluster acme/c has no lease, and lasts until somebody ends it"),
        (("remove", "acme/d"), 4, "there is no cluster acme/d"),
        (("list", "--tenant", "A"), 2, "'A' cannot name a tenant"),
        (("run", "--notice", "never"), 2, "'never' is not a length of time"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(labcloud: Labcloud, cluster: str, argv: tuple[str, ...], code: int, sentence: str) -> None:
    done = labcloud("lease", *argv)
    assert (done.code, done.out, done.err.splitlines()[0]) == (code, "", f"error: {sentence}")
    assert "try:" in done.err


def test_a_cluster_that_is_being_deleted_gets_no_lease(labcloud: Labcloud, home: Path, cluster: str) -> None:
    path = home / "lab" / "clusters" / "acme" / "c.yaml"
    path.write_text(path.read_text().replace("state: running", "state: deleted"))
    done = labcloud("lease", "set", cluster, "8h")
    assert (done.code, done.err.splitlines()[0]) == (5, "error: the deletion of acme/c was begun and not finished")


# In other commands


def test_list_and_show_tell_of_the_lease(labcloud: Labcloud, cluster: str) -> None:
    assert "LEASE" not in labcloud("list").out
    until = at(hours=8)
    labcloud("lease", "set", cluster, "--until", until)
    for shown in (json.loads(labcloud("list", "-o", "json").out)[0], json.loads(labcloud("show", cluster, "-o", "json").out)):
        assert (shown["lease"]["until"], shown["lease"]["then"], shown["lease"]["left"]) in (
            (until, "stop", "8h"),
            (until, "stop", "7h59m"),
        )
    head, row = (line.split() for line in labcloud("list").out.splitlines())
    assert (head[-1], row[-1]) == ("LEASE", "8h")
    assert re.search(rf"^lease: ends at {until} \(8h left\), then stop$", labcloud("show", cluster).out, re.MULTILINE)


def test_list_and_show_tell_of_a_lease_that_is_over(labcloud: Labcloud, home: Path, cluster: str) -> None:
    labcloud("lease", "set", cluster, "8h")
    over(home)
    assert labcloud("list").out.splitlines()[-1].split()[-1] == "over"
    assert re.search(r"^lease: over since \S+Z, then stop$", labcloud("show", cluster).out, re.MULTILINE)


# Schedules


def test_a_schedule_is_printed_and_nothing_written(labcloud: Labcloud, home: Path) -> None:
    done = labcloud("lease", "schedule", "--print")
    assert (done.code, done.err, home.exists()) == (0, "", False)
    assert f"\nEnvironment=LABCLOUD_HOME={home}\n" in done.out
    assert re.search(r"^ExecStart=/\S+/labcloud lease run$", done.out, re.MULTILINE)
    assert re.search(rf"^\* \* \* \* \* root LABCLOUD_HOME={home} /\S+/labcloud lease run$", done.out, re.MULTILINE)
    assert "Persistent=true" in done.out
    assert labcloud("lease", "schedule").out == done.out


def test_odd_folders_are_quoted_for_each_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCLOUD_HOME", '/a b/50%"$x')
    monkeypatch.setattr(schedules, "_program", lambda: "/opt/$lab cloud/labcloud")
    text = schedules.schedule("n", "N", ("lease", "run"))
    assert 'Environment="LABCLOUD_HOME=/a b/50%%\\"$x"\n' in text
    assert 'ExecStart="/opt/$$lab cloud/labcloud" lease run\n' in text
    assert "root LABCLOUD_HOME='/a b/50\\%\"$x' '/opt/$lab cloud/labcloud' lease run\n" in text
