"""How long Watcher's host maintenance takes until a host is empty, and what it asks of Nova meanwhile.

    OS_CLOUD=admin python benchmarks/watcher.py [--servers 20 100] [--host simulated1] [--log .../logs/nova-api.log]

Makes servers of m1.tiny on that host, has Watcher plan and do the maintenance (goal ``cluster_maintaining``, strategy
``host_maintenance``), enables the host again and removes the servers; the project's quotas of servers and ports are lifted. Nobody looks
into a server: simulated computes, which move them at once, are enough (docs/openstack-testing.md; ``LABCLOUD_TEST_CLOUD_WATCHER=yes``).
All states are looked at once a second. With ``--log`` the requests that Nova's API has served meanwhile are counted: Watcher's and those
that Neutron sends for each move, not this command's.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openstack

NAME = "labcloud-watcher"
FLAVOR = "m1.tiny"
LIMIT = 1800.0
_ENDED = {"SUCCEEDED", "FAILED", "CANCELLED", "SUPERSEDED"}
_REQUEST = re.compile(r'osapi_compute\.wsgi\.server \[(?P<context>[^]]*)\] \S+ "(?P<what>\S+ \S+)')


class Watcher:
    """Its API, as far as a maintenance needs it."""

    def __init__(self, api: Any) -> None:
        self._api = api

    def known(self, host: str) -> int:
        """Servers on ``host`` that Watcher has heard of."""
        rows = self._ask("GET", "/data_model/?data_model_type=compute")["context"]
        return sum(row["node_hostname"] == host and bool(row.get("server_uuid")) for row in rows)

    def audit(self, host: str) -> str:
        wanted = {"audit_type": "ONESHOT", "goal": "cluster_maintaining", "strategy": "host_maintenance"}
        return str(self._ask("POST", "/audits", wanted | {"parameters": {"maintenance_node": host}})["uuid"])

    def plan_of(self, audit: str) -> str:
        """The plan once there is one, or nothing."""
        if (state := self._ask("GET", f"/audits/{audit}")["state"]) in _ENDED - {"SUCCEEDED"}:
            raise RuntimeError(f"the audit is {state}")
        plans = self._ask("GET", f"/action_plans?audit_uuid={audit}")["action_plans"]
        return str(plans[0]["uuid"]) if plans and state == "SUCCEEDED" else ""

    def start(self, plan: str) -> None:
        self._ask("POST", f"/action_plans/{plan}/start")

    def state_of(self, plan: str) -> str:
        return str(self._ask("GET", f"/action_plans/{plan}")["state"])

    def actions_of(self, plan: str) -> Counter[str]:
        """How many there are of each kind and state."""
        actions = self._ask("GET", f"/actions/detail?action_plan_uuid={plan}")["actions"]
        return Counter(f"{each['action_type']} {each['state'].lower()}" for each in actions)

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        where = {"service_type": "infra-optim", "interface": "public"}
        more = {} if body is None else {"json": body}
        headers = {"OpenStack-API-Version": "infra-optim 1.3", "Accept": "application/json"}
        return self._api.session.request(f"/v1{path}", method, endpoint_filter=where, headers=headers, **more).json()


@dataclass
class Drained:
    """Seconds and counts of one maintenance. ``empty`` is counted from the audit's creation, and nothing if the host never was."""

    planning: float = 0.0
    doing: float = 0.0
    empty: float | None = None
    state: str = ""
    actions: Counter[str] = field(default_factory=Counter)


def drain(api: Any, host: str) -> Drained:
    watcher, done = Watcher(api), Drained()
    began = time.monotonic()
    audit = watcher.audit(host)
    plan = str(_until(lambda: watcher.plan_of(audit)))
    done.planning = time.monotonic() - began
    watcher.start(plan)

    def ended() -> bool:
        if done.empty is None and not list(api.compute.servers(all_projects=True, compute_host=host, limit=1, paginated=False)):
            done.empty = time.monotonic() - began
        done.state = watcher.state_of(plan)
        return done.state in _ENDED

    _until(ended)
    done.doing = time.monotonic() - began - done.planning
    ended()
    done.actions = watcher.actions_of(plan)
    return done


def _until(done: Callable[[], Any]) -> Any:
    end = time.monotonic() + LIMIT
    while not (found := done()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {LIMIT:g} s")
        time.sleep(1)
    return found


class Requests:
    """What Nova's API has served, by its log: of everybody but the user who measures."""

    def __init__(self, log: Path | None, own: str) -> None:
        self._log = log
        self._own = own
        self._from = log.stat().st_size if log else 0

    def served(self) -> str:
        if not self._log:
            return ""
        with self._log.open("rb") as log:
            log.seek(self._from)
            found = [each for each in map(_REQUEST.search, log.read().decode(errors="replace").splitlines()) if each]
        others = [each["what"] for each in found if self._own not in each["context"].split()]
        events = sum("/os-server-external-events" in what for what in others)
        return f"{len(others) - events} + {events} of Neutron"


@contextmanager
def servers(api: Any, count: int, host: str) -> Iterator[list[str]]:
    """Ids of so many new ones on ``host``."""
    zone = next(each.availability_zone for each in api.compute.services(binary="nova-compute", host=host))
    image = api.create_image(NAME, data=b"no guest reads this", wait=True, disk_format="raw", container_format="bare")
    network = api.network.create_network(name=NAME)
    try:
        api.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.60.0.0/22")
        api.compute.create_server(
            name=NAME, image_id=image.id, flavor_id=api.compute.find_flavor(FLAVOR).id, networks=[{"uuid": network.id}],
            availability_zone=f"{zone}:{host}", min_count=count, max_count=count,
        )  # fmt: skip
        _until(lambda: sum(each.status == "ACTIVE" for each in api.compute.servers(name=NAME)) == count)
        yield [each.id for each in api.compute.servers(name=NAME)]
    finally:
        for each in api.compute.servers(name=NAME):
            api.compute.delete_server(each)
        _until(lambda: not list(api.compute.servers(name=NAME)))
        api.network.delete_network(network)
        api.image.delete_image(image)


def measure(api: Any, count: int, host: str, log: Path | None) -> str:
    with servers(api, count, host) as ids:
        _until(lambda: Watcher(api).known(host) == count)
        requests = Requests(log, api.current_user_id)
        try:
            done = drain(api, host)
            served = requests.served()
        finally:
            for each in api.compute.services(binary="nova-compute", host=host):
                api.compute.enable_service(each)
        moved = sum(api.compute.get_server(id).compute_host != host for id in ids)
        moves = Counter(each.status for each in api.compute.migrations() if each.server_id in ids)
    empty = "never" if done.empty is None else f"{done.empty:.1f} s"
    times = [empty, f"{done.planning:.1f} s", f"{done.doing:.1f} s, {done.state.lower()}"]
    cells = [count, *times, _said(done.actions), moved, _said(moves), served]
    return f"| {' | '.join(map(str, cells))} |"


def _said(counted: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counted.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--host", default="simulated1")
    parser.add_argument("--log", type=Path)
    words = parser.parse_args()
    print("| servers | until empty | planning | doing | actions | servers moved | moves | requests to Nova |", f"|{'---|' * 8}", sep="\n")
    with openstack.connect() as api:
        api.set_compute_quotas(api.current_project_id, instances=-1, cores=-1, ram=-1)
        api.set_network_quotas(api.current_project_id, ports=-1)
        for count in words.servers:
            print(measure(api, count, words.host, words.log), flush=True)


if __name__ == "__main__":
    sys.exit(main())
