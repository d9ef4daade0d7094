"""How long a node stands still that moves to another Docker host and back; the floor is the same container stopped and started where it is.

Both hosts are engines of this machine, so the way between them costs nothing but processor time. Per profile a cluster of one master and
two workers, with so many MiB of random data in HDFS; then, turn about, a move of worker-1 and the floor.

    python benchmarks/hosts.py --profiles hadoop-2.7 hadoop-3.4 --data 0 2048 --times 4

*stands still* is from the request to stop the container until it is started on the other host, the last of its data copied meanwhile; *in
all* is from the request until its DataNode and NodeManager have reported there. Root only: the second engine has a network namespace.

Then snapshots of the cluster: one while all nodes are at home, which is the floor, the first with worker-1 on the other host, for which all
of its data come, and the next one. In brackets how long services stood still.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the tests' driver

from labcloud.lab import home
from tests.acceptance.another_host import NAME, AnotherHost, another_host
from tests.acceptance.driver import Cluster, Labcloud, docker, run

_NODE: Final = "worker-1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profiles", nargs="+", default=["hadoop-2.7", "hadoop-3.4"])
    parser.add_argument("--data", nargs="+", type=int, default=[0, 2048], metavar="MIB")
    parser.add_argument("--times", type=int, default=4)
    asked = parser.parse_args()
    cache = Path(os.environ.get("LABCLOUD_CACHE") or home() / "cache")
    with tempfile.TemporaryDirectory(prefix="labcloud-bench-") as folder, another_host(Path(folder) / "home") as host:
        lab = Labcloud(host.hidden, cache)
        lab("backup", "policy", "set", "--lab", "enabled=false")
        lab("image", "build", "carrier", *asked.profiles, timeout=1800)
        host.describe(lab.home)
        print("| profile | data of the node | in all | stands still | floor: stopped, started | snapshot at home | elsewhere | next |")
        print("|---|---|---|---|---|---|---|---|")
        for profile in asked.profiles:
            for data in asked.data:
                print(_measured(Cluster(lab, "bench", profile), host, data, asked.times), flush=True)


def _measured(cluster: Cluster, host: AnotherHost, data: int, times: int) -> str:
    cluster.create("--workers", "2")
    try:
        cluster.wait_until_all_runs()
        if data:
            cluster.exec("sh", "-c", f"head -c {data}M /dev/urandom | hdfs dfs -Ddfs.replication=2 -put - /data", node="master-0")
        held = run(("docker", "exec", cluster.container(_NODE), "du", "-sm", "/data")).text.split()[0]
        whole, still, floor = [], [], []
        for turn in range(times):
            (moved,) = cluster.labcloud.json("migrate", f"{cluster.ref}/{_NODE}", "--to", "home" if turn % 2 else NAME, timeout=900)
            assert moved["moved"], moved
            whole.append(moved["seconds"])
            still.append(moved["pause"])
            if turn % 2:
                floor.append(_floor(cluster))
                cluster.wait_until_all_runs()
        ratio = statistics.median(still) / statistics.median(floor)
        in_all, pause, least = (f"{statistics.median(each):.1f} s" for each in (whole, still, floor))
        at_home = _snapshot(cluster)
        cluster.labcloud("migrate", f"{cluster.ref}/{_NODE}", "--to", NAME, timeout=900)
        taken = " | ".join((at_home, _snapshot(cluster), _snapshot(cluster)))
        return f"| {cluster.profile} | {held} MiB | {in_all} | {pause} (× {ratio:.2f}) | {least} | {taken} |"
    finally:
        cluster.delete()
        assert host.left(cluster.labcloud.id) == []


def _snapshot(cluster: Cluster) -> str:
    began = time.monotonic()
    taken = cluster.labcloud.json("snapshot", "create", cluster.ref, timeout=900)
    assert taken["consistent"], taken
    return f"{time.monotonic() - began:.1f} s ({taken['pause_seconds']:.2f} s)"


def _floor(cluster: Cluster) -> float:
    """Seconds of a stop and a start by hand."""
    began, container = time.monotonic(), cluster.container(_NODE)
    docker("stop", "-t", "30", container)
    docker("start", container)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
