"""Nodes of Nova's simulated computes: real servers, ports and volumes, and nobody inside who could be configured."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from labcloud.ansible.content import Content
from labcloud.model import NodeRef
from labcloud.providers.openstack.identity import Machine
from labcloud.providers.openstack.nodes import Nodes
from labcloud.providers.openstack.shares import View, server_of

Disks = Mapping[NodeRef, Mapping[int, str]]


class WithoutGuests(Nodes):
    """Servers that only seem to run take no configuration: what they would be told is kept."""

    def __init__(self, home: Path) -> None:
        super().__init__(None, lambda _: [], home)  # type: ignore[arg-type] - nobody talks to anybody
        self.made: list[NodeRef] = []
        self.disks: dict[NodeRef, Mapping[int, str]] = {}
        self.pushed: dict[str, Content] = {}

    def make(
        self, new: Collection[Machine], all_: Sequence[Machine], domain: str, disks: Disks, idle: Collection[NodeRef] = (),
        view: View | None = None,
    ) -> None:  # fmt: skip
        del domain, idle  # nobody is told
        self.made += [each.ref for each in new]
        self.disks.update(disks)
        self._noted.mkdir(parents=True, exist_ok=True)
        for each in new:
            (self._noted / each.id).touch()
        if view:
            self._fill(all_, view)

    def _fill(self, machines: Sequence[Machine], view: View) -> None:
        """Note what the serving node would have got."""
        if server := server_of(machines):
            (self._noted / f"{server.id}.datasets").write_text(json.dumps(dict(view.tags)))

    def push(self, contents: Iterable[tuple[Machine, Content]]) -> None:
        self.pushed = {machine.ref.name: content for machine, content in contents}

    def stop_services(self, machine: Machine, timeout: float) -> None:
        """There are none."""
