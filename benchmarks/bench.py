"""What labcloud costs beside what the engine and the JVMs cost by themselves, as one table.

    python benchmarks/bench.py [--pairs N] [--only NAME,...] [--profiles hadoop-2.7,hadoop-3.4]

Each figure of labcloud is measured beside its floor in the same run, pair by pair, and the medians are compared. Needs Docker,
the images of the profiles, and docker-compose (Debian's) for that comparison. Everything that it makes it removes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from floor import Apart, Floor, Written, docker, removed, together

from labcloud.lab import Lab
from labcloud.model import Cluster, ClusterRef, Configuration, NodeGroup, NodeOverride, NodeVolume
from labcloud.profiles import load, render
from labcloud.profiles.golden import sample
from labcloud.providers.docker import containers
from labcloud.providers.docker.engine import Engine

LABCLOUD = str(Path(sys.executable).with_name("labcloud"))
TENANTS = tuple(f"bench{number}" for number in range(10))


@dataclass(frozen=True)
class Row:
    """One line of the table. ``target`` is met if ``met``."""

    what: str
    measured: str
    beside: str
    target: str
    met: bool


class Bench:
    """All measurements, in a lab of their own."""

    def __init__(self, home: Path, pairs: int, profiles: list[str]) -> None:
        self._home = home
        self._pairs = pairs
        self._profiles = profiles
        self._environment = {**os.environ, "LABCLOUD_HOME": str(home)}
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else each command compiles all of labcloud
        self.labcloud("backup", "policy", "set", "--lab", "enabled=false")  # nothing runs beside what is measured

    def labcloud(self, *words: str) -> float:
        """Run a command; return its seconds."""
        began = time.monotonic()
        done = subprocess.run([LABCLOUD, *words], env=self._environment, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - began
        if done.returncode:
            raise SystemExit(f"labcloud {' '.join(words)} failed:\n{done.stderr}")
        return seconds

    def create(self) -> list[Row]:
        """A warm create against the floor."""
        rows = []
        limits = {"hadoop-2.7": 5.0, "hadoop-3.4": 6.0}
        for profile in self._profiles:
            floor = Floor(profile, "bench", self._home / "floor")
            own, beside = [], []
            for _ in range(self._pairs):
                own.append(self._own(profile, ["bench"]))
                beside.append(self._floor([floor]))
            ratio = statistics.median(own) / statistics.median(beside)
            limit = limits.get(profile, 6.0)
            rows.append(_row(f"create {profile}, 1 + 2, to ready", own, beside, ratio, 1.10))
            rows.append(Row(f"create {profile}, seconds", f"{min(own):.2f} s best", "", f"≤ {limit:g} s", min(own) <= limit))
        return rows

    def _own(self, profile: str, tenants: list[str]) -> float:
        seconds = self.labcloud("create", profile, *(word for tenant in tenants for word in ("--tenant", tenant)))
        self.labcloud("delete", "--yes", *(f"{tenant}/{profile}" for tenant in tenants))
        return seconds

    def _floor(self, floors: list[Floor]) -> float:
        with removed(floors):
            began = time.monotonic()
            together([each.start for each in floors])
            together([each.await_ready for each in floors])
            return time.monotonic() - began

    def compose(self) -> list[Row]:
        """A warm create against docker-compose."""
        if shutil.which("docker-compose") is None:
            raise SystemExit("docker-compose is missing: apt-get install docker-compose")
        return [
            self._against("docker-compose by Hadoop's own commands", Written("hadoop-2.7", "bench", self._home / "written"), 0.75),
            self._against("docker-compose, a container a daemon of the master", Apart("hadoop-2.7", "bench", self._home / "apart"), 1.10),
            self._against("docker-compose, the same three containers", Floor("hadoop-2.7", "bench", self._home / "floor"), 1.10),
        ]

    def _against(self, what: str, floor: Floor, limit: float) -> Row:
        own, beside = [], []
        for _ in range(self._pairs):
            own.append(self._own("hadoop-2.7", ["bench"]))
            with removed([floor]):
                words = ["docker-compose", "--project-name", "floor", "--file", str(floor.compose_file()), "up", "--detach"]
                began = time.monotonic()
                subprocess.run(words, check=True, capture_output=True)
                floor.await_ready()
                beside.append(time.monotonic() - began)
        return _row(what, own, beside, statistics.median(own) / statistics.median(beside), limit)

    def tenants(self) -> list[Row]:
        """Ten clusters of ten tenants by one command."""
        floors = [Floor("hadoop-2.7", tenant, self._home / "floor") for tenant in TENANTS]
        own = [self._own("hadoop-2.7", list(TENANTS))]
        beside = [self._floor(floors)]
        return [_row("ten tenants by one command", own, beside, own[0] / beside[0], 1.10)]

    def preflight(self) -> list[Row]:
        """The whole checklist on a healthy lab, everything measured anew."""
        best = min(self.labcloud("preflight", "hadoop-2.7", "--tenant", "bench") for _ in range(5))
        return [Row("labcloud preflight", f"{best:.2f} s", "", "≤ 2 s", best <= 2.0)]

    def help(self) -> list[Row]:
        best = min(self.labcloud("--help") for _ in range(9))
        return [Row("labcloud --help", f"{best:.3f} s", "", "≤ 0.25 s", best <= 0.25)]

    def list(self) -> list[Row]:
        """``list`` with 50 clusters of three nodes, which were made and not started."""
        lab, engine = Lab(self._home), Engine()
        mounts = containers.Mounts(lab.base, self._home / "rendered", self._home / "datasets")
        groups = (NodeGroup("master", 1, 1536), NodeGroup("worker", 2, 2048))
        names = []
        docker("network", "create", "labcloud-bench")
        try:
            for number in range(50):
                ref = ClusterRef("bench", f"c{number}")
                cluster = Cluster(ref, "hadoop-2.7", "docker", f"{number:032x}", "labcloud/hadoop-2.7:latest", groups)
                lab.save(cluster, "benchmark")
                mounts.datasets.mkdir(exist_ok=True)
                for node in cluster.nodes():
                    (mounts.cluster / node.name).mkdir(parents=True, exist_ok=True)
                with engine.api("create containers") as api:
                    for node in cluster.nodes():
                        spec = containers.NodeSpec(node, cluster.image, cluster.profile, 2048, 1.0, (NodeVolume(),))
                        api.create_container_from_config(containers.create_body(lab.id, spec, mounts), node.qualified)
                        names.append(node.qualified)
            engine_answer = min(_timed(lambda: docker("ps", "--all", "--filter", f"label={containers.LAB}={lab.id}")) for _ in range(5))
            best = min(self.labcloud("list") for _ in range(5))
        finally:
            docker("rm", "--force", "--volumes", *names)
            docker("volume", "rm", "--force", *(f"{name}.data-0" for name in names))
            docker("network", "rm", "labcloud-bench")
            for cluster in lab.clusters("bench"):
                lab.remove(cluster.ref, "benchmark")
        more = best - engine_answer
        return [Row("list of 50 clusters", f"{best:.2f} s", f"docker ps {engine_answer:.2f} s", "≤ 1 s beyond it", more <= 1)]

    def config(self) -> list[Row]:
        """One setting of a running cluster: rendered, compared with what its services run with, written; and 5,000 nodes rendered."""
        self.labcloud("create", "hadoop-2.7", "--tenant", "bench")
        name = "bench/hadoop-2.7"
        told = [
            self.labcloud("config", "set", name, f"hdfs-site:dfs.client.block.write.retries={number}", "--apply") for number in range(3, 8)
        ]
        self.labcloud("delete", "--yes", name)
        rows = [
            Row(
                "config set --apply, one setting, no restart", f"{statistics.median(told):.2f} s", "", "≤ 2 s", statistics.median(told) <= 2
            )
        ]
        profile = load("hadoop-3.4")
        master, worker = sample(profile).groups
        plain = replace(sample(profile), groups=(master, replace(worker, count=4999)))
        own = {
            node.name: NodeOverride(configuration=Configuration(settings={"yarn-site:a.b": node.name})) for node in plain.nodes("worker")
        }
        for what, cluster in (("alike", plain), ("each with a setting of its own", replace(plain, own=own))):
            seconds = _timed(lambda cluster=cluster: render(profile, cluster, "lab"))
            rows.append(Row(f"5,000 nodes rendered, {what}", f"{seconds:.2f} s", "", "≤ 3 s", seconds <= 3))
        return rows

    def memory(self) -> list[Row]:
        """Idle memory of a cluster, and the peak of labcloud itself."""
        rows = []
        limits = {"hadoop-2.7": 750, "hadoop-3.4": 1050}
        for profile in self._profiles:
            self.labcloud("create", profile, "--tenant", "bench")
            idle = _settled_memory(f"{profile}.bench")
            self.labcloud("delete", "--yes", f"bench/{profile}")
            limit = limits.get(profile, 1050)
            rows.append(Row(f"idle memory of {profile}, 1 + 2", f"{idle:.0f} MiB", "", f"≤ {limit} MiB", idle <= limit))
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        rows.append(Row("peak memory of labcloud", f"{peak:.0f} MiB", "", "≤ 120 MB", peak * 1.048576 <= 120))
        return rows

    def simulated(self) -> list[Row]:
        """5,000 simulated nodes: plan and apply alone, in a process of their own."""
        figures = {}
        for count in (1250, 4999):
            words = [sys.executable, str(Path(__file__).with_name("simulated.py")), str(count), str(self._home / f"sim{count}")]
            figures[count] = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
        small, large = figures[1250], figures[4999]
        growth = large["seconds"] / small["seconds"]
        return [
            Row(
                "5,000 simulated nodes",
                f"{large['seconds']:.2f} s",
                f"1,250: {small['seconds']:.2f} s, × {growth:.1f}",
                "≤ 5 s, × 4",
                large["seconds"] <= 5,
            ),
            Row(
                "5,000 simulated nodes, memory",
                f"{large['mib']:.0f} MiB",
                f"1,250: {small['mib']:.0f} MiB",
                "≤ 300 MB",
                large["mib"] <= 286,
            ),
        ]


def _row(what: str, own: list[float], beside: list[float], ratio: float, limit: float) -> Row:
    spread = f"{statistics.median(own):.2f} s ({min(own):.2f}–{max(own):.2f})"
    other = f"{statistics.median(beside):.2f} s ({min(beside):.2f}–{max(beside):.2f})"
    return Row(what, spread, other, f"× {ratio:.2f}, wanted ≤ {limit:.2f}", ratio <= limit)


def _timed(do: Callable[[], object]) -> float:
    began = time.monotonic()
    do()
    return time.monotonic() - began


def _settled_memory(suffix: str) -> float:
    """MiB of all containers of a cluster once two readings, seconds apart, agree."""
    last = 0.0
    for _ in range(12):
        lines = docker("stats", "--no-stream", "--format", "{{json .}}").splitlines()
        rows = [json.loads(line) for line in lines]
        now = sum(_mib(row["MemUsage"].split(" / ")[0]) for row in rows if row["Name"].endswith(f".{suffix}"))
        if abs(now - last) < 4:
            return now
        last = now
        time.sleep(5)  # the interval between two readings, not a wait for something
    return last


def _mib(text: str) -> float:
    units = {"KiB": 1 / 1024, "MiB": 1, "GiB": 1024}
    return float(text[:-3]) * units[text[-3:]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--profiles", default="hadoop-2.7,hadoop-3.4")
    parser.add_argument("--only", default="create,compose,tenants,preflight,help,list,config,memory,simulated")
    words = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="labcloud-bench-"))
    bench = Bench(home, words.pairs, words.profiles.split(","))
    rows: list[Row] = []
    try:
        for name in words.only.split(","):
            found: list[Row] = getattr(bench, name)()
            rows += found
            print(f"{name} is measured", file=sys.stderr)
    finally:
        shutil.rmtree(home)
    print("| what | labcloud | beside | target | met |\n|---|---|---|---|---|")
    for row in rows:
        print(f"| {row.what} | {row.measured} | {row.beside} | {row.target} | {'yes' if row.met else 'no'} |")


if __name__ == "__main__":
    main()
