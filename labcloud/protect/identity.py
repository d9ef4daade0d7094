"""Gives the data of one cluster to another one: the copy has its own identity, so that the daemons of the two can never mix.

HDFS compares the cluster id, the namespace id and the block pool id of a DataNode with the NameNode's when it registers ("Incompatible
clusterIDs", `DataStorage` and `FSImage` in Hadoop's own sources); they stand in VERSION files and in the name of the block pool's folder.
Images and edit logs of the namespace have none of them that is read. docs/node.md tells how they follow from a cluster's own id, as
``prepare/namenode`` of the image has it.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from labcloud.errors import EngineError
from labcloud.lab.files import disk_errors


@dataclass(frozen=True)
class HdfsIdentity:
    """What a cluster's file system is told from others by."""

    cluster: str
    namespace: str
    pool: str

    @classmethod
    def of(cls, cluster_id: str) -> HdfsIdentity:
        """That of the cluster with the id ``cluster_id`` (32 hexadecimal digits)."""
        namespace = int(cluster_id[:8], 16) & 0x7FFFFFFF | 1
        pool = int(cluster_id[8:16], 16) & 0x7FFFFFFF
        made = 1500000000000 + int(cluster_id[16:24], 16)
        return cls(f"CID-{cluster_id}", str(namespace), f"BP-{pool}-127.0.0.1-{made}")

    @property
    def fields(self) -> dict[str, str]:
        """What stands in VERSION files of it."""
        return {"clusterID": self.cluster, "namespaceID": self.namespace, "blockpoolID": self.pool}


def adopt(volume: Path, identity: HdfsIdentity) -> None:
    """Make what lies in a data volume, that no node uses, the file system's of ``identity``. Doing it again changes nothing.

    Raise EngineError if the volume holds several block pools, or cannot be written.
    """
    with disk_errors(f"give the data in {volume} its own identity"):
        for version in sorted(volume.glob("hdfs/*/current/VERSION")):
            pools = sorted(version.parent.glob("BP-*"))
            if len(pools) > 1:
                raise EngineError(f"{version.parent} holds {len(pools)} block pools, not one")
            for pool in pools:
                for inner in pool.glob("current/VERSION"):
                    _rewrite(inner, identity)
                pool.rename(pool.with_name(identity.pool))
            _rewrite(version, identity)


def _rewrite(path: Path, identity: HdfsIdentity) -> None:
    """Put the identity into a file of ``key=value`` lines; keys that it has not stay away.

    A DataNode gets a name of its own as well, made of the one that it had: all its volumes must say the same.
    """
    there, text = path.stat(), path.read_text(encoding="utf-8")
    before = dict(line.partition("=")[::2] for line in text.splitlines())
    fields = {key: value for key, value in identity.fields.items() if key in before}
    if all(before[key] == value for key, value in fields.items()):
        return
    if "datanodeUuid" in before:
        fields["datanodeUuid"] = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{identity.cluster}/{before['datanodeUuid']}"))
    lines = [f"{key}={fields[key]}" if (key := line.partition("=")[0]) in fields else line for line in text.splitlines()]
    new = path.with_name(f".{path.name}.new")  # the file may be another name of one that is not ours
    new.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    os.chown(new, there.st_uid, there.st_gid)
    new.chmod(there.st_mode & 0o7777)
    new.replace(path)
