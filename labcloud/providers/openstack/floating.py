"""Addresses of the external network for nodes, where the lab wants them: by these nodes are reached from outside, by ssh alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from labcloud.errors import NotFoundError
from labcloud.model import NodeRef
from labcloud.providers.openstack.connection import Cloud
from labcloud.providers.openstack.identity import Machine, described, node_described, tenant_of
from labcloud.providers.openstack.together import at_once


class FloatingAddresses:
    """Those of one lab."""

    def __init__(self, cloud: Cloud, lab: str) -> None:
        self._cloud = cloud
        self._lab = lab

    def ensure(self, machines: Sequence[Machine], network: str, external: str) -> list[Machine]:
        """``machines``, each with its address of the network ``external``; ``network`` is the one that they are in."""
        if all(each.floating for each in machines):
            return list(machines)
        there: Mapping[str, Any] = {each.description: each for each in self._listed()}
        ports = self._cloud.read(
            "ask for the nodes' ports", lambda api: {each.device_id: each.id for each in api.network.ports(network_id=network)}
        )

        def one(machine: Machine) -> Machine:
            if machine.floating:
                return machine
            if machine.id not in ports:
                raise NotFoundError(f"the node {machine.ref} has no port in its tenant's network", resolution="run the same command again")
            return replace(machine, floating=self._give(machine, ports[machine.id], external, there))

        return at_once(partial(one, each) for each in machines)

    def _give(self, machine: Machine, port: str, external: str, there: Mapping[str, Any]) -> str:
        description = node_described(self._lab, machine.ref)
        found = there.get(description)
        with self._cloud.change(f"give {machine.ref} an address") as api:
            if found is None:
                found = api.network.create_ip(floating_network_id=external, port_id=port, description=description)
            elif found.port_id != port:
                found = api.network.update_ip(found, port_id=port)
        return str(found.floating_ip_address)

    def delete(self, refs: Collection[NodeRef]) -> None:
        """Give back the addresses of nodes; servers that are deleted leave them behind."""
        self._delete({node_described(self._lab, ref) for ref in refs})

    def delete_all(self, tenant: str) -> None:
        self._delete({each.description for each in self._listed() if tenant_of(self._lab, each.description) == tenant})

    def _delete(self, descriptions: Collection[str]) -> None:
        for each in self._listed() if descriptions else ():
            if each.description in descriptions:
                with self._cloud.change("give back an address") as api:
                    api.network.delete_ip(each, ignore_missing=True)

    def _listed(self) -> list[Any]:
        mine = described(self._lab, "")
        found = self._cloud.read("ask which addresses there are", lambda api: list(api.network.ips(project_id=api.current_project_id)))
        return [each for each in found if str(each.description or "").startswith(mine)]
