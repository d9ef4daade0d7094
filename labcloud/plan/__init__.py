"""Wanted × found → the steps that lead from one to the other. Pure: no I/O, no engine, no clock."""

from labcloud.plan.planner import Blueprint, converge, remove, stop, surplus
from labcloud.plan.steps import (
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
    Step,
    StopNode,
)

__all__ = [
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
    "Step",
    "StopNode",
    "converge",
    "remove",
    "stop",
    "surplus",
]
