"""The file that create is given: what is wrong in it is said with its line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from labcloud.errors import ConfigError, NotFoundError
from labcloud.lab.drafts import Draft, load_draft, read_draft
from labcloud.model import AtEnd, Lease, Volume
from labcloud.model.dataset import NEWEST
from labcloud.model.protection import BackupTerms
from labcloud.model.shape import GroupShape

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PATH = Path("wanted.yaml")
GOOD = """\
profile: hadoop-3.4
provider: simulated
lease: 8h
groups:
- {name: worker, count: 3, memory: 4g, cpus: 0.5, volumes: 2x20g@fast+1x100g@bulk}
- name: master
  volumes:
  - {size: 5g, storage: fast}
  - {}
settings:
  hdfs-site:dfs.replication: 2
publish: {namenode: 9870}
datasets: [taxi, grades@2]
backup: {enabled: true, keep: {daily: 14}}
"""


def test_what_people_may_choose_is_read() -> None:
    fast = Volume(20, "fast")
    assert read_draft(GOOD, PATH, NOW) == Draft(
        "hadoop-3.4", "simulated",
        {
            "worker": GroupShape(3, 4096, 0.5, (fast, fast, Volume(100, "bulk"))),
            "master": GroupShape(volumes=(Volume(5, "fast"), Volume())),
        },
        {"hdfs-site:dfs.replication": "2"}, {"namenode": 9870}, Lease(NOW + timedelta(hours=8)),
        {"taxi": NEWEST, "grades": 2}, BackupTerms(enabled=True, keep={"daily": 14}),
    )  # fmt: skip


def test_what_is_not_said_stays_open() -> None:
    assert read_draft("settings: {}\n", PATH, NOW) == Draft()
    assert read_draft("lease: {until: 2026-11-22T00:00:00Z, then: delete}", PATH, NOW).lease == Lease(
        datetime(2026, 11, 22, tzinfo=UTC), AtEnd.DELETE
    )
    assert read_draft("groups: [{name: worker, volumes: 3, volume_size: 9g, storage: fast}]", PATH, NOW).groups["worker"] == GroupShape(
        volumes=3, volume_size=9, storage="fast"
    )


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("profile:", "profil:", 1, "means nothing here"),
        ("lease: 8h", "id: 12", 3, "'id' means nothing here"),
        ("lease: 8h", "lease: soon", 3, "soon"),
        ("cpus: 0.5", "cpus: much", 5, "not a number of cores"),
        ("2x20g@fast+1x100g@bulk", "2x20@fast", 5, "does not say which volumes"),
        ("cpus: 0.5,", "used: 3,", 5, "'used' means nothing"),
        ("name: master", "name: worker", 6, "declared twice"),
        ("- {}\n", "- {}\n  storage: bulk\n", 8, "said twice"),
        ("size: 5g", "size: 5", 8, "is not a size of volumes"),
        ("hdfs-site:dfs.replication", "dfs.replication", 11, "write FILE:NAME"),
        ("9870", "0", 12, "whole number from 1"),
        ("[taxi,", "[Taxi,", 13, "'Taxi' cannot name a dataset"),
        ("grades@2", "grades@new", 13, "names no version of a dataset"),
        ("grades@2", "taxi@2", 13, "the dataset taxi is named twice"),
        ("[taxi, grades@2]", "{taxi: 0}", 13, "whole number from 1"),
        ("[taxi, grades@2]", "taxi", 13, "lines are expected"),
        ("daily: 14", "dayly: 14", 14, "no rule 'dayly'"),
        ("{enabled: true, keep: {daily: 14}}", "no", 14, "neither true nor false"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(old: str, new: str, line: int, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        read_draft(GOOD.replace(old, new, 1), PATH, NOW)
    assert caught.value.brief.startswith(f"{PATH}:{line}:")
    assert said in caught.value.brief


def test_backups_are_switched_off_in_a_word() -> None:
    assert read_draft("backup: off\n", PATH, NOW).backup == BackupTerms(enabled=False)


def test_datasets_are_named_as_a_cluster_has_them_too() -> None:
    assert read_draft("datasets: {taxi: 1, grades: 2}\n", PATH, NOW).datasets == {"taxi": 1, "grades": 2}


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"there is no file .*nothing\.yaml"):
        load_draft(tmp_path / "nothing.yaml", NOW)
    (tmp_path / "latin").write_bytes(b"a: b\nc: \xff\n")
    with pytest.raises(ConfigError, match=r"latin:2: this is not UTF-8"):
        load_draft(tmp_path / "latin", NOW)
