"""Graph files: what is read, and what is refused, with file and line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labcloud.diagnosis.checking import check
from labcloud.diagnosis.loading import load_graphs
from labcloud.diagnosis.model import Graph, Kind
from labcloud.errors import ConfigError

from .conftest import Write

GOOD = """\
title: is the disk full
about: cluster
start: look
checkpoints:
  look:
    script: [df, --output=pcent, /data/0]
    on: worker
    gives: {mount-full: [used], quota: []}
    beside: [other]
    edges:
      - {when: mount-full & not quota, cause: my.disk-full}
      - {when: other-failed, to: more}
  other:
    check: host.memory
  more:
    probe: disks
    edges:
      - {when: disk-read-only & mount-full-too, cause: my.both}
causes:
  my.disk-full:
    verdict: "{mount-full.node}: {mount-full.used} used in {cluster}"
    confidence: likely
    fix:
      - {labcloud: [start, "{cluster}"], safe: yes}
      - {run: [rm, "/data/0/{used}"], on: "{node}", each: mount-full, safe: no}
  my.both:
    verdict: both
""".replace(" & mount-full-too", "")


def test_the_shipped_graphs_are_well(tmp_path: Path) -> None:
    graphs = load_graphs(tmp_path)
    assert {"triage", "operation", "daemon", "datanode", "hdfs-safe-mode", "hdfs-blocks", "yarn-job", "slow"} <= graphs.keys()
    assert sum(len(each.causes) for each in graphs.values()) > 80


def test_every_shipped_cause_is_in_the_documentation(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "diagnosis.md").read_text()
    shipped = {id for graph in load_graphs(tmp_path).values() for id in graph.causes}
    assert {id for id in shipped if f"`{id}`" not in text} == set()


def test_the_documented_example_is_well(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "diagnosis.md").read_text()
    folder = tmp_path / "lab" / "diagnosis"
    folder.mkdir(parents=True)
    (folder / "example.yaml").write_text(text.partition("```yaml\n")[2].partition("```")[0])
    assert "example" in load_graphs(tmp_path)["triage"].joined


def test_a_graph_is_read(graph: Write) -> None:
    read = graph(GOOD)
    check({"mine": read})
    look = read.checkpoints["look"]
    assert look.gives == {"mount-full": ("node", "used"), "quota": ("node",)}
    assert look.script is not None and look.script.argv == ("df", "--output=pcent", "/data/0")
    assert [edge.kind for edge in look.edges] == [Kind.CAUSE, Kind.CHECKPOINT]
    assert read.checkpoints["other"].gives.keys() == {"other-failed", "other-warned"}
    assert [action.safe for action in read.causes["my.disk-full"].fix] == [True, False]


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("title: is the disk full", "title: [", 3, "this is not YAML"),
        ("about: cluster", "about: weather", 2, "'weather' is none of cluster, operation"),
        ("start: look", "start: nowhere", 1, "starts at the checkpoint 'nowhere'"),
        ("    on: worker", "    of: worker", 7, "'of' means nothing here"),
        ("    check: host.memory", "    check: host.memory\n    on: worker", 15, "'on' is for scripts only"),
        ("    probe: disks", "    probe: weather", 16, "there is no probe 'weather'"),
        ("    probe: disks", "    seconds: 3", 16, "needs one of 'probe', 'check', 'script'"),
        ("    probe: disks", "    probe: disks\n    seconds: -1", 17, "not a time limit"),
        ("    beside: [other]", "    beside: [look]", 6, "beside 'look', which is no other checkpoint"),
        ("mount-full & not quota, cause", "mount-full & & quota, cause", 11, "is no expression"),
        ("mount-full & not quota, cause", "mount-full & rain, cause", 11, "no checkpoint gives 'rain'"),
        ("{when: other-failed, to: more}", "{when: other-failed, to: less}", 12, "leads to the checkpoint 'less', which is not there"),
        ("{when: other-failed, to: more}", "{when: other-failed}", 12, "one of 'to', 'cause', 'graph'"),
        ("{when: other-failed, to: more}", "{when: other-failed, graph: less}", 12, "leads to the graph 'less'"),
        ("{when: disk-read-only, cause: my.both}", "{when: disk-read-only, to: look}", 16, "lead in a circle: look → more → look"),
        ("{when: other-failed, to: more}", "{when: other-failed, cause: my.both}", 16, "no way leads to the checkpoint 'more'"),
        ("disk-read-only, cause: my.both", "disk-read-only, cause: my.disk-full", 27, "no edge leads to the cause 'my.both'"),
        ("verdict: both", "verdict: both {rain.node}", 27, "nothing fills {rain.node}"),
        ("{mount-full.used} used", "{mount-full.free} used", 21, "nothing fills {mount-full.free}"),
        ("each: mount-full, safe: no", "each: rain, safe: no", 25, "no checkpoint on the way gives 'rain'"),
        ("each: mount-full, safe: no", "safe: no", 25, "nothing fills {used}"),
        ('on: "{node}", each: mount-full', "each: mount-full", 25, "'run' needs 'on'"),
        ("safe: yes}", "safe: perhaps}", 24, "'perhaps' is neither yes nor no"),
        ("confidence: likely", "confidence: sure", 22, "'sure' is none of certain, likely, possible"),
        ("  my.both:\n", "  both:\n", 26, "'both' is not a name here"),
        ("    verdict: both", "    advice: both", 27, "'verdict' is missing"),
        ("gives: {mount-full: [used], quota: []}", "user: hdfs", 6, "must say what it gives"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(graph: Write, old: str, new: str, line: int, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        check({"mine": graph(GOOD.replace(old, new, 1))})
    assert said in caught.value.brief
    assert re.search(rf"mine\.yaml:{line}: ", caught.value.brief), caught.value.brief
    assert caught.value.resolution


def test_a_result_that_not_every_way_passes_is_refused(graph: Write) -> None:
    text = GOOD.replace("start: look", "start: [look, more]").replace("disk-read-only, cause", "disk-read-only & quota, cause")
    with pytest.raises(ConfigError, match="'quota' is given by 'look', which not every way to 'more' passes"):
        check({"mine": graph(text)})


def test_a_cause_belongs_to_one_graph(graph: Write) -> None:
    with pytest.raises(ConfigError, match=r"yours.yaml:21: the cause 'my.disk-full' is declared in .*mine.yaml too"):
        check({"mine": graph(GOOD), "yours": graph(GOOD, "yours")})


def test_graphs_that_lead_in_a_circle_are_refused(graph: Write) -> None:
    other = GOOD.replace("my.", "other.").replace("{when: other-failed, to: more}", "{when: other-failed, to: more}\n      - {graph: mine}")
    mine = graph(GOOD.replace("{when: other-failed, to: more}", "{when: other-failed, to: more}\n      - {graph: yours}"))
    with pytest.raises(ConfigError, match="graphs lead in a circle: mine → yours → mine"):
        check({"mine": mine, "yours": graph(other, "yours")})


def test_a_graph_about_a_cluster_cannot_lead_to_one_about_an_operation(graph: Write) -> None:
    mine: Graph = graph(GOOD.replace("{when: other-failed, to: more}", "{when: other-failed, to: more}\n      - {graph: yours}"))
    yours = graph(GOOD.replace("my.", "other.").replace("about: cluster", "about: operation"), "yours")
    with pytest.raises(ConfigError, match="a graph about a cluster cannot lead there"):
        check({"mine": mine, "yours": yours})


def test_the_operators_graphs_join_and_replace(tmp_path: Path) -> None:
    folder = tmp_path / "lab" / "diagnosis"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(GOOD + "joins: triage\n")
    assert load_graphs(tmp_path)["triage"].joined == ("mine",)
    (folder / "mine.yaml").write_text(GOOD + "joins: weather\n")
    with pytest.raises(ConfigError, match=r"mine.yaml:1: it joins the graph 'weather', which is not there"):
        load_graphs(tmp_path)
    (folder / "mine.yaml").write_bytes(b"title: \xff\n")
    with pytest.raises(ConfigError, match=r"mine.yaml:1: this is not UTF-8"):
        load_graphs(tmp_path)
