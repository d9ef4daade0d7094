"""An image as a virtual machine's disk: built from the same layers as the container's, and booted on an emulated processor."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.driver import Labcloud, run

BUILD = 900
SECONDS = 600  # of an emulated processor, on a machine that has other work


@pytest.mark.timeout(SECONDS + 300)
def test_a_profiles_disk_boots_as_a_node(labcloud: Labcloud) -> None:
    built = labcloud.json("image", "build", "hadoop-2.7", "--format", "qcow2", timeout=BUILD)[0]
    path = Path(built["disk"]["path"])
    facts = json.loads(run(("qemu-img", "info", "--output=json", str(path))).stdout)
    assert (facts["format"], facts["virtual-size"]) == ("qcow2", built["disk"]["virtual"])
    assert path.stat().st_size < facts["virtual-size"] / 2
    assert facts["virtual-size"] <= built["disk"]["min_disk"] << 30

    begin = path.stat().st_mtime_ns
    again = labcloud.json("image", "build", "hadoop-2.7", "--format", "qcow2")[0]
    assert (again["made"], again["disk"]["sha512"]) == (False, built["disk"]["sha512"])
    assert ("hadoop-2.7", "qcow2", True) in [
        (row["disk"]["name"], row["disk"]["format"], row["current"]) for row in labcloud.json("image", "list")["disks"]
    ]

    seen = labcloud("image", "verify", "hadoop-2.7", "--format", "qcow2", "--timeout", str(SECONDS), "-o", "json", timeout=SECONDS + 200)
    checks = {each["id"]: (each["ok"], each["summary"]) for each in json.loads(seen.stdout)[0]["checks"]}
    assert list(checks) == ["cloud-init", "disk", "units", "node", "users", "supervisor", "java", "hadoop", "layout"]
    assert all(ok for ok, _ in checks.values()), checks
    assert checks["hadoop"][1] == "Hadoop 2.7.7"
    assert path.stat().st_mtime_ns == begin  # a machine that is looked at writes elsewhere


def test_a_container_host_mounts_the_same_disk(labcloud: Labcloud) -> None:
    """What a cloud with containers as guests does: the disk is one file system, without a table of partitions in front."""
    disk = Path(labcloud.json("image", "build", "hadoop-2.7", "--format", "raw", timeout=BUILD)[0]["disk"]["path"])
    checked = subprocess.run(["e2fsck", "-fn", str(disk)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout

    def inside(path: str) -> str:
        return run(("debugfs", "-R", f"cat {path}", str(disk))).stdout.decode()

    assert "hdfs:x:901:900:" in inside("/etc/passwd")
    assert "LABEL=labcloud-root / ext4" in inside("/etc/fstab")
    assert "HADOOP_HOME=/opt/stacks/hadoop\n" in inside("/etc/environment")
    assert inside("/etc/machine-id") == ""
    keys = run(("debugfs", "-R", "ls /etc/ssh", str(disk))).stdout.decode()
    assert "sshd_config" in keys
    assert "ssh_host" not in keys
