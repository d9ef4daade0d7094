"""What a lab is made of: names, sizes, clusters, nodes. Pure: no I/O, and no knowledge of engines, files or screens."""

from labcloud.model.cluster import MAX_NODES, Cluster, NodeGroup, NodeSpec, Wanted
from labcloud.model.found import Found, FoundNode, Status, config_digests
from labcloud.model.names import ClusterRef, NodeRef, cluster_name, tenant_name
from labcloud.model.sizes import format_bytes, format_memory, parse_memory
from labcloud.model.tenant import FIRST_USER_ID, Tenant

__all__ = [
    "FIRST_USER_ID",
    "MAX_NODES",
    "Cluster",
    "ClusterRef",
    "Found",
    "FoundNode",
    "NodeGroup",
    "NodeRef",
    "NodeSpec",
    "Status",
    "Tenant",
    "Wanted",
    "cluster_name",
    "config_digests",
    "format_bytes",
    "format_memory",
    "parse_memory",
    "tenant_name",
]
