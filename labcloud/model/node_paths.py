"""Which paths of a node can be declared: what is labcloud's own on it, or the engine's, cannot. Pure.

The node refuses the same ones: images/base/files/usr/lib/labcloud/own-paths is the same list, and a test holds both to it.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

OWN_PATHS: Final = (
    "/bin",
    "/boot",
    "/data",
    "/datasets",
    "/dev",
    "/etc/apt",
    "/etc/dpkg",
    "/etc/group",
    "/etc/gshadow",
    "/etc/hadoop",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/labcloud",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/profile",
    "/etc/profile.d/labcloud.sh",
    "/etc/resolv.conf",
    "/etc/shadow",
    "/lib",
    "/lib64",
    "/lost+found",
    "/opt/java",
    "/opt/stacks",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/sbin",
    "/usr/share/labcloud",
    "/var/cache/apt",
    "/var/lib/apt",
    "/var/lib/dpkg",
    "/var/lib/hdfs",
    "/var/lib/labcloud",
    "/var/lib/mapred",
    "/var/lib/yarn",
    "/var/lock",
    "/var/log/labcloud",
    "/var/run",
)


def refused(path: str) -> str:
    """Why ``path`` cannot be declared for a node, as a clause; empty if it can."""
    pure = PurePosixPath(path)
    printable = path.isprintable() and "\\" not in path and not path.endswith(" ")
    if not path.startswith("/") or path != str(pure) or path == "/" or path.startswith("//") or ".." in pure.parts or not printable:
        return "it is no absolute path in its shortest form, of printable signs"
    for own in map(PurePosixPath, OWN_PATHS):
        if pure.is_relative_to(own) or own.is_relative_to(pure):
            return f"{own} is labcloud's own"
    return ""
