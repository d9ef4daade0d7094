"""Moments in which services stand still: the real script, real signals; services are processes of this machine."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from labcloud.errors import ConfiguringError, EngineError
from labcloud.model import ClusterRef, NodeRef
from labcloud.protect import still
from labcloud.protect.still import standing_still
from labcloud.providers.base import Command, Result, Sink
from labcloud.providers.simulated import SimulatedProvider, World

REF = ClusterRef("acme", "c")
MASTER, WORKER = NodeRef(REF, "master", 0), NodeRef(REF, "worker", 0)
SVSTAT = '#!/bin/sh\ncat "{root}/${{3##*/}}" 2>/dev/null || echo -1\n'


def state(process: subprocess.Popen[bytes]) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2][0]


def wait(what: Callable[[], bool], seconds: float) -> float:
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.01)
    return time.monotonic() - began


class Machine(SimulatedProvider):
    """Runs commands on this machine; ``s6-svstat`` knows the services that a test starts."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, "lab", world=World())
        self.root, self.services, self.holders = root, {}, []  # type: ignore[var-annotated]
        (root / "bin").mkdir()
        (root / "bin/s6-svstat").write_text(SVSTAT.format(root=root))
        (root / "bin/s6-svstat").chmod(0o755)

    def start(self, name: str) -> subprocess.Popen[bytes]:
        self.services[name] = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (self.root / name).write_text(f"{self.services[name].pid}\n")
        return self.services[name]

    def execute(self, ref: NodeRef, command: Command, *, stdout: Sink | None = None, stderr: Sink | None = None) -> Result:  # noqa: ARG002
        pipe, path = subprocess.PIPE, f"{self.root}/bin:/usr/bin:/bin"
        assert stdout
        assert not isinstance(command.stdin, bytes)
        with subprocess.Popen(command.argv, stdin=pipe, stdout=pipe, stderr=pipe, env={"PATH": path}) as process:
            assert process.stdin
            assert process.stdout
            assert process.stderr
            self.holders.append(process)
            if line := process.stdout.readline():
                stdout.write(line)
                with suppress(BrokenPipeError):
                    process.stdin.write(command.stdin.read())
                    process.stdin.flush()
            with suppress(BrokenPipeError):
                process.stdin.close()
            stdout.write(process.stdout.read())
            said = process.stderr.read()
        return Result(process.returncode, stderr=said)


def _silent(machine: Machine, ref: NodeRef, command: Command, **streams: object) -> Result:
    """A node that says nothing until it is let go."""
    assert not isinstance(command.stdin, bytes)
    command.stdin.read()
    return Result(0)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    for name in ("namenode", "datanode"):
        made.start(name)
    try:
        yield made
    finally:
        for process in made.services.values():
            process.kill()
            process.wait()


BOTH = {MASTER: ["namenode"], WORKER: ["datanode"]}


def test_within_the_block_all_stand_and_go_on_after_it(machine: Machine) -> None:
    with standing_still(machine, BOTH) as moment:
        assert [state(each) for each in machine.services.values()] == ["T", "T"]
    assert (moment.held, moment.why) == (True, "")
    assert 0 < moment.seconds < 10
    assert all(state(each) != "T" for each in machine.services.values())


def test_nobody_to_hold_is_a_moment_as_well(machine: Machine) -> None:
    with standing_still(machine, {MASTER: []}) as moment:
        assert machine.holders == []
    assert moment.held


def test_they_go_on_when_what_was_done_meanwhile_fails(machine: Machine) -> None:
    with pytest.raises(ZeroDivisionError), standing_still(machine, BOTH):
        raise ZeroDivisionError
    assert all(state(each) != "T" for each in machine.services.values())


def test_after_the_limit_a_node_goes_on_by_itself(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(still, "LIMIT", 1)
    with standing_still(machine, BOTH) as moment:
        wait(lambda: all(state(each) != "T" for each in machine.services.values()), 20)
    assert "master-0: it went on by itself after" in moment.why
    assert "worker-0: it went on by itself after" in moment.why


def test_somebody_else_who_lets_one_go_on_is_noticed(machine: Machine) -> None:
    with standing_still(machine, BOTH) as moment:
        machine.services["namenode"].send_signal(signal.SIGCONT)
    assert moment.why == "master-0: somebody else let it go on, or ended it"


def test_a_service_that_ends_meanwhile_is_noticed(machine: Machine) -> None:
    """Whatever starts it anew, a new NameNode answers clients."""
    with standing_still(machine, BOTH) as moment:
        machine.services["namenode"].kill()
        machine.services["namenode"].wait()
    assert moment.why == "master-0: somebody else let it go on, or ended it"
    assert state(machine.services["datanode"]) != "T"


def test_a_service_that_is_down_must_stay_down(machine: Machine) -> None:
    with standing_still(machine, {MASTER: ["namenode", "resourcemanager"]}) as moment:
        pass
    assert moment.held
    with standing_still(machine, {MASTER: ["namenode", "resourcemanager"]}) as moment:
        machine.start("resourcemanager")
    assert moment.why == "master-0: a service that was down was started meanwhile"


def test_should_the_holder_be_killed_another_process_lets_them_go_on(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(still, "LIMIT", 3)
    with standing_still(machine, {MASTER: ["namenode"]}) as moment:
        machine.holders[0].kill()
        assert state(machine.services["namenode"]) == "T"
        assert wait(lambda: state(machine.services["namenode"]) != "T", 30) > 1
    assert moment.why == "master-0: its hold ended"


def test_without_a_process_that_holds_them_they_go_on_at_once(machine: Machine) -> None:
    """As after a SIGKILL: its end of the connection is closed."""
    argv = ("bash", "-c", still._SCRIPT, "still", "30", "namenode")
    environment = {"PATH": f"{machine.root}/bin:/usr/bin:/bin"}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as holder:
        assert holder.stdin
        assert holder.stdout
        assert holder.stdout.readline() == b"still\n"
        assert state(machine.services["namenode"]) == "T"
        holder.stdin.close()
        assert wait(lambda: state(machine.services["namenode"]) != "T", 20) < 20, "it does not take the limit"
        assert holder.wait() == 7


def test_one_that_cannot_be_held_lets_all_others_go_on(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Machine.execute

    def refuse(self: Machine, ref: NodeRef, command: Command, **streams: Any) -> Result:
        if ref == WORKER:
            wait(lambda: state(self.services["namenode"]) == "T", 20)
            raise EngineError("the engine is tired")
        return real(self, ref, command, **streams)

    monkeypatch.setattr(Machine, "execute", refuse)
    with pytest.raises(ConfiguringError) as caught, standing_still(machine, BOTH):
        pytest.fail("the block is not run")
    assert caught.value.details == "the engine is tired"
    assert all(state(each) != "T" for each in machine.services.values())


def test_a_process_that_is_not_there_could_not_be_stopped(machine: Machine) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    (machine.root / "namenode").write_text(f"{gone.pid}\n")
    with pytest.raises(ConfiguringError) as caught, standing_still(machine, {MASTER: ["namenode"]}):
        pytest.fail("the block is not run")
    assert caught.value.details == "it could not be stopped"


def test_names_are_arguments_and_no_shell_text(machine: Machine) -> None:
    with standing_still(machine, {MASTER: ["namenode", "$(touch oops)"]}) as moment:
        pass
    assert moment.held
    assert not Path("oops").exists()


def test_one_that_does_not_come_to_stand_is_told_in_time(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(still, "_PATIENCE", 0.5)
    monkeypatch.setattr(Machine, "execute", _silent)
    with pytest.raises(ConfiguringError) as caught, standing_still(machine, {MASTER: ["namenode"]}):
        pytest.fail("the block is not run")
    assert caught.value.details == "it took more than 0.5 s"
