"""Which settings the daemons of a running cluster say that they take up as they run."""

from __future__ import annotations

from labcloud.profiles import Profile
from labcloud.services.reconfiguration import properties
from tests.acceptance.driver import Cluster


def reconfigurable(cluster: Cluster, profile: Profile, service: str, node: str) -> frozenset[str] | None:
    """What the ``service`` on ``node`` lists; None where the version cannot say."""
    address = f"{node}:{profile.services[service].ports['rpc']}"
    asked = cluster.exec("hdfs", "dfsadmin", "-reconfig", service, address, "properties", node=node, user="hdfs", expect=None)
    return properties(asked.text)


def written_down(profile: Profile, service: str) -> frozenset[str]:
    """What the profile says that the ``service`` takes up."""
    from labcloud.profiles.knowledge import knowledge

    told = (each for each in knowledge(profile).refreshes.values() if each.service == service and each.reconfigures)
    return frozenset(name.partition(":")[2] for each in told for name in each.settings)
