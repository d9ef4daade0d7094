"""Puts a dataset that a cluster's nodes see into its HDFS, and proves that it is all there. Changes nothing that is wanted.

``hdfs dfs -put`` on a node copies from the mount: each file under a passing name first, so that what has its own name is whole. What HDFS
has in the same size is left alone, so that a load that was broken off goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import quote

from labcloud.apply.watch import Event, Kind, Watch
from labcloud.datasets.manifest import Manifest
from labcloud.datasets.pace import Pace
from labcloud.errors import ConfiguringError, EngineError, UsageError
from labcloud.model import Cluster, NodeRef, format_bytes
from labcloud.model.dataset import MOUNTED
from labcloud.profiles import Profile
from labcloud.providers.base import Command, Provider, Result
from labcloud.services.files import Files
from labcloud.services.hadoop import Hadoop

_LOOK: Final = 1.0  # seconds between looks at how far it has come
_MOST_FOLDERS: Final = 16
"""More folders than these are put as a whole, whatever is there of them: each costs a start of Java, a second."""
_ARGUMENTS: Final = 500
_NAMED: Final = 5


@dataclass(frozen=True)
class Loaded:
    """What was put into HDFS: ``files`` were written, of ``bytes`` together, ``skipped`` were there already."""

    path: str
    files: int
    bytes: int
    skipped: int


def hdfs_folder(text: str) -> str:
    """``text`` if it can be the folder of a dataset in HDFS, without detours. Raise UsageError otherwise."""
    path = PurePosixPath(text)
    if not path.is_absolute() or path == PurePosixPath("/") or ".." in path.parts or not text.isprintable() or ":" in text:
        raise UsageError(f"{text!r} is no folder in HDFS for a dataset", resolution="write an absolute path, as in /user/acme/taxi")
    return str(path)


class Loader:
    """Loads into one cluster, as its tenant's user."""

    def __init__(self, provider: Provider, cluster: Cluster, profile: Profile, watch: Watch) -> None:
        self._provider = provider
        self._cluster = cluster
        self._watch = watch
        self._hadoop = Hadoop(provider, cluster, profile)
        self._node = NodeRef(cluster.ref, cluster.groups[0].name, 0)

    def load(self, name: str, manifest: Manifest, target: str) -> Loaded:
        """Put all files of the dataset ``name`` below the HDFS folder ``target``, made if it is not there.

        Raise ConfiguringError for what HDFS refuses, or if it is not all there afterwards, EngineError while HDFS does not answer.
        """
        self._make_folders([target])
        files = self._hadoop.files()
        wanted = {each.path: each.size for each in manifest.files}
        before = files.sizes(target)
        missing = {path: size for path, size in wanted.items() if before.get(path) != size}
        if missing:
            pace = Pace(f"loading {name}", sum(missing.values()), lambda text: self._tell(Kind.WAITING, text))
            begin = files.length(target)
            fresh = not before.keys() & wanted.keys()
            self._while_told(lambda: self._put(name, missing, target, fresh=fresh), files, target, pace, begin)
        self._prove(name, wanted, files.sizes(target), target)
        loaded = Loaded(target, len(missing), sum(missing.values()), len(wanted) - len(missing))
        skipped = f", {loaded.skipped} were there" if loaded.skipped else ""
        self._tell(Kind.DONE, f"load {name}: {loaded.files} files, {format_bytes(loaded.bytes)} to {target}{skipped}")
        return loaded

    def _put(self, name: str, missing: Iterable[str], target: str, *, fresh: bool) -> None:
        by_folder = _grouped(missing)
        if fresh or len(by_folder) > _MOST_FOLDERS:
            by_folder = {"": sorted({path.partition("/")[0] for path in missing})}
        self._make_folders([f"{target}/{folder}" for folder in by_folder if folder])
        for folder, paths in by_folder.items():
            for some in _some(paths):
                # Hadoop reads names of this side as URIs: a blank or a per cent sign in them must be written so.
                sources = [f"file://{quote(f'{MOUNTED}/{name}/{path}', errors='surrogateescape')}" for path in some]
                self._hdfs("-put", "-f", *sources, f"{target}/{folder}" if folder else target)

    def _make_folders(self, folders: Sequence[str]) -> None:
        for some in _some(folders):
            self._hdfs("-mkdir", "-p", *some)

    def _hdfs(self, *argv: str) -> Result:
        result = self._provider.execute(self._node, Command(("hdfs", "dfs", *argv), user=self._cluster.ref.tenant))
        if result.exit_code:
            raise ConfiguringError(
                f"HDFS of {self._cluster.ref} refused 'hdfs dfs {argv[0]}'",
                details=result.stderr.decode(errors="replace")[-2000:],
                resolution=f"see 'labcloud show {self._cluster.ref}'; the same command goes on where it stopped",
            )
        return result

    def _while_told(self, work: Callable[[], None], files: Files, target: str, pace: Pace, begin: int) -> None:
        """Do ``work`` on a thread, and tell how much is in ``target``. An interruption leaves the copy to its node, and the thread."""
        result: Future[None] = Future()

        def run() -> None:
            try:
                work()
                result.set_result(None)
            except BaseException as exc:  # noqa: BLE001 - handed over to the caller
                result.set_exception(exc)

        threading.Thread(target=run, daemon=True, name="load").start()
        while True:
            with suppress(FutureTimeoutError):
                result.result(_LOOK)
                return
            self._watch.check()
            with suppress(EngineError):  # it is busy with what it is given
                pace.reach(max(0, files.length(target) - begin))

    def _prove(self, name: str, wanted: Mapping[str, int], there: Mapping[str, int], target: str) -> None:
        wrong = [path for path, size in wanted.items() if there.get(path) != size]
        if wrong:
            raise ConfiguringError(
                f"{len(wrong)} of {len(wanted)} files of {name} are not in {target} of {self._cluster.ref} as they should be",
                details="\n".join(f"{path}: {there.get(path, 'no')} bytes instead of {wanted[path]}" for path in wrong[:_NAMED]),
                resolution="run the same command again",
            )

    def _tell(self, kind: Kind, text: str) -> None:
        self._watch.tell(Event(str(self._cluster.ref), kind, text))


def _grouped(paths: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in sorted(paths):
        found.setdefault(path.rpartition("/")[0], []).append(path)
    return found


def _some(words: Sequence[str]) -> Iterator[Sequence[str]]:
    """So many at a time that one command line holds them."""
    for begin in range(0, len(words), _ARGUMENTS):
        yield words[begin : begin + _ARGUMENTS]
