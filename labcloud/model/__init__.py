"""What a lab is made of: names, sizes, clusters, nodes. Pure: no I/O, and no knowledge of engines, files or screens."""

from labcloud.model.cluster import MAX_NODES, AtEnd, Cluster, Lease, NodeGroup, NodeSpec, Wanted
from labcloud.model.configuration import (
    NO_CONFIGURATION,
    NOTHING_SHARED,
    Binding,
    Configuration,
    Layer,
    Level,
    NodeFile,
    NodeFolder,
    NodeOverride,
    Shared,
)
from labcloud.model.durations import format_duration, parse_duration
from labcloud.model.found import Found, FoundNode, Status, config_digests
from labcloud.model.names import ClusterRef, NodeRef, cluster_name, tenant_name
from labcloud.model.people import member_name, private_subnet, public_key, public_keys
from labcloud.model.quota import (
    Amounts,
    Resource,
    committed_memory,
    demand,
    format_amount,
    parse_amount,
    parse_limit,
    parse_resource,
    total,
)
from labcloud.model.sizes import format_bytes, format_memory, parse_gigabytes, parse_memory
from labcloud.model.storage import DEFAULT_VOLUME_SIZE, NodeVolume, StorageClass, Volume
from labcloud.model.tenant import FIRST_USER_ID, Member, Tenant

__all__ = [
    "DEFAULT_VOLUME_SIZE",
    "FIRST_USER_ID",
    "MAX_NODES",
    "NOTHING_SHARED",
    "NO_CONFIGURATION",
    "Amounts",
    "AtEnd",
    "Binding",
    "Cluster",
    "ClusterRef",
    "Configuration",
    "Found",
    "FoundNode",
    "Layer",
    "Lease",
    "Level",
    "Member",
    "NodeFile",
    "NodeFolder",
    "NodeGroup",
    "NodeOverride",
    "NodeRef",
    "NodeSpec",
    "NodeVolume",
    "Resource",
    "Shared",
    "Status",
    "StorageClass",
    "Tenant",
    "Volume",
    "Wanted",
    "cluster_name",
    "committed_memory",
    "config_digests",
    "demand",
    "format_amount",
    "format_bytes",
    "format_duration",
    "format_memory",
    "member_name",
    "parse_amount",
    "parse_duration",
    "parse_gigabytes",
    "parse_limit",
    "parse_memory",
    "parse_resource",
    "private_subnet",
    "public_key",
    "public_keys",
    "tenant_name",
    "total",
]
