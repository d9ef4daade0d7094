"""What a service's start notes of the configuration that it reads, and the program that prints and amends it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from labcloud.errors import ConfiguringError
from labcloud.model import ClusterRef, NodeRef
from labcloud.providers.base import Command, Result
from labcloud.providers.simulated.provider import SimulatedProvider
from labcloud.providers.simulated.world import World
from labcloud.services import started
from tests.unit.images.sandbox import STUBS, Node

REF = NodeRef(ClusterRef("acme", "c"), "worker", 0)
ODD = "a <&'\"$x`y\\n  \n\n"  # what a shell could take for its own
JAVA = '#!/bin/sh\nprintf "%s\\n" "FROM_LAB=${FROM_LAB-}" "FROM_NODE=${FROM_NODE-}" "$@" >"$LABCLOUD_ROOT/java"\n'
NODE_ENV = (
    "LABCLOUD_TENANT=acme\nJAVA_HOME='{root}'\nHADOOP_HOME='{root}'\nHADOOP_LOG_DIR='{root}'\nHADOOP_CONF_DIR=/conf\nFROM_NODE=node\n"
)


class OneNode(SimulatedProvider):
    """Runs the real programs of a node in its sandbox."""

    node: Node

    def execute(self, ref: NodeRef, command: Command, **_: object) -> Result:  # noqa: ARG002
        assert isinstance(command.stdin, bytes)
        done = self.node.run(command.argv[0].removeprefix("/usr/lib/labcloud/"), *command.argv[1:], stdin=command.stdin)
        return Result(done.code, done.output, done.said.encode())


@pytest.fixture
def node(tmp_path: Path) -> Node:
    node = Node(tmp_path / "node", STUBS)
    node.put("bin/java", JAVA).chmod(0o755)
    node.put("libexec/classpath", "/jars\n")
    node.put("etc/labcloud/cluster/node.env", NODE_ENV.format(root=node.root))
    node.put("etc/labcloud/cluster/conf/hdfs-site.xml", ODD)
    node.put("etc/labcloud/cluster/conf/dfs.exclude", "")
    node.put("etc/labcloud/cluster/conf/log4j.properties", "x=1")
    for name in ("datanode", "nodemanager"):
        node.put(f"etc/labcloud/cluster/services/{name}", f"SERVICE_USER=hdfs\nSERVICE_CLASS=org.example.{name}\n")
    return node


@pytest.fixture
def provider(node: Node) -> OneNode:
    provider = OneNode(World(), "lab")
    provider.node = node
    return provider


def start(node: Node, service: str = "datanode") -> None:
    """As the supervisor does it."""
    folder = node.root / "run/service" / service
    folder.mkdir(parents=True, exist_ok=True)
    done = node.run("service/run", cwd=folder, env={"PWD": str(folder)})
    assert done.code == 0, done.said + node.read(f"{service}.out")


def configured(node: Node, service: str = "datanode") -> Mapping[str, str]:
    root = node.root / "etc/labcloud/cluster"
    paths = [*(root / "conf").iterdir(), root / "node.env", root / "services" / service]
    return {str(path.relative_to(root)): path.read_text() for path in paths}


def test_a_node_whose_services_never_started_says_so(provider: OneNode) -> None:
    assert started.read(provider, REF) == {}


def test_a_start_notes_exactly_what_it_reads(node: Node, provider: OneNode) -> None:
    start(node)
    start(node, "nodemanager")
    assert started.read(provider, REF) == {name: configured(node, name) for name in ("datanode", "nodemanager")}
    assert (node.root / "run/labcloud/started/datanode/conf/hdfs-site.xml").read_text() == ODD
    assert "org.example.datanode" not in node.read("java")
    assert "org.example.nodemanager" in node.read("java")


def test_each_start_notes_anew_and_forgets_what_is_gone(node: Node, provider: OneNode) -> None:
    for turn in range(3):
        start(node)
        assert started.read(provider, REF)["datanode"] == configured(node)
        node.put("etc/labcloud/cluster/conf/hdfs-site.xml", f"{turn}")
        node.put(f"etc/labcloud/cluster/conf/new-{turn}.xml", "")
        (node.root / f"etc/labcloud/cluster/conf/new-{turn - 1}.xml").unlink(missing_ok=True)
        assert started.read(provider, REF)["datanode"] != configured(node)
    start(node)
    assert started.read(provider, REF)["datanode"] == configured(node)


def test_the_environment_of_the_lab_is_taken_as_data_and_the_clusters_wins(node: Node, provider: OneNode) -> None:
    text = (
        "# all nodes\nFROM_LAB=a $(touch pwned) 'b'=\nFROM_NODE=lab\nLABCLOUD_TENANT=evil\nSERVICE_ARGS=evil\nUID=1\n1x=2\nnothing\nLAST=1"
    )
    node.put("etc/labcloud/base/environment", text)
    start(node)
    assert node.read("java").splitlines()[:2] == ["FROM_LAB=a $(touch pwned) 'b'=", "FROM_NODE=node"]
    assert "evil" not in node.read("java")
    assert started.read(provider, REF)["datanode"]["base/environment"] == text
    (node.root / "etc/labcloud/base/environment").unlink()
    for _ in range(3):
        start(node)
        assert started.read(provider, REF)["datanode"] == configured(node)


def test_what_a_running_service_was_told_is_noted(node: Node, provider: OneNode) -> None:
    start(node)
    start(node, "nodemanager")
    before = dict(configured(node))
    started.update(provider, REF, "datanode", {"conf/hdfs-site.xml": "new\n", "conf/added.xml": ODD, "conf/dfs.exclude": None})
    before |= {"conf/hdfs-site.xml": "new\n", "conf/added.xml": ODD}
    del before["conf/dfs.exclude"]
    assert started.read(provider, REF) == {"datanode": before, "nodemanager": configured(node, "nodemanager")}
    started.update(provider, REF, "datanode", {"conf/hdfs-site.xml": "newer"})
    assert started.read(provider, REF)["datanode"] == before | {"conf/hdfs-site.xml": "newer"}
    start(node)
    assert started.read(provider, REF)["datanode"] == configured(node)


def test_a_service_that_was_not_started_can_be_told_nothing(provider: OneNode) -> None:
    with pytest.raises(ConfiguringError, match="could not note what datanode was told") as caught:
        started.update(provider, REF, "datanode", {"conf/a": "b"})
    assert "no service datanode was started here" in caught.value.details


def test_an_image_that_cannot_say_it_is_told_as_that() -> None:
    class Old(SimulatedProvider):
        def execute(self, ref: NodeRef, command: Command, **_: object) -> Result:  # noqa: ARG002
            return Result(127, b"exec failed: no such file\n")

    with pytest.raises(ConfiguringError) as caught:
        started.read(Old(World(), "lab"), REF)
    assert "labcloud image build" in caught.value.resolution


def test_an_archive_that_is_cut_off_is_an_error() -> None:
    class Cut(SimulatedProvider):
        def execute(self, ref: NodeRef, command: Command, **_: object) -> Result:  # noqa: ARG002
            content = io.BytesIO()
            with tarfile.open(fileobj=content, mode="w") as archive:
                member = tarfile.TarInfo("datanode/conf/a")
                member.size = 5000
                archive.addfile(member, io.BytesIO(b"x" * 5000))
            return Result(0, content.getvalue()[:2000])

    with pytest.raises(ConfiguringError, match="does not say"):
        started.read(Cut(World(), "lab"), REF)
