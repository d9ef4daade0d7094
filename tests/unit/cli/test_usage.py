"""`tenant usage`: quotas now, hours over time, bills, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from tests.unit.cli.conftest import Labcloud

GOLDEN = Path(__file__).parent / "golden"
NODES = '{"profile":"hadoop-2.7","provider":"simulated","state":"%s","nodes":%d,"cpus":%s,"memory_mib":%d,"volumes_gib":%d}'
PRICES = "currency: EUR\nnode_hour: 0.03\nmemory_gib_hour: 0.0125\ntenants:\n  blue: {node_hour: 1}\n"


def note(home: Path, moment: str, target: str, details: str) -> None:
    """A line of the journal, as a run of labcloud has left it."""
    folder = home / "journal"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{moment[:7]}.jsonl").open("a") as file:
        file.write(f'{{"time":"{moment}","operation":"x","verb":"x","target":"{target}","event":"allocated","details":{details}}}\n')


@pytest.fixture
def october(home: Path) -> None:
    """Two clusters that were there in October 2025."""
    note(home, "2025-10-01T00:00:00.000Z", "acme/c", NODES % ("running", 3, "1.5", 6144, 30))
    note(home, "2025-10-01T10:00:00.000Z", "acme/c", NODES % ("stopped", 3, "1.5", 6144, 30))
    note(home, "2025-10-02T00:00:00.000Z", "acme/c", NODES % ("gone", 0, "0.0", 0, 0))
    note(home, "2025-10-31T23:40:00.000Z", "blue/x", NODES % ("running", 1, "1.0", 1024, 10))
    note(home, "2025-11-01T01:00:00.000Z", "blue/x", NODES % ("gone", 0, "0.0", 0, 0))


def an_hour_ago(home: Path) -> None:
    """All that the journal has was then."""
    then = f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%M:%S.000Z}"
    for path in (home / "journal").iterdir():
        path.write_text(re.sub(r'^{"time":"[^"]+"', f'{{"time":"{then}"', path.read_text(), flags=re.MULTILINE))


@pytest.fixture
def prices(tmp_path: Path) -> str:
    path = tmp_path / "book.yaml"
    path.write_text(PRICES)
    return str(path)


def test_a_bill_is_this_csv(labcloud: Labcloud, october: None, prices: str) -> None:
    done = labcloud("tenant", "usage", "--month", "2025-10", "-o", "csv", "--prices", prices)
    assert (done.code, done.err) == (0, "")
    assert done.out == (GOLDEN / "bill.csv").read_bytes().decode()


def test_the_json_of_a_month_is_this(labcloud: Labcloud, october: None, prices: str) -> None:
    done = labcloud("tenant", "usage", "--month", "2025-10", "-o", "json", "--prices", prices)
    assert done.out == (GOLDEN / "usage-month.json").read_text()


def test_the_json_of_now_is_this(labcloud: Labcloud, home: Path, cluster: str) -> None:
    an_hour_ago(home)
    done = labcloud("tenant", "usage", "acme", "-o", "json")
    text = re.sub(r'_hours": [\d.e-]+', '_hours": HOURS', re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", done.out))
    assert text == (GOLDEN / "usage.json").read_text()


def test_yaml_says_what_json_says(labcloud: Labcloud, october: None) -> None:
    asked = ("tenant", "usage", "--month", "2025-10")
    assert yaml.safe_load(labcloud(*asked, "-o", "yaml").out) == json.loads(labcloud(*asked, "-o", "json").out)


def test_a_table_of_a_month_has_a_line_for_each_cluster_and_a_sum(labcloud: Labcloud, october: None, prices: str) -> None:
    lines = labcloud("tenant", "usage", "acme", "--month", "2025-10", "--prices", prices).out.splitlines()
    assert lines == [
        "acme",
        "from 2025-10-01T00:00:00Z to 2025-11-01T00:00:00Z",
        "CLUSTER  PROFILE     NODE-HOURS  CPU-HOURS  MEMORY GIB-HOURS  VOLUME GIB-HOURS   EUR",
        "acme/c   hadoop-2.7       30.00      15.00             60.00            720.00  1.65",
        "total                     30.00      15.00             60.00            720.00  1.65",
    ]


def test_a_table_of_now_has_the_quotas_and_the_hours_of_this_month(labcloud: Labcloud, home: Path, cluster: str) -> None:
    an_hour_ago(home)
    assert labcloud("tenant", "set", "acme", "--quota", "memory=8g", "--quota", "nodes=2", "--limit", "hadoop-2.7=1").code == 0
    lines = labcloud("tenant", "usage", "acme").out.splitlines()
    table = [line.split() for line in lines[: lines.index("")]]
    assert table[:5] == [
        ["acme"], ["RESOURCE", "USED", "RESERVED", "FREE", "QUOTA"], ["clusters", "1", "0", "-", "-"], ["nodes", "3", "0", "-1", "2"],
        ["cpus", "6", "0", "-", "-"],
    ]  # fmt: skip
    assert table[5] == ["memory", "5632m", "0", "2560m", "8g"]
    assert table[-1] == ["clusters", "of", "hadoop-2.7", "1", "0", "0", "1"]
    assert lines[lines.index("") + 1].startswith(f"from {datetime.now(UTC):%Y-%m}-01T00:00:00Z to ")
    assert lines[-1].startswith("total ")


def test_hours_pass_while_a_cluster_runs(labcloud: Labcloud, home: Path, cluster: str) -> None:
    """Its declaration says so, though nothing was noted (`create` wrote the journal, which is gone)."""
    for path in (home / "journal").iterdir():
        path.unlink()
    os.utime(home / "lab" / "clusters" / "acme" / "c.yaml", (time.time() - 60,) * 2)
    since = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
    (found,) = json.loads(labcloud("tenant", "usage", "--since", since, "-o", "json").out)
    assert (found["now"], [each["cluster"] for each in found["clusters"]]) == (None, ["acme/c"])


def test_tenants_without_clusters_are_there_too(labcloud: Labcloud) -> None:
    assert labcloud("tenant", "create", "acme").code == 0
    done = labcloud("tenant", "usage")
    assert done.out.splitlines()[:2] == ["acme", "nothing is used, and there are no quotas"]
    assert done.out.splitlines()[-1] == "nothing was used"


def test_an_empty_lab_says_so(labcloud: Labcloud, home: Path) -> None:
    done = labcloud("tenant", "usage")
    assert (done.code, done.out, "no tenant, and nothing was used" in done.err) == (0, "", True)
    assert labcloud("tenant", "usage", "-o", "json").out == "[]\n"
    assert not home.exists()


def test_the_labs_own_prices_are_taken_where_no_other_are_named(labcloud: Labcloud, home: Path, october: None, prices: str) -> None:
    (home / "lab").mkdir()
    (home / "lab" / "prices.yaml").write_text("currency: CHF\nnode_hour: 2\n")
    rows = list(csv.DictReader(io.StringIO(labcloud("tenant", "usage", "acme", "--month", "2025-10", "-o", "csv").out)))
    assert [(row["amount"], row["currency"]) for row in rows] == [("60", "CHF"), ("0", "CHF"), ("0", "CHF"), ("0", "CHF")]


def test_adjacent_periods_add_up_on_the_bill(labcloud: Labcloud, october: None) -> None:
    def hours(*asked: str) -> float:
        return sum(each["total"]["node_hours"] for each in json.loads(labcloud("tenant", "usage", *asked, "-o", "json").out))

    days = [("--since", f"2025-10-{day:02}", "--until", f"2025-10-{day + 1:02}") for day in (1, 15, 30)]
    assert [hours(*each) for each in days] == [30, 0, 0]
    assert hours("--since", "2025-10-31", "--until", "2025-11-02") == pytest.approx(4 / 3)


@pytest.mark.parametrize(
    ("argv", "code", "sentence"),
    [
        (("blue",), 4, "there is no tenant blue"),
        (("No Body",), 2, "'No Body' cannot name a tenant"),
        (("--since", "yesterday"), 2, "'yesterday' is not a time"),
        (
            ("--since", "2025-11-01", "--until", "2025-10-01"),
            2,
            "the period ends at 2025-10-01T00:00:00Z, and begins at 2025-11-01T00:00:00Z",
        ),
        (("--until", "2025-10-01"), 2, "--until needs --since"),
        (("--month", "October"), 2, "'October' is not a month"),
        (("--month", "2025-10", "--since", "2025-10-01"), 2, "--month is a period of its own"),
        (("--month", "9998-01"), 2, "9998-01-01T00:00:00Z is to come"),
        (("--prices", "nowhere.yaml"), 4, "there is no file nowhere.yaml"),
        (("--prices", "/"), 2, "/ cannot be read as a price book"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(labcloud: Labcloud, argv: tuple[str, ...], code: int, sentence: str) -> None:
    done = labcloud("tenant", "usage", *argv)
    assert (done.code, done.out, done.err.splitlines()[0]) == (code, "", f"error: {sentence}")
    assert "try:" in done.err


def test_a_wrong_price_book_is_refused_with_its_line(labcloud: Labcloud, tmp_path: Path) -> None:
    path = tmp_path / "book.yaml"
    path.write_text("currency: EUR\nnode_hour: -1\n")
    done = labcloud("tenant", "usage", "--prices", str(path))
    assert (done.code, done.err.splitlines()[0]) == (3, f"error: {path}:2: '-1' is not a price")
