"""Commands on nodes, help, and what starting the program costs."""

from __future__ import annotations

import resource
import subprocess
import sys

import click
import pytest

from labcloud.cli.main import cli
from tests.unit.cli.conftest import Labcloud


@pytest.mark.parametrize(
    "argv",
    [
        ("acme/c", "--node", "worker-0", "--", "hostname"),
        ("acme/c", "--node", "worker-0", "hostname"),
        ("--node", "worker-0", "acme/c", "hostname"),
        ("--node", "worker-0", "acme/c", "--", "hostname"),
        ("--node", "worker-0", "--", "acme/c", "hostname"),
        ("--tenant", "acme", "c", "--node=worker-0", "hostname"),
        ("--node", "worker-1", "acme/c", "--node", "worker-0", "--", "hostname"),
    ],
    ids=" ".join,
)
def test_exec_takes_its_options_before_or_behind_the_cluster(labcloud: Labcloud, cluster: str, argv: tuple[str, ...]) -> None:
    done = labcloud("exec", *argv)
    assert (done.code, done.out, done.err) == (0, "worker-0\n", "")


@pytest.mark.parametrize("argv", [("hostname", "-f"), ("--", "hostname", "-f"), ("--node", "master-0", "hostname", "-f")], ids=" ".join)
def test_exec_leaves_the_options_of_the_command_alone(labcloud: Labcloud, cluster: str, argv: tuple[str, ...]) -> None:
    assert labcloud("exec", cluster, *argv).out == "master-0.c.acme.lab\n"


def test_exec_leaves_a_double_dash_of_the_command_alone(labcloud: Labcloud, cluster: str) -> None:
    done = labcloud("exec", cluster, "cat", "--", "/etc/labcloud/cluster/node.env")
    assert "LABCLOUD_TENANT" in done.out


def test_exec_runs_as_the_tenants_user_unless_another_is_named(labcloud: Labcloud, cluster: str) -> None:
    assert labcloud("exec", cluster, "id", "-un").out == "acme\n"
    assert labcloud("exec", cluster, "--user", "hdfs", "--", "id", "-un").out == "hdfs\n"


def test_exec_on_all_nodes_puts_the_nodes_name_before_each_line(labcloud: Labcloud, cluster: str) -> None:
    done = labcloud("exec", cluster, "--all", "--", "hostname")
    assert sorted(done.out.splitlines()) == [f"{name}: {name}" for name in ("master-0", "worker-0", "worker-1")]
    done = labcloud("exec", "--group", "worker", cluster, "hostname")
    assert sorted(done.out.splitlines()) == [f"{name}: {name}" for name in ("worker-0", "worker-1")]


def test_exec_ends_with_the_exit_code_of_the_command(labcloud: Labcloud, cluster: str) -> None:
    assert (labcloud("exec", cluster, "false").code, labcloud("exec", cluster, "--all", "nonsense").code) == (1, 127)


@pytest.mark.parametrize("argv", [("--nod", "worker-0", "x"), ("--bogus", "--", "x"), ("--node",), ("--all",)], ids=" ".join)
def test_exec_refuses_what_it_does_not_know(labcloud: Labcloud, cluster: str, argv: tuple[str, ...]) -> None:
    assert labcloud("exec", cluster, *argv).code == 2


def test_exec_on_a_stopped_cluster_says_how_to_start_it(labcloud: Labcloud, cluster: str) -> None:
    labcloud("stop", cluster)
    done = labcloud("exec", cluster, "true")
    assert (done.code, done.err) == (5, "error: the node acme/c/master-0 does not run\n  try: start it: labcloud start acme/c\n")


def test_submit_names_a_jar_that_is_not_there(labcloud: Labcloud, cluster: str) -> None:
    done = labcloud("submit", cluster, "nothing.jar", "--input", "x")
    assert (done.code, done.err.splitlines()[0]) == (4, "error: there is no file nothing.jar")


def test_logs_refuses_an_unknown_service(labcloud: Labcloud, cluster: str) -> None:
    assert labcloud("logs", cluster, "--service", "hbase").code == 2


def paths(command: click.Command, *path: str) -> list[tuple[str, ...]]:
    """Every command and group, as what one types."""
    found = [path]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            each = command.get_command(context, name)
            assert each is not None
            found += paths(each, *path, name)
    return found


@pytest.mark.parametrize("path", paths(cli), ids=lambda path: " ".join(path) or "labcloud")
def test_every_command_has_help(labcloud: Labcloud, path: tuple[str, ...]) -> None:
    done = labcloud(*path, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: {' '.join(('labcloud', *path))}")
    assert len(done.out.splitlines()) > 3


def test_help_loads_no_library_that_it_does_not_need() -> None:
    program = (
        "import sys; from labcloud.cli.main import run; sys.argv = ['labcloud', '--help']; run(); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "click" in loaded
    assert loaded.isdisjoint({"docker", "pydantic", "jinja2", "yaml", "rich", "requests", "hdfs_native"})


def test_help_takes_a_quarter_of_a_second_at_most() -> None:
    """Of a processor, and it waits for nothing: so the clock says the same as soon as a processor is free."""

    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def once() -> float:
        before = spent()
        subprocess.run([sys.executable, "-m", "labcloud.cli.main", "--help"], stdout=subprocess.DEVNULL, check=True)
        return spent() - before

    assert min(once() for _ in range(5)) <= 0.25
