"""Settings on the command line: the table of what is known, and what create and preflight make of --set."""

from __future__ import annotations

import json

import pytest

from tests.unit.cli.conftest import Labcloud

ASKED = ("hadoop-2.7", "--tenant", "acme", "--name", "c", "--provider", "simulated")
UNKNOWN = "hdfs-site:dfs.replicaton=2"
NOTE = "note: hdfs-site:dfs.replicaton: hadoop-2.7.7 knows no setting dfs.replicaton; did you mean hdfs-site:dfs.replication?"


def test_the_table_of_settings(labcloud: Labcloud) -> None:
    lines = labcloud("profile", "settings", "hadoop-3.4", "dfs.heartbeat.*").out.splitlines()
    assert lines[0].split() == ["SETTING", "DEFAULT", "KIND", "CHANGE", "SERVICES"]
    assert lines[1].split() == ["hdfs-site:dfs.heartbeat.interval", "3", "duration", "static", "namenode", "(live),", "datanode"]
    (entry,) = json.loads(labcloud("profile", "settings", "hadoop-3.4", "core-site:fs.protected*", "-o", "json").out)
    assert entry == {
        "file": "core-site",
        "name": "fs.protected.directories",
        "kind": "text",
        "default": "",
        "change": "live",
        "services": ["namenode"],
        "live": {"namenode": "hdfs dfsadmin -reconfig namenode {host}:8020 start"},
    }


def test_settings_that_there_are_none_of(labcloud: Labcloud) -> None:
    done = labcloud("profile", "settings", "hadoop-2.7", "no.such")
    assert (done.code, done.err) == (
        4,
        "error: hadoop-2.7 knows no setting with 'no.such' in its name\n  try: see all: labcloud profile settings hadoop-2.7\n",
    )


def test_create_refuses_a_value_of_the_wrong_kind(labcloud: Labcloud) -> None:
    done = labcloud("create", *ASKED, "--set", "hdfs-site:dfs.permissions.enabled=yes")
    assert (done.code, done.err) == (
        2,
        "error: the setting hdfs-site:dfs.permissions.enabled: 'yes' is not true or false\n  try: give true or false\n",
    )


@pytest.mark.parametrize("options", [("--dry-run",), ()])
def test_create_tells_of_a_name_that_it_does_not_know(labcloud: Labcloud, options: tuple[str, ...]) -> None:
    done = labcloud("create", *ASKED, "--set", UNKNOWN, *options)
    assert done.code == 0
    assert done.err.splitlines()[0] == NOTE


@pytest.mark.parametrize(
    ("setting", "status", "code", "fix"),
    [
        ("hdfs-site:dfs.replication=2", "pass", 0, ""),
        (UNKNOWN, "warn", 0, "labcloud profile settings hadoop-2.7 hdfs-site:"),
        ("hdfs-site:dfs.replication=two", "fail", 11, "labcloud profile settings hadoop-2.7 dfs.replication"),
    ],
)
def test_preflight_answers_for_settings(labcloud: Labcloud, setting: str, status: str, code: int, fix: str) -> None:
    done = labcloud("preflight", *ASKED, "--set", setting, "-o", "json")
    (check,) = (each for each in json.loads(done.out)["checks"] if each["id"] == "profile.settings")
    assert (check["status"], done.code, check["fix"]) == (status, code, fix)
    if fix:
        assert labcloud(*fix.split()[1:]).code == 0
