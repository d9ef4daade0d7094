"""An engine in memory that keeps the contract: for trying the command line, for crash tests, and for thousands of nodes."""

from labcloud.providers.simulated.faults import Call, Faults, Killed
from labcloud.providers.simulated.provider import SimulatedProvider
from labcloud.providers.simulated.world import World

__all__ = ["Call", "Faults", "Killed", "SimulatedProvider", "World"]
