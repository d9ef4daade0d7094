"""What answers and probes of a Docker Engine mean. Pure, but for a look at the engine's socket and at the kernel's clock."""

from __future__ import annotations

import ctypes
import getpass
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from labcloud.errors import LabError
from labcloud.images.model import LABEL_JAVA, LABEL_VERSION, REPOSITORY
from labcloud.model import Cluster, format_bytes
from labcloud.model.checks import Finding, ImageNeed, failed, passed, warned
from labcloud.model.storage import DEFAULT_CLASS, Classes
from labcloud.providers.docker.engine import API_VERSION
from labcloud.providers.docker.facts import Timed
from labcloud.providers.docker.probes import LIMIT, Ended, Resolved

_LEAST_ENGINE: Final = (20, 10)
_GOOD_DRIVERS: Final = frozenset({"overlay2", "overlayfs", "btrfs", "zfs"})
# vfs copies whole images; the others were removed from Engine 25 and 24 (https://docs.docker.com/engine/deprecated/).
_BAD_DRIVERS: Final = frozenset({"vfs", "devicemapper", "aufs", "overlay"})
_SKEW: Final = 5.0
_KILLED: Final = 137
_UNSYNCHRONISED: Final = 5  # adjtimex(2): TIME_ERROR

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Socket:
    """What is to be seen of an engine's socket: whether it is there, and whether this user may speak to it."""

    address: str
    local: bool
    exists: bool = False
    allowed: bool = False
    systemd: bool = False


def look_at_socket(address: str) -> Socket:
    local = address.startswith("unix://")
    path = Path(address.removeprefix("unix://"))
    systemd = Path("/run/systemd/system").exists()
    return Socket(address, local, local and path.exists(), local and os.access(path, os.R_OK | os.W_OK), systemd)


def judge_reachable(version: Json, address: str) -> Finding:
    return passed(f"Docker {version['Version']} answers", version=version["Version"], address=address)


def unreachable(exc: LabError, socket: Socket) -> Finding:
    """Why nobody answers, and the command that changes it."""
    figures = {"address": socket.address, "socket_exists": socket.exists, "socket_allowed": socket.allowed, "said": exc.details}
    if not socket.local:
        return failed(f"Docker at {socket.address} does not answer", "unset DOCKER_HOST", **figures)
    if socket.exists and not socket.allowed:
        fix = f"usermod --append --groups docker {getpass.getuser()}"
        return failed(f"this user may not speak to Docker at {socket.address}", fix, **figures)
    start = "systemctl restart docker" if socket.systemd else "dockerd >/var/log/dockerd.log 2>&1 &"
    return failed(f"no Docker Engine answers at {socket.address}", start, **figures)


def judge_version(version: Json) -> Finding:
    """Whether the engine is new enough, and speaks the version of the interface that labcloud speaks."""
    engine, newest, oldest = (str(version.get(key, "")) for key in ("Version", "ApiVersion", "MinAPIVersion"))
    figures = {"engine": engine, "api": newest, "oldest_api": oldest, "needed_api": API_VERSION}
    if numbers(newest) < numbers(API_VERSION) or numbers(engine)[:2] < _LEAST_ENGINE:
        summary = f"Docker {engine} is too old: it needs 20.10, with version {API_VERSION} of the interface"
        return failed(summary, "apt-get install --only-upgrade docker.io || apt-get install --only-upgrade docker-ce", **figures)
    if numbers(oldest) > numbers(API_VERSION):
        # Engine 29 begins at 1.44, and takes older ones if it is told to.
        summary = f"Docker {engine} speaks version {oldest} of its interface at least, labcloud {API_VERSION}"
        folder = "/etc/systemd/system/docker.service.d"
        fix = (
            f"mkdir -p {folder} && printf '[Service]\\nEnvironment=DOCKER_MIN_API_VERSION={API_VERSION}\\n' >{folder}/labcloud.conf"
            " && systemctl daemon-reload && systemctl restart docker"
        )
        return failed(summary, fix, **figures)
    return passed(f"Docker {engine}, interface {newest}", **figures)


def numbers(text: str) -> tuple[int, ...]:
    """``(20, 10, 24)`` of ``20.10.24+dfsg1``; nothing of what is no version."""
    head = text.partition("+")[0].partition("-")[0]
    return tuple(int(each) for each in head.split(".") if each.isdigit())


def judge_storage(info: Json, has_daemon_file: bool) -> Finding:
    driver = str(info["Driver"])
    status = {str(key): str(value) for key, value in info.get("DriverStatus") or ()}
    figures = {"driver": driver, "backing": status.get("Backing Filesystem", ""), "folder": info.get("DockerRootDir", "")}
    fix = set_in_daemon_file("storage-driver", "overlay2", has_daemon_file)
    if driver in _BAD_DRIVERS:
        return failed(f"images are kept by {driver}, which copies them for each node or is no longer kept", fix, **figures)
    if status.get("Supports d_type") == "false":
        # https://docs.docker.com/engine/storage/drivers/overlayfs-driver/: xfs made with ftype=0
        return failed(
            f"{driver} lies on a file system without file types in folders (xfs with ftype=0)", "mkfs.xfs -n ftype=1 DEVICE", **figures
        )
    if driver not in _GOOD_DRIVERS:
        return warned(f"images are kept by {driver}, which nobody has tried with labcloud", fix, **figures)
    return passed(f"images are kept by {driver}", **figures)


def set_in_daemon_file(key: str, value: str, has_daemon_file: bool) -> str:
    """The command that sets a setting of the engine; it adds to a file that is there."""
    file = "/etc/docker/daemon.json"
    if not has_daemon_file:
        return f'echo \'{{"{key}": "{value}"}}\' >{file} && systemctl restart docker'
    return f'jq \'."{key}"="{value}"\' {file} >{file}.new && mv {file}.new {file} && systemctl restart docker'


def judge_limits(info: Json) -> Finding:
    """Whether the kernel has the controllers that a node's create call names."""
    names = {"memory": "MemoryLimit", "cpu": "CpuCfsQuota", "pids": "PidsLimit"}
    there = {name: bool(info.get(key, True)) for name, key in names.items()}
    missing = [name for name, has in there.items() if not has]
    figures = {**there, "swap": bool(info.get("SwapLimit", True)), "cgroup_version": info.get("CgroupVersion", "1")}
    if missing:
        fix = (
            "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&cgroup_enable=memory swapaccount=1 /' /etc/default/grub && update-grub && reboot"
            if "memory" in missing
            else "zgrep -E 'CONFIG_(CFS_BANDWIDTH|CGROUP_PIDS)' /proc/config.gz /boot/config-$(uname -r)"
        )
        return failed(f"the kernel cannot limit {', '.join(missing)} of a container", fix, **figures)
    return passed("the kernel limits memory, processors and processes of a container", **figures)


def judge_memory(ended: Ended, info: Json) -> Finding:
    """Whether the kernel stopped a container that took four times its memory. An exit code of 137 is SIGKILL's."""
    figures = {"limit_mib": LIMIT, "taken_mib": 4 * LIMIT, "exit_code": ended.exit_code, "oom_killed": ended.out_of_memory}
    if ended.out_of_memory or ended.exit_code == _KILLED:
        return passed(f"a container that took {4 * LIMIT} MiB of {LIMIT} was killed", **figures)
    if not info.get("SwapLimit", True):
        return warned(
            f"a container took {4 * LIMIT} MiB of {LIMIT}: the rest may be swapped out, which is not limited", "swapoff --all", **figures
        )
    fix = "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&cgroup_enable=memory swapaccount=1 /' /etc/default/grub && update-grub && reboot"
    return failed(f"a container took {4 * LIMIT} MiB though it may have {LIMIT}", fix, **figures)


def judge_names(resolved: Resolved) -> Finding:
    """Whether both look-ups were answered: ``getent`` prints a line for each, the name that was asked for first."""
    lines = [line.split() for line in resolved.ended.said.splitlines()]
    forward = any(line[0] == resolved.address and resolved.name in line[1:] for line in lines[:1] if line)
    reverse = any(line[0] == resolved.address and line[1:2] == [f"{resolved.name}.{resolved.network}"] for line in lines[-1:] if line)
    figures = {
        "name": resolved.name,
        "address": resolved.address,
        "forward": forward,
        "reverse": reverse,
        "said": resolved.ended.said[:300],
    }
    if forward and reverse:
        return passed("containers find each other by name and by address", **figures)
    broken = " and ".join(way for way, works in (("by name", forward), ("by address", reverse)) if not works)
    return failed(
        f"a container does not find another one {broken}", "iptables --table nat --list --numeric && systemctl restart docker", **figures
    )


def judge_clock(info: Timed, synchronised: bool) -> Finding:
    """How far the engine's clock is from this machine's: nothing if it says a time between question and answer."""
    theirs = datetime.fromisoformat(str(info.answer["SystemTime"])).timestamp()
    skew = min(0.0, theirs - info.asked) + max(0.0, theirs - info.came)
    figures = {"skew_seconds": round(skew, 3), "kernel_clock_synchronised": synchronised}
    if abs(skew) > _SKEW:
        return warned(f"the engine's clock is {skew:+.1f} s from this machine's", "timedatectl set-ntp true", **figures)
    return passed(f"the engine's clock is {abs(skew):.1f} s from this machine's", **figures)


def kernel_clock() -> bool:
    """Whether the kernel takes its clock for synchronised by NTP (``adjtimex(2)`` that changes nothing)."""
    buffer = ctypes.create_string_buffer(512)  # more than struct timex takes anywhere
    state: int = ctypes.CDLL(None).adjtimex(buffer)
    return 0 <= state < _UNSYNCHRONISED


def latest(name: str) -> str:
    return f"{REPOSITORY}/{name}:latest"


def find_image(images: Sequence[Json], reference: str) -> Json | None:
    return next((each for each in images if reference in (each.get("RepoTags") or ())), None)


def judge_present(need: ImageNeed, pinned: str, images: Sequence[Json]) -> Finding:
    """Whether the newest image is there; or ``pinned``, the one that an existing cluster is made of."""
    reference = pinned or latest(need.name)
    found = find_image(images, reference)
    fix = f"labcloud image build {need.name}"
    if found is None:
        built = sorted(tag for each in images for tag in each.get("RepoTags") or () if tag.endswith(":latest"))
        what = f"the image {pinned}, which the cluster is made of, is gone" if pinned else f"the image of {need.name} is not built"
        return failed(what, fix, image=reference, built=built)
    size = int(found["Size"])
    return passed(f"{reference} is there, {format_bytes(size)}", image=reference, id=found["Id"], size_mb=round(size / 1e6, 1))


def judge_contents(need: ImageNeed, image: Json) -> Finding:
    """Whether the image has the Java release and the version of the stack that the profile is written for."""
    labels = image.get("Labels") or {}
    java, version = labels.get(LABEL_JAVA, ""), labels.get(LABEL_VERSION, "")
    wanted = need.stack.rpartition("-")[2]
    figures = {"java": java, "version": version, "wanted_java": str(need.java), "wanted_version": wanted}
    wrong = [
        *([f"Java {java or 'unknown'} instead of {need.java}"] if java != str(need.java) else []),
        *([f"version {version or 'unknown'} instead of {wanted}"] if version != wanted else []),
    ]
    if wrong:
        return failed(f"the image of {need.name} has {' and '.join(wrong)}", f"labcloud image build {need.name}", **figures)
    return passed(f"Java {java} and {need.stack}", **figures)


def judge_drivers(cluster: Cluster, classes: Classes, info: Json) -> Finding:
    """Whether Docker has the volume drivers of the storage classes that ``cluster`` names. It may find one more when it is first used."""
    names = {volume.storage or DEFAULT_CLASS for group in cluster.groups for volume in group.volumes}
    wanted = {each.driver: name for name, each in classes.items() if name in names and each.driver}
    there = sorted((info.get("Plugins") or {}).get("Volume") or ())
    figures = {"drivers": sorted(wanted), "there": there}
    missing = sorted(wanted.keys() - set(there))
    if missing:
        summary = f"Docker has no volume driver {missing[0]!r}, that {wanted[missing[0]]} names; it has {', '.join(there)}"
        return failed(summary, f"docker plugin install {missing[0]}", **figures)
    return passed(f"Docker has the drivers {', '.join(wanted)}" if wanted else "no storage class with a driver is asked for", **figures)
