"""Watcher's host maintenance, as its users ask for it: an audit (goal ``cluster_maintaining``, strategy ``host_maintenance``), its plan.

Measured by migrate.py. The test cloud has Watcher where it is asked for (``LABCLOUD_TEST_CLOUD_WATCHER=yes``, docs/openstack-testing.md).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

LIMIT = 1800.0
_ENDED = {"SUCCEEDED", "FAILED", "CANCELLED", "SUPERSEDED"}


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


def drain(api: Any, host: str, servers: int) -> Drained:
    """Empty ``host``, once Watcher has heard of all ``servers`` there."""
    watcher, done = Watcher(api), Drained()
    _until(lambda: watcher.known(host) == servers)
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
