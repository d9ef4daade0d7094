"""Proof: a backup is restored into a cluster for a while, compared file by file with what it was when it was taken, and worked on.

The same way gives back what HDFS had at one path: it is restored whole for a while, and that is copied over.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from typing import Final

from labcloud.apply.verbs import Terms
from labcloud.apply.watch import Event, Kind
from labcloud.apply.work import EXAMPLES, Work
from labcloud.errors import ConflictError, EngineError, LabError, NotFoundError
from labcloud.model import ClusterRef
from labcloud.profiles import load
from labcloud.protect.backups import CONTENTS
from labcloud.protect.contents import Contents, compare
from labcloud.protect.notes import DRILLED, GOOD
from labcloud.protect.restoring import Chosen, Restoring
from labcloud.services.files import Files
from labcloud.services.hadoop import Hadoop

UNCOMPARED: Final = "it works, but there is nothing to compare it with"
_SAMPLE: Final = 16 << 20  # bytes that the job of a drill reads
_SAMPLES: Final = 3  # each is a task of its own, which takes seconds to start
_OUTPUT: Final = "/tmp/drill"  # noqa: S108  # in HDFS, of a cluster that goes away


@dataclass(frozen=True)
class Drill:
    """What a drill found. ``verdict`` is ``good``, or says in a sentence what is not. ``files`` and ``bytes`` were equal; ``undescribed``
    says why some were not compared. Seconds: until the restored cluster was ready, of comparing, of the job."""

    ref: ClusterRef
    copy: str
    verdict: str
    files: int = 0
    bytes: int = 0
    undescribed: str = ""
    restored: float = 0.0
    compared: float = 0.0
    worked: float = 0.0

    @property
    def good(self) -> bool:
        return self.verdict == GOOD

    @property
    def uncompared(self) -> bool:
        """Whether it came back and works, but was taken of a cluster that could not tell what it had."""
        return self.verdict.startswith(UNCOMPARED)


class Drills(Restoring):
    """The verbs, for one lab."""

    def drill(self, chosen: Chosen, terms: Terms) -> Drill:
        """Prove a backup. Whatever it comes to, nothing of the cluster for it is left, and the journal has the verdict."""
        with self._journal.operation("backup-drill", str(chosen.ref), {"copy": chosen.copy.id}) as operation:
            try:
                drill = self._drilled(chosen, terms)
            except LabError as exc:
                drill = Drill(chosen.ref, chosen.copy.short, exc.brief)
            operation.event(
                DRILLED, copy=chosen.copy.id, verdict=drill.verdict, files=drill.files, bytes=drill.bytes, undescribed=drill.undescribed,
                seconds={"restore": round(drill.restored, 1), "compare": round(drill.compared, 1), "job": round(drill.worked, 1)},
            )  # fmt: skip
        return drill

    def _drilled(self, chosen: Chosen, terms: Terms) -> Drill:
        contents = Contents.load(chosen.repository.dump(chosen.copy.id, CONTENTS))
        began = time.monotonic()
        with self.for_a_while(chosen, terms, "drill") as cluster:
            restored = time.monotonic() - began
            provider, profile = self._provider(cluster.provider), load(cluster.profile)
            hadoop = Hadoop(provider, cluster, profile)
            self._tell(chosen.ref, f"{len(contents.entries)} files are compared")
            moved = {f"/user/{chosen.ref.tenant}": f"/user/{cluster.ref.tenant}"}
            found = compare(hadoop, contents, moved)
            compared = time.monotonic() - began - restored
            verdict = f"{UNCOMPARED}: {contents.why}" if contents.why else GOOD
            if not found.equal:
                bad = [*found.missing, *(f"{path}: {what}" for path, what in found.differing.items())]
                verdict = f"{len(found.missing)} files are missing, {len(found.differing)} differ: {'; '.join(bad[:3])}"
            self._tell(chosen.ref, "a job works on the restored data")
            said = self._job(Work(provider, cluster, profile), hadoop.files(), contents, moved) if found.equal else ""
            worked = time.monotonic() - began - restored - compared
        skipped = ", ".join(f"{count} {why}" for why, count in contents.skipped.items())
        return Drill(
            chosen.ref, chosen.copy.short, said or verdict, found.files, found.bytes, contents.why or skipped, restored, compared, worked
        )

    def _job(self, work: Work, files: Files, contents: Contents, moved: dict[str, str]) -> str:
        """Count the words of some of the files, or compute where there are none. Returns what went wrong."""
        sample: list[str] = []
        size = 0
        for each in sorted(contents.entries, key=lambda entry: entry.length):
            if each.length and size + each.length <= _SAMPLE and len(sample) < _SAMPLES:
                sample.append(_literal(_moved(each.path, moved)))
                size += each.length
        words = ["wordcount", *sample, _OUTPUT] if sample else ["pi", "2", "10"]
        said = io.BytesIO()
        code = work.submit(EXAMPLES, words, said, said)
        if code == 0 and (not sample or "_SUCCESS" in files.children(_OUTPUT)):
            return ""
        lines = [line for line in said.getvalue().decode(errors="replace").splitlines() if "rror" in line or "xception" in line]
        return f"the job {words[0]} failed: {(lines or ['it ended with ' + str(code)])[0][:300]}"

    def _tell(self, ref: ClusterRef, text: str) -> None:
        self._watch.tell(Event(str(ref), Kind.WAITING, text))

    # One path

    def restore_path(self, chosen: Chosen, path: str, into: str, terms: Terms) -> int:
        """Copy what a backup has at ``path`` of HDFS into the folder ``into`` of the cluster's HDFS; return how many files.

        Raise NotFoundError if the backup has nothing there, ConflictError if there is something already where it would be.
        """
        ref = chosen.ref
        wanted, profile, provider = self._known(ref)
        target = Hadoop(provider, wanted, profile).files()
        place = f"{into.rstrip('/')}/{path.rstrip('/').rpartition('/')[2]}"
        with self._journal.operation("backup-restore", str(ref), {"copy": chosen.copy.id, "path": path, "into": into}):
            if _exists(target, place):
                what = f"{ref} has {place} already, and a restore overwrites nothing"
                raise ConflictError(what, resolution="choose another folder by --into")
            with self.for_a_while(chosen, terms, "restore") as cluster:
                source = Hadoop(self._provider(cluster.provider), cluster, load(cluster.profile)).files()
                home, own = f"/user/{ref.tenant}", f"/user/{cluster.ref.tenant}"
                there = own + path.removeprefix(home) if path == home or path.startswith(f"{home}/") else path
                if not _exists(source, there):
                    raise NotFoundError(f"the backup {chosen.copy.short} of {ref} has nothing at {path}")
                return _copy_tree(source, there, target, place, wanted.ref.tenant)


def _exists(files: Files, path: str) -> bool:
    folder, _, name = path.rstrip("/").rpartition("/")
    return not name or name in files.children(folder or "/")


def _copy_tree(source: Files, path: str, target: Files, place: str, owner: str) -> int:
    folder, _, name = path.rstrip("/").rpartition("/")
    if not name or source.children(folder or "/")[name]:
        target.make_folder(place, owner=owner, group=owner, mode="755")
        return sum(_copy_tree(source, f"{path.rstrip('/')}/{each}", target, f"{place}/{each}", owner) for each in source.children(path))
    try:
        target.write_parts(place, source.read_parts(path))
    except EngineError:
        target.delete(place)
        raise
    target.give(place, owner=owner, group=owner)
    return 1


def _moved(path: str, moved: dict[str, str]) -> str:
    return next((after + path.removeprefix(before) for before, after in moved.items() if path.startswith(f"{before}/")), path)


def _literal(path: str) -> str:
    """``path`` as Hadoop's patterns mean it."""
    return "".join(f"\\{sign}" if sign in "*?[]{},\\" else sign for sign in path)
