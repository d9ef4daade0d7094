"""Commands, jobs and logs on a cluster's nodes."""

from __future__ import annotations

import io
import signal
import threading
from pathlib import Path

import pytest

from labcloud.apply.work import Work, person
from labcloud.errors import NotFoundError, UsageError
from labcloud.model import Member, Tenant
from labcloud.profiles import load
from labcloud.providers.base import Command, Result
from labcloud.providers.simulated import Faults, SimulatedProvider
from tests.unit.apply.conftest import REF, TERMS, Shop, asked


def work(shop: Shop, provider: SimulatedProvider | None = None) -> Work:
    wanted = shop.lab.cluster(REF)
    assert wanted is not None
    return Work(provider or shop.provider(), wanted, load(wanted.profile))


@pytest.fixture(autouse=True)
def cluster(shop: Shop) -> None:
    shop.clusters().create(asked(), TERMS)


def names(shop: Shop, *, node: str | None = None, group: str | None = None, every: bool = False) -> list[str]:
    return [ref.name for ref in work(shop).nodes(node=node, group=group, every=every)]


def test_nodes_are_the_first_one_a_groups_or_all(shop: Shop) -> None:
    assert names(shop) == ["master-0"]
    assert names(shop, node="worker-1") == ["worker-1"]
    assert names(shop, group="worker") == ["worker-0", "worker-1"]
    assert names(shop, every=True) == ["master-0", "worker-0", "worker-1"]


def test_an_unknown_group_is_told_with_the_nodes_that_there_are(shop: Shop) -> None:
    with pytest.raises(NotFoundError, match="acme/c has no gateway") as caught:
        names(shop, group="gateway")
    assert caught.value.resolution == "its nodes are master-0, worker-0, worker-1"


def test_lines_of_several_nodes_stay_whole(shop: Shop) -> None:
    engine, out = shop.provider(), io.BytesIO()
    engine.answer(("talk",), Result(0, b"one\ntwo\nno end"))
    does = work(shop, engine)
    codes = does.run(dict.fromkeys(does.nodes(group="worker"), Command(("talk",))), out, io.BytesIO())
    assert [(ref.name, code) for ref, code in codes.items()] == [("worker-0", 0), ("worker-1", 0)]
    assert sorted(out.getvalue().decode().splitlines()) == [
        f"worker-{index}: {said}" for index in (0, 1) for said in ("no end", "one", "two")
    ]


@pytest.mark.timeout(60)
def test_ctrl_c_leaves_commands_that_never_end_on_several_nodes(shop: Shop) -> None:
    never, running = threading.Event(), threading.Barrier(3, timeout=30)

    def hang(name: str) -> None:
        if name == "execute":
            running.wait()
            never.wait()

    def press_ctrl_c() -> None:
        running.wait()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    does = work(shop, shop.provider(faults=Faults(pause=hang)))
    threading.Thread(target=press_ctrl_c).start()
    refs = does.nodes(group="worker")
    try:
        with pytest.raises(KeyboardInterrupt):
            does.run(dict.fromkeys(refs, Command(("tail", "-F", "log"))), io.BytesIO(), io.BytesIO())
    finally:
        never.set()


def test_a_jar_of_this_machine_is_taken_there_run_and_removed(shop: Shop, tmp_path: Path) -> None:
    jar = tmp_path / "my.jar"
    jar.write_bytes(b"PK")
    master = work(shop).nodes()[0]
    shop.provider().execute(master, Command(("mkdir", "-p", "/home/acme")))
    faults = Faults()
    engine = shop.provider(faults=faults)
    engine.answer(("yarn", "jar"), Result(3, b"ran\n"))
    out = io.BytesIO()
    assert work(shop, engine).submit(str(jar), ["a", "b"], out, io.BytesIO()) == 3
    assert out.getvalue() == b"ran\n"
    assert [call.name for call in faults.calls if call.name != "find"] == ["put_file", "execute", "execute"]


def test_a_jar_that_is_nowhere_is_told(shop: Shop) -> None:
    with pytest.raises(NotFoundError, match=r"there is no file gone\.jar"):
        work(shop).submit("gone.jar", [], io.BytesIO(), io.BytesIO())


def test_logs_are_those_of_the_services_that_a_node_has(shop: Shop) -> None:
    does = work(shop)
    commands = does.logs(does.nodes(every=True), "datanode", lines=5, follow=False)
    files = ("/var/log/hadoop/datanode.log", "/var/log/hadoop/datanode.out")
    assert {ref.name: command.argv for ref, command in commands.items()} == {
        f"worker-{index}": ("tail", "-n", "5", *files) for index in (0, 1)
    }
    followed = does.logs(does.nodes(every=True), "datanode", lines=5, follow=True)
    assert [(command.argv[3:], bool(command.stdin)) for command in followed.values()] == [(("sh", "-n", "5", *files), True)] * 2
    with pytest.raises(UsageError, match="has no service 'hbase'"):
        does.logs(does.nodes(), "hbase", lines=5, follow=False)


def test_a_members_jar_is_the_members(shop: Shop, tmp_path: Path) -> None:
    jar = tmp_path / "my.jar"
    jar.write_bytes(b"PK")
    wanted = shop.lab.cluster(REF)
    assert wanted is not None
    master = work(shop).nodes()[0]
    shop.provider().execute(master, Command(("mkdir", "-p", "/home/alice")))
    engine = shop.provider()
    owners = []

    def run(ref: object, command: Command, **_: object) -> Result:
        if command.argv[0] == "yarn":
            stat = shop.provider().execute(master, Command(("stat", "-c", "%u %a", command.argv[2])))
            owners.append((command.user, stat.stdout))
        return Result(0)

    engine.execute = run  # type: ignore[method-assign,assignment]
    tenant = Tenant("acme", 20000, members=(Member("alice", 20001),))
    assert Work(engine, wanted, load(wanted.profile), *person(tenant, "alice")).submit(str(jar), [], io.BytesIO(), io.BytesIO()) == 0
    assert owners == [("alice", b"20001 600\n")]


def test_people_of_a_tenant_are_its_members_and_its_own_user() -> None:
    tenant = Tenant("acme", 20000, members=(Member("alice", 20001),))
    assert [person(tenant, name) for name in ("acme", "alice")] == [("acme", 20000), ("alice", 20001)]
    with pytest.raises(NotFoundError, match="acme has no member 'bob'") as caught:
        person(tenant, "bob")
    assert caught.value.resolution == "its members: alice; take one in: labcloud tenant set acme --member NAME=@KEY.pub"
