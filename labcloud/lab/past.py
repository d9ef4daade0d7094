"""What it takes to go back: to the version of a file before its last change, or of many files at a revision. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from labcloud.errors import ConfigError, NotFoundError
from labcloud.lab import readers
from labcloud.lab.datasets import dataset_document, read_dataset
from labcloud.lab.documents import cluster_document, read_cluster
from labcloud.lab.edit import update
from labcloud.lab.facts import with_dataset_facts, with_facts
from labcloud.lab.history import SHORT, History
from labcloud.lab.places import cluster_of, covers, dataset_of
from labcloud.lab.reading import Reading
from labcloud.lab.sources import Revision


def older(history: History, lab: Reading, path: str, revision: str) -> str | None:
    """What a file should say to have its configuration of ``revision`` (a full name) again; None if it was not there.

    Of a cluster's or a dataset's file, what is no configuration stays as it is now. Raise ConfigError for a text that cannot be read
    any more, NotFoundError for the file of a cluster or a dataset that there is not, or was not then.
    """
    source = Revision(history, revision)
    text = source.text(path)
    ref, name = cluster_of(path), dataset_of(path)
    if ref is not None:
        now = lab.cluster(ref)
        if text is None or now is None:
            raise _missing(f"cluster {ref}", path, "" if now is None else revision)
        configured = with_facts(read_cluster(text, ref, source.where(path)), now)
        return lab.text(path) if configured == now else update(text, cluster_document(configured))
    if name is not None:
        there = lab.dataset(name)
        if text is None or there is None:
            raise _missing(f"dataset {name}", path, "" if there is None else revision)
        described = with_dataset_facts(read_dataset(text, name, source.where(path)), there)
        return lab.text(path) if described == there else update(text, dataset_document(described))
    if text is not None:
        readers.check(path, text, source.where(path))
    return text


def _missing(what: str, path: str, revision: str) -> NotFoundError:
    when = f" at {revision[:SHORT]}" if revision else ""
    return NotFoundError(f"there is no {what}{when}", resolution=f"'labcloud config log --path {path}' lists its changes")


def previous(history: History, lab: Reading, path: str) -> str:
    """The newest revision at which the configuration in a file was another than now, and read well. Raise NotFoundError."""
    now = lab.text(path)
    for revision in history.revisions(path):
        try:
            text = older(history, lab, path, revision)
        except (ConfigError, NotFoundError):
            continue
        if text is not None and text != now:
            return revision
    raise NotFoundError(
        f"no earlier version of {path} is known that reads well", resolution=f"'labcloud config log --path {path}' lists its changes"
    )


def restored(history: History, revision: str, paths: Sequence[str]) -> dict[str, bytes | None]:
    """What files in ``paths`` must say to be as they were at ``revision``, where they say something else; None for those to remove."""
    then, now = history.tree(revision), history.tree("HEAD")
    nothing = ("", "")
    changed = [path for path in sorted(then.keys() | now.keys()) if then.get(path, nothing)[1] != now.get(path, nothing)[1]]
    wanted = [path for path in changed if any(covers(each, path) for each in paths)]
    blobs = history.blobs(then[path][1] for path in wanted if path in then)
    return {path: blobs[then[path][1]] if path in then else None for path in wanted}
