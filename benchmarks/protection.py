"""What snapshots and backups cost beside restic on the same folders, and a copy of a prepared lab beside an empty one, as one table.

    python benchmarks/protection.py [--gigabytes 2] [--profile hadoop-2.7] [--only backups|restore|copies]

Makes a cluster with random data in HDFS (each byte on two workers), and removes all of it. Needs root, Docker, restic and the image.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench import LABCLOUD, Row

from labcloud.apply.journal import Journal
from labcloud.apply.verbs import Terms
from labcloud.apply.watch import Watch
from labcloud.lab import Lab
from labcloud.model import ClusterRef
from labcloud.model.snapshot import SnapshotRef
from labcloud.profiles import load
from labcloud.protect.nightly import Nightly
from labcloud.providers.docker.provider import DockerProvider
from labcloud.services.hadoop import Hadoop

REF = ClusterRef("bench", "data")


@dataclass
class Writer:
    """Writes a small file after the other, and notes when each was acknowledged."""

    files: Any
    acknowledged: list[float] = field(default_factory=list)
    stop: bool = False

    def run(self) -> None:
        number = 0
        while not self.stop:
            self.files.write(f"/user/bench/writer/{number}", b"x" * 1000)
            self.acknowledged.append(time.monotonic())
            number += 1

    @property
    def longest(self) -> float:
        """Seconds between two acknowledgements, the longest of all."""
        return max((after - before for before, after in zip(self.acknowledged, self.acknowledged[1:], strict=False)), default=0.0)


class Protection:
    """All measurements, in a lab of their own."""

    def __init__(self, home: Path, profile: str, gigabytes: float) -> None:
        self._home, self._profile, self._bytes = home, profile, int(gigabytes * 1e9)
        self._environment = {**os.environ, "LABCLOUD_HOME": str(home)}
        self.labcloud("backup", "policy", "set", "--lab", "enabled=false")
        lab = Lab(home)
        self._lab, self._provider = lab, DockerProvider(home, lab.id)
        self._verbs = Nightly(lab, Journal(home), lambda _: self._provider, Watch())
        (home / "password").write_text("direct\n")

    def labcloud(self, *words: str, stdin: Any = None) -> float:
        began = time.monotonic()
        subprocess.run([LABCLOUD, *words], env=self._environment, stdin=stdin, capture_output=True, check=True)
        return time.monotonic() - began

    def restic(self, *words: str) -> tuple[float, list[dict[str, Any]]]:
        """Run restic by itself, on a repository of its own; seconds, and what it said."""
        environment = {
            **os.environ,
            "RESTIC_PASSWORD_FILE": str(self._home / "password"),
            "RESTIC_CACHE_DIR": str(self._home / "direct-cache"),
        }
        began = time.monotonic()
        done = subprocess.run(
            ["restic", "-r", str(self._home / "direct"), *words], env=environment, capture_output=True, text=True, check=True
        )
        return time.monotonic() - began, [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def put(self, count: int, name: str, ref: ClusterRef = REF) -> None:
        """Random bytes into HDFS, from the nodes' own processor."""
        script = f"head -c {count} /dev/urandom | hdfs dfs -put - {name}"
        self.labcloud("exec", str(ref), "--", "bash", "-c", script)

    def measure(self, only: str) -> Iterator[Row]:
        self.labcloud("create", self._profile, "--tenant", "bench", "--name", "data")
        self.put(self._bytes, "/user/bench/data")
        if only in ("all", "backups"):
            yield from self._backups()
        if only == "restore":
            self._verbs.back_up(REF, Terms())
        if only in ("all", "backups", "restore"):
            yield from self._restore()
        if only in ("all", "backups"):
            yield from self._second()
        if only in ("all", "copies"):
            yield from self._golden()

    def _folders(self) -> list[str]:
        wanted = self._lab.cluster(REF)
        assert wanted is not None
        return [str(self._provider.volume_folder(node, 0) / "hdfs") for node in wanted.nodes()]

    def _backups(self) -> Iterator[Row]:
        direct_init, _ = self.restic("init")
        with self._writing() as writer:
            first = self._verbs.back_up(REF, Terms())
            took = self._took("backup")
        yield Row(
            "the longest that a writer waited during a backup",
            f"{writer.longest:.2f} s",
            f"services stood still {first.pause:.2f} s",
            "≤ 2 s",
            writer.longest <= 2,
        )
        direct, _ = self.restic("backup", "--json", *self._folders())
        yield _ratio(f"first backup of {self._bytes / 1e9:g} GB in HDFS", took, direct + direct_init, 1.15)
        changed = self._bytes // 100
        self.put(changed, "/user/bench/more")
        second = self._verbs.back_up(REF, Terms())
        took = self._took("backup")
        direct, _ = self.restic("backup", "--json", *self._folders())
        yield _ratio("the next, 1 % changed", took, direct, 1.15)
        added = second.stored.bytes_added / changed
        yield Row(
            "bytes added against bytes changed",
            f"{second.stored.bytes_added / 1e6:.1f} MB",
            f"{changed / 1e6:.1f} MB",
            f"× {added:.2f}, wanted ≤ 1.20",
            added <= 1.2,
        )

    def _restore(self) -> Iterator[Row]:
        """Five pairs: restic by itself brings the same copy back out of the same repository. The first of each, which meets memory that the
        machine did not have yet, is not counted."""
        chosen = self._verbs.chosen(REF, "latest")
        own, ready, direct = [], [], []
        for _ in range(6):
            to = ClusterRef("bench", "back")
            began = time.monotonic()
            self._verbs.restore_backup(chosen, to, Terms())
            ready.append(time.monotonic() - began)
            own.append(self._took("backup-restore", until="filled"))
            self._verbs.delete(to, Terms())
            direct.append(self._restored(chosen.copy.id))
        size = chosen.manifest.size / 1e6
        speed = median(alone / ours for alone, ours in list(zip(direct, own, strict=True))[1:])
        yield Row(
            "restore, to data in place, read again and compared",
            f"{size / median(own[1:]):.0f} MB/s",
            f"restic with `--verify` {size / median(direct[1:]):.0f} MB/s",
            f"× {speed:.2f}, wanted ≥ 0.90",
            speed >= 0.9,
        )
        yield Row("restore, to a cluster that is ready", f"{median(ready[1:]):.1f} s", "", "–", True)

    def _restored(self, copy: str) -> float:
        """Seconds that restic by itself needs for a copy of the tenant's repository, in the priority and a session of its own as labcloud
        gives it: the kernel shares processors between sessions first."""
        target = self._home / "restored"
        secrets = {
            "RESTIC_PASSWORD_FILE": str(self._home / "secrets" / "backup" / f"{REF.tenant}.password"),
            "RESTIC_CACHE_DIR": str(self._home / "direct-cache"),
        }
        words = ["restore", copy, "--verify", "--target", str(target)]
        began = time.monotonic()
        subprocess.run(
            ["nice", "-n", "10", "ionice", "-c", "2", "-n", "7", "restic", "-r", str(self._home / "backups" / REF.tenant), *words],
            env=os.environ | secrets, capture_output=True, check=True, start_new_session=True,
        )  # fmt: skip
        took = time.monotonic() - began
        shutil.rmtree(target)
        return took

    def _second(self) -> Iterator[Row]:
        """Another cluster of the tenant with the same data."""
        other = ClusterRef("bench", "other")
        share = self._bytes // 4
        self.labcloud("create", self._profile, "--tenant", "bench", "--name", "other")
        source = f"hdfs://master-0.data.bench.labcloud-bench:{self._port()}/user/bench/data"
        script = f"hdfs dfs -cat {source} | head -c {share} | hdfs dfs -put - /user/bench/data"
        self.labcloud("exec", str(other), "--", "bash", "-c", script)
        made = self._verbs.back_up(other, Terms())
        self.labcloud("delete", "--yes", str(other))
        part = made.stored.bytes_added / share
        yield Row(
            "added by a second cluster with the same data",
            f"{made.stored.bytes_added / 1e6:.1f} MB",
            f"{share / 1e6:.0f} MB",
            f"{part:.1%}, wanted ≤ 5 %",
            part <= 0.05,
        )

    def _port(self) -> int:
        return load(self._profile).services["namenode"].ports["rpc"]

    def _golden(self) -> Iterator[Row]:
        """Three pairs: an empty cluster, and one with the data."""
        self.labcloud("exec", str(REF), "--", "hdfs", "dfs", "-rm", "-r", "-f", "-skipTrash", "/user/bench/writer")
        manifest = self._verbs.take(REF, Terms())
        empty, copied, added = [], [], []
        for _ in range(3):
            empty.append(self.labcloud("create", self._profile, "--tenant", "none", "--name", "data"))
            self.labcloud("delete", "--yes", "none/data")
            before = _used()
            copied.append(self.labcloud("create", "--from", str(SnapshotRef(REF, manifest.id)), "--tenant", "copy"))
            added.append(_used() - before)
            self.labcloud("delete", "--yes", "copy/data")
        extra, share = median(copied) - median(empty), min(added) / manifest.size
        yield Row(
            "a copy of a prepared lab",
            f"{median(copied):.2f} s",
            f"an empty one {median(empty):.2f} s",
            f"{extra:+.2f} s, wanted ≤ 1 s",
            extra <= 1,
        )
        room = f"{min(added) / 1e6:.1f} MB", f"of {manifest.size / 1e6:.0f} MB"
        yield Row("room that the copy takes", *room, f"{share:.1%}, wanted ≤ 5 %", share <= 0.05)

    @contextmanager
    def _writing(self) -> Iterator[Writer]:
        wanted = self._lab.cluster(REF)
        assert wanted is not None
        writer = Writer(Hadoop(self._provider, wanted, load(self._profile)).files())
        thread = threading.Thread(target=writer.run, daemon=True)
        thread.start()
        try:
            yield writer
        finally:
            writer.stop = True
            thread.join(60)

    def _took(self, verb: str, until: str = "") -> float:
        """Seconds that the newest operation ``verb`` took by the journal, to its end or to an event."""
        from datetime import datetime

        journal = Journal(self._home)
        record = journal.read(next(each.id for each in journal.operations() if each.verb == verb))
        end = next((each.time for each in record.events if each.kind == until), record.ended)
        return (datetime.fromisoformat(end) - datetime.fromisoformat(record.began)).total_seconds()

    def clean(self) -> None:
        listed = json.loads(subprocess.run([LABCLOUD, "list", "-o", "json"], env=self._environment, capture_output=True, check=True).stdout)
        for each in listed:
            self.labcloud("delete", "--yes", f"{each['tenant']}/{each['name']}")
        self._provider.close()


def _used() -> int:
    """Bytes in use on the engine's disk."""
    os.sync()
    there = os.statvfs("/var/lib/docker")
    return (there.f_blocks - there.f_bfree) * there.f_frsize


def _ratio(what: str, own: float, beside: float, limit: float) -> Row:
    return Row(what, f"{own:.2f} s", f"restic alone {beside:.2f} s", f"× {own / beside:.2f}, wanted ≤ {limit:.2f}", own / beside <= limit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--profile", default="hadoop-2.7")
    parser.add_argument("--only", default="all", choices=["all", "backups", "restore", "copies"])
    words = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="labcloud-bench-"))
    bench = Protection(home, words.profile, words.gigabytes)
    print("| what | labcloud | beside | target | met |\n|---|---|---|---|---|")
    try:
        for row in bench.measure(words.only):
            print(f"| {row.what} | {row.measured} | {row.beside} | {row.target} | {'yes' if row.met else 'no'} |", flush=True)
    finally:
        bench.clean()
        shutil.rmtree(home)


if __name__ == "__main__":
    sys.exit(main())
