"""storage on the command line, and clusters whose groups differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Done, Labcloud

FILE = """\
profile: hadoop-2.7
provider: simulated
groups:
- {name: worker, count: 3, memory: 3g, volumes: 2x20g@fast+1x100g@bulk}
settings: {hdfs-site:dfs.replication: 2}
"""


def groups(home: Path, name: str = "c") -> str:
    return (home / f"lab/clusters/acme/{name}.yaml").read_text()


@pytest.fixture
def classes(labcloud: Labcloud, tmp_path: Path) -> None:
    assert labcloud("storage", "set", "fast", "--path", str(tmp_path / "nvme"), "--media", "ssd", "--title", "two drives").code == 0
    assert labcloud("storage", "set", "bulk", "--path", str(tmp_path / "bulk")).code == 0


def create(labcloud: Labcloud, *argv: str, name: str = "c") -> Done:
    return labcloud("create", *argv, "--tenant", "acme", "--name", name, "--provider", "simulated")


def test_the_default_class_is_there_without_any(labcloud: Labcloud) -> None:
    (only,) = json.loads(labcloud("storage", "list", "-o", "json").out)
    assert (only["name"], only["where"], only["volumes"], only["size_mib"]) == ("default", "the engine's own", 0, None)
    assert labcloud("storage", "remove", "default").code == 4


def test_classes_are_listed_with_what_clusters_declare_in_them(labcloud: Labcloud, classes: None, tmp_path: Path) -> None:
    assert create(labcloud, "hadoop-2.7", "--group", "worker:count=3,volumes=2x20g@fast+1x100g@bulk").code == 0
    rows = {each["name"]: each for each in json.loads(labcloud("storage", "list", "-o", "json").out)}
    assert list(rows) == ["default", "bulk", "fast"]
    fast = rows["fast"]
    assert (fast["path"], fast["media"], fast["title"], fast["volumes"], fast["volumes_gib"]) == (
        str(tmp_path / "nvme"),
        "ssd",
        "two drives",
        6,
        120,
    )
    assert (fast["clusters"], rows["bulk"]["volumes_gib"], rows["default"]["volumes"]) == (["acme/c"], 300, 1)
    assert 0 < fast["free_mib"] <= fast["size_mib"]
    assert "acme/c" in labcloud("storage", "show", "fast").out
    assert labcloud("storage", "list").out.startswith("CLASS ")


def test_a_class_that_is_used_stays(labcloud: Labcloud, classes: None) -> None:
    assert create(labcloud, "hadoop-2.7", "--group", "worker:storage=fast").code == 0
    done = labcloud("storage", "remove", "fast")
    assert done.code == 5
    assert done.err.startswith("error: 2 volumes lie in the storage class fast: those of acme/c")
    assert labcloud("delete", "acme/c").code == 0
    assert labcloud("storage", "remove", "fast").code == 0
    assert labcloud("storage", "remove", "fast").code == 4


def test_setting_changes_what_is_named_alone(labcloud: Labcloud, classes: None) -> None:
    assert labcloud("storage", "set", "fast", "--shared").code == 0
    shown = json.loads(labcloud("storage", "show", "fast", "-o", "json").out)
    assert (shown["media"], shown["shared"], shown["title"]) == ("ssd", True, "two drives")
    done = labcloud("storage", "set", "fast", "--driver", "local", "--option", "type=nfs", "-o", "json")
    shown = json.loads(done.out)
    assert (shown["path"], shown["driver"], shown["options"], shown["where"]) == ("", "local", {"type": "nfs"}, "driver local")
    assert "nothing had to be done" in labcloud("storage", "set", "fast", "--driver", "local").err


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("set", "fast"), 2, "nothing is to change"),
        (("set", "fast", "--media", "ssd"), 2, "nothing says where volumes of fast shall lie"),
        (("set", "fast", "--path", "bulk"), 2, "'bulk' is not a folder for volumes"),
        (("set", "fast", "--path", "/x", "--driver", "local"), 2, "a path, or a driver with options, not both"),
        (("set", "Fast", "--path", "/x"), 2, "'Fast' cannot name a storage class"),
        (("set", "fast", "--driver", "local", "--option", "nfs"), 2, "'nfs' is not of the form KEY=VALUE"),
        (("show", "fast"), 4, "there is no storage class 'fast'"),
        (("remove", "fast"), 4, "there is no storage class 'fast'"),
    ],
)
def test_bad_input_is_one_sentence(labcloud: Labcloud, argv: tuple[str, ...], code: int, said: str) -> None:
    done = labcloud("storage", *argv)
    assert (done.code, done.out) == (code, "")
    assert said in done.err.splitlines()[0]


# Groups that differ


def test_groups_differ_and_the_same_command_again_changes_nothing(labcloud: Labcloud, classes: None, home: Path) -> None:
    argv = ("hadoop-2.7", "--memory", "2g", "--group", "worker:count=1,memory=3g,cpus=0.5", "--group", "master:volume-size=5g")
    assert create(labcloud, *argv).code == 0
    assert "- name: worker\n  count: 1\n  memory: 3g\n  cpus: 0.5\n  volumes: 1\n  volume_size: 10g\n" in groups(home)
    assert "- name: master\n  count: 1\n  memory: 2g\n  cpus: 2.0\n  volumes: 1\n  volume_size: 5g\n" in groups(home)
    assert "nothing had to be done" in create(labcloud, *argv).err
    assert "nothing had to be done" in create(labcloud, "hadoop-2.7").err
    other = create(labcloud, "hadoop-2.7", "--group", "worker:volumes=2x20g@fast")
    assert other.code == 5
    assert "worker volumes is 1x10g, not 2x20g@fast" in other.err


def test_a_file_says_what_options_do_not(labcloud: Labcloud, classes: None, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "wanted.yaml"
    file.write_text(FILE)
    assert labcloud("preflight", "--tenant", "acme", "--file", str(file)).code == 0
    assert labcloud("create", "--tenant", "acme", "--file", str(file)).code == 0
    text = groups(home, "hadoop-2.7")
    assert "  count: 3\n  memory: 3g\n" in text
    assert "  volumes:\n  - size: 20g\n    storage: fast\n  - size: 20g\n    storage: fast\n  - size: 100g\n    storage: bulk\n" in text
    more = ("--workers", "2", "--memory", "2g", "--volume-size", "4g", "--group", "worker:cpus=1", "--set", "hdfs-site:dfs.replication=1")
    assert create(labcloud, "hadoop-2.7", "--file", str(file), *more).code == 0
    text = groups(home)
    assert "  count: 2\n  memory: 2g\n  cpus: 1.0\n  volumes:\n  - size: 4g\n    storage: fast\n" in text
    assert "dfs.replication: '1'" in text


def test_a_file_goes_before_the_defaults_of_the_tenant(labcloud: Labcloud, classes: None, home: Path, tmp_path: Path) -> None:
    assert labcloud("tenant", "create", "acme", "--default", "memory=4g", "--default", "workers=1", "--default", "volume-size=2g").code == 0
    file = tmp_path / "wanted.yaml"
    file.write_text(FILE)
    assert create(labcloud, "--file", str(file)).code == 0
    assert "  count: 1\n  memory: 4g\n" in groups(home)
    assert "  count: 3\n  memory: 3g\n" in groups(home)
    assert "- size: 100g\n    storage: bulk\n" in groups(home)


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        ((), 2, "nothing says which profile is wanted"),
        (("hadoop-2.7", "--group", "wroker:count=3"), 2, "hadoop-2.7 has no node group 'wroker'"),
        (("hadoop-2.7", "--group", "worker:count=0"), 2, "hadoop-2.7 cannot have 0 workers"),
        (("hadoop-2.7", "--group", "master:count=2"), 2, "hadoop-2.7 always has 1 master, not 2"),
        (("hadoop-2.7", "--group", "worker:cpus=9999"), 2, "a node cannot have 9999 cores"),
        (("hadoop-2.7", "--group", "worker:memory=lots"), 2, "'lots' is not an amount of memory"),
        (("hadoop-2.7", "--group", "worker:storage=fsat"), 4, "there is no storage class 'fsat'"),
        (("hadoop-2.7", "--file", "/not/there.yaml"), 4, "there is no file /not/there.yaml"),
    ],
)
def test_what_cannot_be_asked_for_is_one_sentence(labcloud: Labcloud, classes: None, argv: tuple[str, ...], code: int, said: str) -> None:
    done = create(labcloud, *argv)
    assert (done.code, done.out) == (code, "")
    assert said in done.err.splitlines()[0]
    assert "try: " in done.err


def test_the_nearest_names_are_given(labcloud: Labcloud, classes: None) -> None:
    assert "did you mean fast?" in create(labcloud, "hadoop-2.7", "--group", "worker:storage=fsat").err
    assert "did you mean worker?" in create(labcloud, "hadoop-2.7", "--group", "wroker:count=3").err


def test_preflight_tells_of_a_class_that_is_missing_with_all_else(labcloud: Labcloud, classes: None) -> None:
    done = labcloud(
        "preflight", "hadoop-2.7", "--tenant", "acme", "--provider", "simulated", "--group", "worker:storage=fsat", "-o", "json"
    )
    checks = {each["id"]: each for each in json.loads(done.out)["checks"]}
    assert (done.code, checks["storage.known"]["status"]) == (11, "fail")
