"""Neutron's part of the simulated compute hosts: a port on one of them is bound at once, since no agent there would ever do it."""

from __future__ import annotations

from typing import Any

from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api


class SimulatedHostMechanismDriver(api.MechanismDriver):  # type: ignore[misc]
    def initialize(self) -> None:
        """Nothing: a port's host says all."""

    @property
    def connectivity(self) -> str:
        return str(portbindings.CONNECTIVITY_L2)

    def bind_port(self, context: Any) -> None:
        if (context.host or "").startswith("simulated") and context.segments_to_bind:
            segment = context.segments_to_bind[0][api.ID]
            context.set_binding(
                segment, portbindings.VIF_TYPE_BRIDGE, {portbindings.CAP_PORT_FILTER: True}, status=constants.PORT_STATUS_ACTIVE
            )

    def filter_hosts_with_segment_access(self, _context: Any, _segments: Any, candidate_hosts: Any, _agent_getter: Any) -> set[str]:
        return {host for host in candidate_hosts if host.startswith("simulated")}
