"""A host with N servers is emptied: by labcloud, and by what OpenStack's users have for that.

Needs a cloud whose hosts only seem to move servers, an administrator's entry of its clouds.yaml in ``OS_CLOUD``, and Nova's own ``nova``
command: the test cloud is one (docs/openstack-testing.md). Servers are made on one host, all by one request; then

    labcloud       ``labcloud drain HOST``, as a user runs it
    nova           ``nova host-evacuate-live HOST``, which asks for all moves and waits for none; then it is waited for as a script does
    watcher        OpenStack Watcher's host maintenance (watcher.py), where the cloud has it

    python benchmarks/migrate.py --servers 100 --api-log …/nova-api.log

The project's quotas of servers and ports are lifted for it. Seconds are until no server is on the host any more and all are ACTIVE;
requests are those that Nova's interface has answered, by its log, the looks of this script and what Neutron sends for each move among them;
disturbed are servers that were not ACTIVE on another host at the end, or that moved more than once.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import openstack
import watcher

_NAME: Final = "labcloud-bench"
_LIMIT: Final = 3600.0
_SILENCE: Final = 180.0
"""Seconds without any change, after which nobody waits for Nova any more: its own command has asked for all at once, and forgets."""


class Bench:
    """Servers on ``host``, which belong to the administrator's project."""

    def __init__(self, host: str, parallel: int) -> None:
        self.host = host
        self.parallel = parallel
        self.api = openstack.connect()
        self.api.set_compute_quotas(self.api.current_project_id, instances=-1, cores=-1, ram=-1)
        self.api.set_network_quotas(self.api.current_project_id, ports=-1)
        kind = {"disk_format": "raw", "container_format": "bare"}
        self.image = self.api.create_image(_NAME, data=b"no guest reads this", wait=True, **kind)

    def close(self) -> None:
        self.api.image.delete_image(self.image)
        self.api.close()

    @contextmanager
    def servers(self, count: int) -> Iterator[list[str]]:
        """The ids of so many servers on the host, all of one server group, whose wish can't be fulfilled for all."""
        compute, network = self.api.compute, self.api.network.create_network(name=_NAME)
        self.api.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.60.0.0/22")
        (service,) = compute.services(binary="nova-compute", host=self.host)
        compute.create_server(
            name=_NAME, image_id=self.image.id, flavor_id=compute.find_flavor("m1.tiny").id, networks=[{"uuid": network.id}],
            availability_zone=f"{service.availability_zone}:{self.host}", min_count=count, max_count=count,
        )  # fmt: skip
        try:
            self._until(lambda: sum(each.status == "ACTIVE" for each in self._all()) == count)
            yield [each.id for each in self._all()]
        finally:
            for each in self._all():
                compute.delete_server(each)
            self._until(lambda: not self._all())
            for service in compute.services(binary="nova-compute"):
                if service.status == "disabled":
                    compute.enable_service(service)
            self.api.network.delete_network(network)

    # The methods: each returns when the host is empty

    def labcloud(self) -> None:
        with tempfile.TemporaryDirectory(prefix="labcloud-bench-") as home:
            drain = [sys.executable, "-m", "labcloud.cli.main", "drain", self.host, "--parallel", str(self.parallel), "--output", "json"]
            subprocess.run(drain, check=True, capture_output=True, env={**os.environ, "LABCLOUD_HOME": home})

    def nova(self) -> None:
        given = self.api.config.get_auth_args()
        names = {"auth_url": "OS_AUTH_URL", "username": "OS_USERNAME", "password": "OS_PASSWORD", "project_name": "OS_PROJECT_NAME"}
        who = {variable: str(given[name]) for name, variable in names.items()}
        domains = {"OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_DOMAIN_NAME": "Default"}
        without = {name: value for name, value in os.environ.items() if name != "OS_CLOUD"}
        subprocess.run(["nova", "host-evacuate-live", self.host], check=True, capture_output=True, env={**without, **who, **domains})
        seen, since = "", time.monotonic()
        while (now := self._on_its_way()) and time.monotonic() - since < _SILENCE:
            if now != seen:
                seen, since = now, time.monotonic()
            time.sleep(1)

    def _on_its_way(self) -> str:
        """What is on the host still, or on its way, and how it is; nothing if all have gone."""
        left = [each for each in self._all() if each.compute_host == self.host or each.task_state]
        return " ".join(f"{each.id}:{each.status}" for each in left)

    def watcher(self) -> None:
        done = watcher.drain(self.api, self.host, len(self._all()))
        print(f"  watcher: planned for {done.planning:.1f} s, empty after {done.empty or 0:.1f} s, {dict(done.actions)}", file=sys.stderr)

    def _all(self) -> list[Any]:
        return list(self.api.compute.servers(name=_NAME))

    def disturbed(self, ids: list[str]) -> int:
        moves = Counter(each.server_id for each in self.api.compute.migrations())
        well = {each.id for each in self._all() if each.status == "ACTIVE" and each.compute_host != self.host}
        return sum(id not in well or moves[id] != 1 for id in ids)

    @staticmethod
    def _until(done: Any) -> None:
        end = time.monotonic() + _LIMIT
        while not done():
            if time.monotonic() > end:
                raise TimeoutError(f"not within {_LIMIT:g} s")
            time.sleep(1)


def answered(log: Path) -> int:
    return log.read_text(errors="replace").count('HTTP/1.1" status')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=int, nargs="+", default=[100])
    parser.add_argument("--host", default="simulated1")
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--methods", nargs="+", default=["nova", "labcloud"], choices=["nova", "labcloud", "watcher"])
    parser.add_argument("--api-log", type=Path, required=True)
    words = parser.parse_args()
    print("| servers | how | seconds | requests to Nova | disturbed |\n|---|---|---|---|---|")
    bench = Bench(words.host, words.parallel)
    try:
        for count in words.servers:
            for method in words.methods:
                with bench.servers(count) as ids:
                    before, began = answered(words.api_log), time.monotonic()
                    getattr(bench, method)()
                    took, asked = time.monotonic() - began, answered(words.api_log) - before
                    print(f"| {count} | {method} | {took:.1f} | {asked} | {bench.disturbed(ids)} |", flush=True)
    finally:
        bench.close()


if __name__ == "__main__":
    sys.exit(main())
