"""Profiles: versions of Hadoop as data, sized and rendered for a cluster.

A profile says what a version is made of, what runs where, and how it is configured; this package reads it, shares out
memory by its formulas, and renders configuration files. It starts nothing, and knows no engine and no image.
docs/profiles.md is the schema.
"""

from labcloud.profiles.checking import check
from labcloud.profiles.loading import Problem, load, names
from labcloud.profiles.model import Artifact, Command, Folder, GroupDefaults, Probe, Profile, Service, UserInterface
from labcloud.profiles.rendering import by_group, host_name, render
from labcloud.profiles.sizing import GroupSizing, ServiceMemory, check_memory, minimum_memory, sizing

__all__ = [
    "Artifact",
    "Command",
    "Folder",
    "GroupDefaults",
    "GroupSizing",
    "Probe",
    "Problem",
    "Profile",
    "Service",
    "ServiceMemory",
    "UserInterface",
    "by_group",
    "check",
    "check_memory",
    "host_name",
    "load",
    "minimum_memory",
    "names",
    "render",
    "sizing",
]
