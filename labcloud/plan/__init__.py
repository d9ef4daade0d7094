"""Wanted × found → the steps that lead from one to the other. Pure: no I/O, no engine, no clock."""

from labcloud.plan.planner import Blueprint, converge, members, remembering, remove, stop
from labcloud.plan.steps import (
    AwaitGone,
    Decommission,
    DeleteConfig,
    DeleteNetwork,
    DeleteNode,
    DeleteVolume,
    EnsureNetwork,
    EnsureNode,
    Plan,
    PutConfig,
    RefreshNodes,
    ResizeNode,
    Step,
    StopNode,
    UpdateUsers,
)

__all__ = [
    "AwaitGone",
    "Blueprint",
    "Decommission",
    "DeleteConfig",
    "DeleteNetwork",
    "DeleteNode",
    "DeleteVolume",
    "EnsureNetwork",
    "EnsureNode",
    "Plan",
    "PutConfig",
    "RefreshNodes",
    "ResizeNode",
    "Step",
    "StopNode",
    "UpdateUsers",
    "converge",
    "members",
    "remembering",
    "remove",
    "stop",
]
