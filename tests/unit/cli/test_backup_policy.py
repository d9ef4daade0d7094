"""`backup policy` and `backup schedule`; what create says of backups."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest
import yaml

from labcloud.cli import installing
from labcloud.lab import Lab
from labcloud.model import ClusterRef
from labcloud.model.protection import BackupTerms
from tests.unit.cli.conftest import Labcloud

GOLDEN = Path(__file__).parent / "golden"
CREATE = ("create", "hadoop-2.7", "--tenant", "acme", "--name", "c", "--provider", "simulated")


def said(home: Path) -> BackupTerms:
    """What the file of acme/c says."""
    cluster = Lab(home).cluster(ClusterRef("acme", "c"))
    assert cluster is not None
    return cluster.backup


def subject(home: Path) -> str:
    return Lab(home).log(limit=1)[0].title


# Policies


def test_the_json_of_a_policy_is_this(labcloud: Labcloud, home: Path, cluster: str) -> None:
    assert labcloud("backup", "policy", "set", "--lab", "drill=weekly", "keep.daily=14").code == 0
    assert labcloud("backup", "policy", "set", "--tenant", "acme", "target=/srv/acme").code == 0
    done = labcloud("backup", "policy", "show", cluster, "-o", "json")
    assert (done.code, done.err) == (0, "")
    text = re.sub(r"\d{4}-\d\d-\d\dT02:00:00Z", "TIME", done.out)
    assert text == (GOLDEN / "backup-policy.json").read_text()


def test_a_policy_for_people(labcloud: Labcloud, home: Path, cluster: str) -> None:
    lines = labcloud("backup", "policy", "show").out.splitlines()
    assert re.fullmatch(r"all clusters: next \S+T02:00:00Z", lines[0])
    assert lines[1].split() == ["KEY", "VALUE", "SAID", "BY"]
    assert "target" in (line.split()[0] for line in lines)
    assert any(line.split() == ["target", f"{home}/backups", "default"] for line in lines)
    labcloud("backup", "policy", "set", cluster, "schedule=never")
    lines = labcloud("backup", "policy", "show", "--tenant", "acme", "c").out.splitlines()
    assert lines[0] == "acme/c: only by hand"
    assert ["schedule", "never", "clusters/acme/c.yaml"] in [line.split() for line in lines]
    labcloud("backup", "policy", "set", "--tenant", "acme", "enabled=off")
    assert labcloud("backup", "policy", "show", "--tenant", "acme").out.startswith("clusters of acme: not backed up\n")


def test_each_change_is_one_commit_with_its_operation(labcloud: Labcloud, home: Path, cluster: str) -> None:
    done = labcloud("backup", "policy", "set", cluster, "enabled=false", "keep=last=1,daily=2", "-o", "json")
    assert (json.loads(done.out)["enabled"], json.loads(done.out)["keep"]["daily"]) == (False, 2)
    assert said(home) == BackupTerms(enabled=False, keep={"last": 1, "daily": 2})
    assert subject(home) == "backup-policy acme/c"
    assert done.err == "copies that exist stay; to be rid of them: labcloud backup prune\n"
    again = labcloud("backup", "policy", "set", cluster, "keep.last=1")
    assert "nothing had to be done" in again.err
    assert labcloud("backup", "policy", "set", cluster, "--unset", "keep", "--unset", "enabled").code == 0
    assert said(home) == BackupTerms()
    assert "backup:" not in (home / "lab/clusters/acme/c.yaml").read_text()
    assert json.loads(labcloud("operation", "list", "-o", "json").out)[0]["verb"] == "backup-policy"


def test_nothing_else_in_the_cluster_changes(labcloud: Labcloud, home: Path, cluster: str) -> None:
    path = home / "lab/clusters/acme/c.yaml"
    before = path.read_text()
    path.write_text("# ours\n" + before)
    assert labcloud("backup", "policy", "set", cluster, "schedule=03:30 sun").code == 0
    assert path.read_text() == f"# ours\n{before}backup:\n  schedule: 03:30 sun\n"
    labcloud("start", cluster)
    assert "nothing had to be done" in labcloud("start", cluster).err


def test_rules_that_keep_nothing_are_refused_unless_they_are_meant(labcloud: Labcloud, home: Path, cluster: str) -> None:
    nothing = "keep=last=0,daily=0,weekly=0,monthly=0"
    for scope, names in ((("--lab",), "lab, acme, acme/c"), (("--tenant", "acme"), "acme, acme/c"), ((cluster,), "acme/c")):
        done = labcloud("backup", "policy", "set", *scope, nothing)
        assert (done.code, done.out) == (2, "")
        assert done.err.splitlines() == [
            f"error: these rules keep no backup at all of {names}",
            "  try: keep one at least, as in keep.last=1; if every copy shall go, add --yes",
        ]
    assert labcloud("backup", "policy", "set", cluster, "keep.last=1").code == 0
    assert labcloud("backup", "policy", "set", "--tenant", "acme", nothing).err.splitlines()[0].endswith("of acme")
    assert labcloud("backup", "policy", "set", "--tenant", "acme", nothing, "--yes").code == 0
    # Rule by rule it is the same, and what kept nothing before is not in the way of other changes.
    labcloud("backup", "policy", "set", cluster, "keep=daily=0,weekly=0,monthly=0")
    assert labcloud("backup", "policy", "set", cluster, "keep.last=0").code == 2
    assert labcloud("backup", "policy", "set", cluster, "--unset", "keep.last").code == 2
    assert labcloud("backup", "policy", "set", "--tenant", "acme", "drill=never").code == 0


@pytest.mark.parametrize(
    ("argv", "code", "sentence", "hint"),
    [
        (("show", "acme/d"), 4, "there is no cluster acme/d", "labcloud list"),
        (("show", "--tenant", "other"), 4, "there is no tenant other", "labcloud tenant list"),
        (("show", "c"), 2, "'c' names no tenant", ""),
        (("show", "--tenant", "A"), 2, "'A' cannot name a tenant", ""),
        (("set", "acme/d", "drill=never"), 4, "there is no cluster acme/d", "labcloud list"),
        (("set", "--tenant", "other", "drill=never"), 4, "there is no tenant other", "labcloud tenant list"),
        (("set", "drill=never"), 2, "say whose policy is to change", "--lab"),
        (("set", "acme/c", "--lab", "drill=never"), 2, "say whose policy is to change", "--lab"),
        (("set", "acme/c", "acme/d", "drill=never"), 2, "say whose policy is to change", "one CLUSTER"),
        (("set", "acme/c"), 2, "nothing is to change", "--unset KEY"),
        (("set", "acme/c", "dril=never"), 2, "a backup policy has no 'dril'", "did you mean drill?"),
        (("set", "acme/c", "--unset", "dril"), 2, "a backup policy has no 'dril'", "did you mean drill?"),
        (("set", "acme/c", "schedule=soon"), 2, "'soon' is no schedule", "02:00"),
        (("set", "acme/c", "target=backups"), 2, "'backups' is no place for backups: it is no absolute directory", "/srv/backups"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    labcloud: Labcloud, cluster: str, argv: tuple[str, ...], code: int, sentence: str, hint: str
) -> None:
    done = labcloud("backup", "policy", *argv)
    assert (done.code, done.out, done.err.splitlines()[0]) == (code, "", f"error: {sentence}")
    assert hint in done.err.splitlines()[1]


def test_a_cluster_that_is_being_deleted_gets_no_policy(labcloud: Labcloud, home: Path, cluster: str) -> None:
    path = home / "lab/clusters/acme/c.yaml"
    path.write_text(path.read_text().replace("state: running", "state: deleted"))
    done = labcloud("backup", "policy", "set", cluster, "drill=never")
    assert (done.code, done.err.splitlines()[0]) == (5, "error: the deletion of acme/c was begun and not finished")


def test_a_broken_file_is_told_and_the_last_good_one_counts(labcloud: Labcloud, home: Path) -> None:
    assert labcloud("backup", "policy", "set", "--lab", "drill=weekly").code == 0
    (home / "lab/backup.yaml").write_text("dril: weekly\n")
    done = labcloud("backup", "policy", "show", "-o", "json")
    assert (done.code, json.loads(done.out)["drill"]) == (0, "weekly")
    assert "backup.yaml:1: 'dril' means nothing here" in done.err
    done = labcloud("backup", "policy", "set", "--lab", "drill=never")
    assert (done.code, "config edit backup.yaml" in done.err) == (3, True)
    assert labcloud("config", "rollback", "--file", "backup.yaml").code == 0
    assert labcloud("config", "log", "--path", "backup.yaml").out.count("backup-policy lab") == 1


def test_a_policy_is_edited_as_any_file(labcloud: Labcloud, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert labcloud("tenant", "create", "acme").code == 0
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nprintf 'drill: weekly\\nreport: {webhook: https://chat.example.org/h}\\n' >\"$1\"\n")
    editor.chmod(0o755)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", str(editor))
    done = labcloud("config", "edit", "backup.yaml", "--reason", "proved each week")
    assert (done.code, Lab(home).backup().report.webhook) == (0, "https://chat.example.org/h")
    assert labcloud("backup", "policy", "set", "--lab", "drill=never").code == 0
    assert Lab(home).backup().report.webhook == "https://chat.example.org/h"
    log = labcloud("config", "log", "--path", "backup.yaml").out
    assert log.index("backup-policy lab") < log.index("proved each week")


# At create


@pytest.mark.parametrize(
    ("default", "argv", "terms"),
    [
        ("", (), BackupTerms()),
        ("", ("--no-backup",), BackupTerms(enabled=False)),
        ("off", (), BackupTerms(enabled=False)),
        ("off", ("--backup",), BackupTerms(enabled=True)),
    ],
)
def test_a_create_says_whether_it_is_backed_up(
    labcloud: Labcloud, home: Path, default: str, argv: tuple[str, ...], terms: BackupTerms
) -> None:
    labcloud("tenant", "create", "acme", *(("--default", f"backup={default}") if default else ()))
    assert labcloud(*CREATE, *argv).code == 0
    assert said(home) == terms
    assert "nothing had to be done" in labcloud(*CREATE, *argv).err


def test_a_file_says_more_and_an_option_counts_before_it(labcloud: Labcloud, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "wanted.yaml"
    file.write_text("backup: {enabled: true, keep: {daily: 30}, target: /srv/acme}\n")
    assert labcloud(*CREATE, "--file", str(file), "--no-backup").code == 0
    assert said(home) == BackupTerms(enabled=False, keep={"daily": 30}, target="/srv/acme")
    done = labcloud(*CREATE, "--file", str(file))
    assert (done.code, "backup enabled is false, not true" in done.err) == (5, True)


def test_a_default_that_is_none_is_refused(labcloud: Labcloud) -> None:
    done = labcloud("tenant", "create", "acme", "--default", "backup=nightly")
    assert (done.code, done.err.splitlines()[0]) == (2, "error: the default of backup cannot be 'nightly'")


# Schedules


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with cron and systemd, in a folder; its systemctl notes what it is told."""
    for name in ("CRON", "SYSTEMD", "RUNNING"):
        folder = tmp_path / "machine" / name.lower()
        folder.mkdir(parents=True)
        monkeypatch.setattr(installing, name, folder)
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/machine/told\nexit $(cat {tmp_path}/machine/fails 2>/dev/null || echo 0)\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TZ", "UTC")
    return tmp_path / "machine"


def systemctl(machine: Path) -> list[str]:
    told = machine / "told"
    lines = told.read_text().splitlines() if told.exists() else []
    told.unlink(missing_ok=True)
    return lines


def test_a_schedule_is_printed_and_nothing_written(labcloud: Labcloud, home: Path, machine: Path) -> None:
    done = labcloud("backup", "schedule", "--print")
    assert (done.code, done.err, home.exists()) == (0, "", False)
    assert re.search(rf"^0 2 \* \* \* root LABCLOUD_HOME={home} /\S+/labcloud backup run --all$", done.out, re.MULTILINE)
    assert re.search(rf"^@reboot root sleep 300; LABCLOUD_HOME={home} /\S+/labcloud backup run --all$", done.out, re.MULTILINE)
    assert re.search(r"^OnCalendar=\*-\*-\* 02:00:00 UTC\nPersistent=true$", done.out, re.MULTILINE)
    assert re.search(r"^ExecStart=/\S+/labcloud backup run --all$", done.out, re.MULTILINE)
    assert labcloud("backup", "schedule").out == done.out
    parts = json.loads(labcloud("backup", "schedule", "-o", "json").out)
    assert list(parts) == ["cron", "service", "timer"]
    assert all(each in done.out for each in parts.values())
    assert (list((machine / "cron").iterdir()), list((machine / "systemd").iterdir())) == ([], [])


def test_it_runs_at_the_times_of_all_policies(labcloud: Labcloud, cluster: str) -> None:
    labcloud("backup", "policy", "set", "--lab", "schedule=04:15 mon")
    assert "\n15 4 * * * root" in labcloud("backup", "schedule").out
    assert labcloud(*[word if word != "c" else "d" for word in CREATE], "--no-backup").code == 0
    labcloud("backup", "policy", "set", "acme/d", "schedule=05:00")
    assert "05:00" not in labcloud("backup", "schedule").out
    labcloud("backup", "policy", "set", "acme/d", "enabled=true")
    assert re.findall(r"^OnCalendar=.*", labcloud("backup", "schedule").out, re.MULTILINE) == [
        "OnCalendar=*-*-* 04:15:00 UTC",
        "OnCalendar=*-*-* 05:00:00 UTC",
    ]
    assert re.findall(r"^OnCalendar=.*", labcloud("backup", "schedule", "--at", "1:30").out, re.MULTILINE) == [
        "OnCalendar=*-*-* 01:30:00 UTC"
    ]


def test_cron_has_the_time_of_the_machine(labcloud: Labcloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XXX-05:45")
    import time

    time.tzset()
    try:
        assert "\n45 7 * * * root" in labcloud("backup", "schedule").out
    finally:
        monkeypatch.setenv("TZ", "UTC")
        time.tzset()


def test_cron_gets_a_file_once(labcloud: Labcloud, machine: Path, home: Path) -> None:
    done = labcloud("backup", "schedule", "--install", "cron", "-o", "json")
    file = machine / "cron" / "labcloud-backups"
    assert json.loads(done.out) == {
        "name": "labcloud-backups", "by": "cron", "files": [str(file)], "written": [str(file)], "enabled": True,
    }  # fmt: skip
    assert file.read_text().startswith(f"# Written by labcloud for the lab at {home}; ")
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [each.name for each in file.parent.iterdir()] == ["labcloud-backups"]
    again = labcloud("backup", "schedule", "--install", "cron")
    assert (again.code, again.out, again.err) == (0, "", f"{file} is so already; nothing had to be done\n")
    changed = labcloud("backup", "schedule", "--install", "cron", "--at", "03:30")
    assert (changed.err, "30 3 * * *" in file.read_text()) == (f"wrote {file}\n", True)
    assert systemctl(machine) == []


def test_systemd_gets_units_and_runs_them(labcloud: Labcloud, machine: Path) -> None:
    done = labcloud("backup", "schedule", "--install", "systemd")
    files = [machine / "systemd" / f"labcloud-backups.{kind}" for kind in ("service", "timer")]
    assert (done.code, done.err.splitlines()[:2]) == (0, [f"wrote {file}" for file in files])
    assert "labcloud-backups.timer is enabled" in done.err
    assert systemctl(machine) == ["daemon-reload", "enable --now labcloud-backups.timer"]
    assert labcloud("backup", "schedule", "--install", "systemd").code == 0
    assert systemctl(machine) == ["enable --now labcloud-backups.timer"]


def test_where_systemd_does_not_run_units_are_written_alone(labcloud: Labcloud, machine: Path) -> None:
    installing.RUNNING.rmdir()
    done = labcloud("backup", "schedule", "--install", "systemd", "-o", "yaml")
    assert (done.code, yaml.safe_load(done.out)["enabled"], systemctl(machine)) == (0, False, [])
    assert "where it does: systemctl enable --now labcloud-backups.timer" in labcloud("backup", "schedule", "--install", "systemd").err


def test_what_is_not_ours_is_left_alone(labcloud: Labcloud, machine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert labcloud("backup", "schedule", "--install", "cron").code == 0
    file = machine / "cron" / "labcloud-backups"
    before = file.read_text()
    done = labcloud("backup", "schedule", "--install", "systemd")
    assert (done.code, done.err.splitlines()) == (
        5, [f"error: cron runs labcloud-backups already: {file}", f"  try: end that first: rm {file}"],
    )  # fmt: skip
    monkeypatch.setenv("LABCLOUD_HOME", str(tmp_path / "other"))
    done = labcloud("backup", "schedule", "--install", "cron")
    assert (done.code, done.err.splitlines()[0]) == (5, f"error: {file} is another lab's, or was written by hand")
    assert (file.read_text(), list((machine / "systemd").iterdir())) == (before, [])


def test_it_is_refused_politely_where_it_may_not_be(labcloud: Labcloud, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("labcloud.lab.files.replace", refuse)
        done = labcloud("backup", "schedule", "--install", "cron")
    assert (done.code, done.err.splitlines()[0]) == (6, f"error: could not write {machine}/cron/labcloud-backups: Permission denied")
    assert "as root" in done.err
    installing.CRON.rmdir()
    done = labcloud("backup", "schedule", "--install", "cron")
    assert (done.code, done.err.splitlines()[0]) == (4, f"error: there is no folder {machine}/cron: cron is not installed here")
    (machine / "fails").write_text("1")
    done = labcloud("backup", "schedule", "--install", "systemd")
    assert (done.code, done.err.splitlines()[0]) == (6, "error: systemd refused: systemctl daemon-reload")


@pytest.mark.parametrize("argv", [("--at", "24:00"), ("--at", "never"), ("--at", "02:00 mon"), ("--print", "--install", "cron")])
def test_bad_input_is_one_sentence(labcloud: Labcloud, argv: tuple[str, ...]) -> None:
    done = labcloud("backup", "schedule", *argv)
    assert (done.code, done.out, done.err.count("error: "), "try: " in done.err) == (2, "", 1, True)
