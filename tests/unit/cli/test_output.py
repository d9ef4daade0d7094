"""What scripts rely on: JSON on standard output and nothing else there, its keys, plain lines of progress on standard error."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.unit.cli.conftest import Labcloud

GOLDEN = Path(__file__).parent / "golden"
CREATE = ("create", "hadoop-2.7", "--tenant", "acme", "--name", "c", "--provider", "simulated", "--workers", "2")
CHANGING = (
    (r"198\.\d+\.\d+\.\d+", "ADDRESS"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r'"id": "[0-9a-z]{11}"', '"id": "ID"'),
)


def golden(name: str, text: str) -> None:
    """Compare with a golden file, without what differs from run to run."""
    for pattern, word in CHANGING:
        text = re.sub(pattern, word, text)
    assert json.loads(text) == json.loads((GOLDEN / f"{name}.json").read_text())
    assert text == (GOLDEN / f"{name}.json").read_text(), "the order of the keys, too"


@pytest.mark.parametrize(
    ("name", "argv"),
    [
        ("show", ("show", "acme/c")),
        ("list", ("list",)),
        ("operations", ("operation", "list")),
        ("ui", ("ui", "acme/c")),
        ("scale", ("scale", "acme/c", "--workers", "3")),
        ("stop", ("stop", "acme/c")),
    ],
)
def test_json_has_the_keys_that_scripts_know(labcloud: Labcloud, cluster: str, name: str, argv: tuple[str, ...]) -> None:
    done = labcloud(*argv, "--output", "json")
    assert done.code == 0
    golden(name, done.out)


def test_a_dry_run_lists_the_steps_and_makes_nothing(labcloud: Labcloud) -> None:
    done = labcloud(*CREATE, "--dry-run", "--output", "json")
    golden("dry-run", done.out)
    assert (done.code, done.err, labcloud("list", "-o", "json").out) == (0, "", "[]\n")


def test_a_dry_run_for_people_has_a_line_for_each_step(labcloud: Labcloud) -> None:
    assert labcloud(*CREATE, "--dry-run").out.splitlines()[:2] == ["acme/c", "  make the network of acme"]


def test_create_prints_what_show_prints(labcloud: Labcloud) -> None:
    created = labcloud(*CREATE, "--output", "json")
    assert json.loads(created.out) == json.loads(labcloud("show", "acme/c", "-o", "json").out)


def test_yaml_says_what_json_says(labcloud: Labcloud, cluster: str) -> None:
    assert yaml.safe_load(labcloud("show", cluster, "-o", "yaml").out) == json.loads(labcloud("show", cluster, "-o", "json").out)


def test_several_tenants_get_a_cluster_each_and_a_list_in_json(labcloud: Labcloud) -> None:
    done = labcloud("create", "hadoop-2.7", "--tenant", "a", "--tenant", "b", "--provider", "simulated", "-o", "json")
    assert [(each["tenant"], each["status"]) for each in json.loads(done.out)] == [("a", "ready"), ("b", "ready")]
    assert [each["tenant"] for each in json.loads(labcloud("list", "-o", "json").out)] == ["a", "b"]


def test_progress_is_one_plain_line_an_event_on_standard_error(labcloud: Labcloud) -> None:
    done = labcloud(*CREATE)
    lines = done.err.splitlines()
    assert all(re.fullmatch(r" *\d+\.\ds acme/c: \S.*", line) for line in lines)
    said = [line.partition(": ")[2] for line in lines]
    assert (said[0], said[-1], len(said)) == ("5 steps to do", "ready", 7)
    assert "\x1b" not in done.out + done.err
    assert "steps to do" not in done.out


def test_a_table_shows_each_service_of_each_node_and_what_to_do_next(labcloud: Labcloud) -> None:
    done = labcloud(*CREATE)
    assert re.search(r"^status: ready$", done.out, re.MULTILINE)
    assert re.search(r"^worker-1 +198\.\S+ +2g +running +datanode +running$", done.out, re.MULTILINE)
    assert re.search(r"^namenode +http://127.0.0.1:\d+/dfshealth.html$", done.out, re.MULTILINE)
    assert "next:  labcloud shell acme/c" in done.out


def test_create_again_says_that_nothing_had_to_be_done(labcloud: Labcloud, cluster: str) -> None:
    assert labcloud(*CREATE).err.splitlines()[-1] == "acme/c is there already; nothing had to be done"


def test_the_states_of_a_cluster_are_told_by_list_and_show(labcloud: Labcloud, cluster: str) -> None:
    labcloud("stop", cluster)
    assert json.loads(labcloud("list", "-o", "json").out)[0]["status"] == "stopped"
    shown = json.loads(labcloud("show", cluster, "-o", "json").out)
    assert (shown["status"], {service["status"] for node in shown["nodes"] for service in node["services"]}) == ("stopped", {"stopped"})
    labcloud("start", cluster)
    assert json.loads(labcloud("show", cluster, "-o", "json").out)["status"] == "ready"


def test_delete_says_so_and_list_is_empty(labcloud: Labcloud, cluster: str) -> None:
    done = labcloud("delete", cluster, "--yes")
    assert (done.code, done.out, done.err.splitlines()[-1]) == (0, "", "acme/c is deleted")
    empty = labcloud("list")
    assert (empty.out, empty.err) == ("", "no clusters; make one: labcloud create hadoop-2.7 --tenant T\n")


def test_an_operation_is_shown_with_its_events(labcloud: Labcloud, cluster: str) -> None:
    (first,) = json.loads(labcloud("operation", "list", "-o", "json").out)
    shown = json.loads(labcloud("operation", "show", first["id"], "-o", "json").out)
    assert [event["kind"] for event in shown["events"]] == ["preflight", "allocated", "planned", *["done"] * 5, "ready", "configured"]
    table = labcloud("operation", "show", first["id"]).out.splitlines()
    assert (table[0], len(table)) == ("create acme/c: ok", 11)


def test_lines_for_the_hosts_file_name_every_node(labcloud: Labcloud, cluster: str) -> None:
    lines = labcloud("ui", cluster, "--hosts").out.splitlines()
    assert [line.split("\t")[1] for line in lines] == [f"{node}.c.acme.lab" for node in ("master-0", "worker-0", "worker-1")]
