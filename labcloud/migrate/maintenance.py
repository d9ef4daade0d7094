"""HDFS's maintenance of a node: it is away for a while, and its blocks are nobody's to copy.

Before it goes, HDFS sees to it that each of its blocks has a copy elsewhere (``dfs.namenode.maintenance.replication.min``), so that readers
find one; and gives it no new ones. Since Hadoop 2.9: HDFS-7877, in the list of hosts that is JSON. A time after which HDFS no longer waits
stands there, so nothing is for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from labcloud.apply.decommission import read_lists
from labcloud.model import Cluster, NodeRef
from labcloud.plan.planner import UNREAD
from labcloud.profiles import Profile, host_name
from labcloud.profiles.formats import back_in_service, in_maintenance
from labcloud.providers.base import Provider

_NAMENODE: Final = "namenode"


class Maintenance:
    """Of the nodes of one cluster, whose lock is held: what stands in its configuration is changed, and the NameNode told."""

    def __init__(self, provider: Provider, cluster: Cluster, profile: Profile) -> None:
        self._provider = provider
        self._cluster = cluster
        self._profile = profile

    @property
    def known(self) -> bool:
        """Whether this version of HDFS knows of it."""
        return bool(self._file)

    def begin(self, node: NodeRef, seconds: float) -> None:
        """HDFS readies ``node`` for an absence of so many seconds at most."""
        until = time.time() + seconds
        self._change(lambda hosts: in_maintenance(hosts, self._host(node), until))

    def end(self, node: NodeRef) -> None:
        """HDFS counts on ``node`` again."""
        self._change(lambda hosts: back_in_service(hosts, self._host(node)))

    @property
    def _file(self) -> str:
        return next((each for each in self._profile.exclude_files if each.endswith(".json")), "")

    def _host(self, node: NodeRef) -> str:
        return host_name(node, self._provider.domain(node.cluster.tenant))

    def _change(self, change: Callable[[str], str]) -> None:
        """A run that is killed before the NameNode has been told leaves a mark beside the list, by which the next one sees it."""
        ref, master = self._cluster.ref, NodeRef(self._cluster.ref, self._profile.services[_NAMENODE].group, 0)
        tree = self._provider.config(ref)
        path = f"{master.name}/conf/{self._file}"
        told = {**tree, path: change(tree[path])}
        told.pop(path + UNREAD, None)
        if told == tree:
            return
        self._provider.ensure_config(ref, {**told, path + UNREAD: ""})
        read_lists(self._provider, master, _NAMENODE)
        self._provider.ensure_config(ref, told)
