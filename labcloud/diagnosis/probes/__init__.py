"""Built-in probes: what a checkpoint can ask of a cluster or an operation. Each looks at one thing, and says what it saw by name.

A result's cases say where it was seen. A probe blames only what it saw: what follows from a node that is not there is left to the
probe that asks for nodes.
"""

from labcloud.diagnosis.probes.base import Probe
from labcloud.diagnosis.probes.configuration import PROBES as _CONFIGURATION
from labcloud.diagnosis.probes.engine import PROBES as _ENGINE
from labcloud.diagnosis.probes.hdfs import PROBES as _HDFS
from labcloud.diagnosis.probes.nodes import PROBES as _NODES
from labcloud.diagnosis.probes.operation import PROBES as _OPERATION
from labcloud.diagnosis.probes.services import PROBES as _SERVICES
from labcloud.diagnosis.probes.speed import PROBES as _SPEED
from labcloud.diagnosis.probes.yarn import PROBES as _YARN

_ALL = (*_ENGINE, *_NODES, *_SERVICES, *_CONFIGURATION, *_HDFS, *_YARN, *_SPEED, *_OPERATION)
PROBES: dict[str, Probe] = {each.name: each for each in _ALL}

__all__ = ["PROBES", "Probe"]
