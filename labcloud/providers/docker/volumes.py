"""Data volumes whose storage class says where they lie: made before their node, removed with what is in them.

A volume of the engine's own is made with its container, and none of this is asked for it. One with a class is a volume of a driver; one in
a folder of this machine is Docker's local driver with a bind to ``PATH/volumes/LAB/NAME``, which a label keeps: the class may say another
place later, and a volume stays where it was made. A snapshot of a volume lies in a volume beside it, made in the same way.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from labcloud.errors import ConflictError, EngineError, NotFoundError
from labcloud.images.model import LABEL_NAME
from labcloud.lab.files import disk_errors
from labcloud.model import NodeRef, NodeSpec, NodeVolume, StorageClass
from labcloud.providers.docker.containers import FOLDER, LAB, volume_identity, volume_name
from labcloud.providers.docker.engine import refused, remove_container
from labcloud.providers.docker.probes import pick_image

if TYPE_CHECKING:
    from docker import APIClient

_FOLDER: Final = "volumes"
_TRIES: Final = 5
_PATIENCE: Final = 600  # seconds; a volume may hold millions of blocks

Which = tuple[NodeRef, int, str]
"""A node, the number of one of its volumes, and the snapshot of that which is meant, or nothing for the volume itself."""


def ensure(api: APIClient, lab: str, spec: NodeSpec, *, here: bool) -> None:
    """Every volume of ``spec`` that has a storage class, with its folder. ``here`` is whether the engine works on this machine.

    The volume comes before its folder: what a killed run leaves is found by its labels. Raise EngineError for a place that is not there,
    ConflictError for a volume that is another lab's.
    """
    for number, volume in enumerate(spec.volumes):
        if volume.storage.path or volume.storage.driver:
            _ensure(api, lab, (spec.ref, number, ""), volume.storage, here=here)


def ensure_alone(api: APIClient, lab: str, which: Which, volume: NodeVolume, *, here: bool) -> Path:
    """A volume without its node; a snapshot's on the file system of what it is of, if that is there. Returns its folder."""
    ref, number, snapshot = which
    original = find(api, volume_name(ref, number)) if snapshot else None
    storage = volume.storage if original is None else _storage_of(original, lab, volume.storage)
    _ensure(api, lab, which, storage, here=here)
    return folder_of(api, lab, which, here=here)


def folder_of(api: APIClient, lab: str, which: Which, *, here: bool) -> Path:
    """Where the data of a volume lies. Raise NotFoundError if there is none, EngineError if nobody gets at it from here."""
    ref, number, _ = which
    there = find(api, volume_name(*which))
    if there is None or (there.get("Labels") or {}).get(LAB) != lab:
        raise NotFoundError(f"there is no volume {volume_name(*which)}")
    _check(there, lab)
    kept = (there["Labels"] or {}).get(FOLDER)
    folder = Path(kept or there["Mountpoint"])
    own = bool(kept) or (there.get("Driver") == "local" and not there.get("Options"))
    if not here or not own:
        where = "the engine works on another machine" if not here else f"the driver {there.get('Driver')} keeps it"
        raise EngineError(f"the data of volume {number} of {ref} cannot be reached from here: {where}")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise EngineError(
            f"the data of volume {number} of {ref} cannot be reached from here: {folder} is the engine's own",
            resolution="run the same command as root",
        )
    return folder


def _storage_of(volume: Mapping[str, Any], lab: str, wanted: StorageClass) -> StorageClass:
    """A class by which another volume comes to lie beside an existing one."""
    folder = Path((volume.get("Labels") or {}).get(FOLDER, ""))
    if folder.parts[-3:-1] == (_FOLDER, lab):
        return StorageClass(wanted.name, path=str(folder.parents[2]))
    return StorageClass()


def _ensure(api: APIClient, lab: str, which: Which, storage: StorageClass, *, here: bool) -> None:
    there = find(api, volume_name(*which))
    if there is None:
        _make(api, lab, which, storage, here=here)
    else:
        _check(there, lab)


def find(api: APIClient, name: str) -> Mapping[str, Any] | None:
    """The volume ``name`` as Docker tells of it; None if there is none."""
    from docker.errors import APIError

    try:
        found: Mapping[str, Any] = api.inspect_volume(name)
    except APIError as exc:
        if not refused(exc, 404):
            raise
        return None
    return found


def _make(api: APIClient, lab: str, which: Which, storage: StorageClass, *, here: bool) -> None:
    ref, number, _ = which
    name, labels = volume_name(*which), volume_identity(lab, *which)
    if not storage.path:
        api.create_volume(name, driver=storage.driver or "local", driver_opts=dict(storage.options), labels=labels)
        return
    if not here:
        raise EngineError(
            f"could not make volume {number} of {ref}: {storage.path} is a folder of this machine, and the engine works on another",
            resolution=f"let the class name a driver: labcloud storage set {storage.name or 'default'} --driver D",
        )
    folder = _lab_folder(storage, lab) / name
    options = {"type": "none", "o": "bind", "device": str(folder)}
    api.create_volume(name, driver="local", driver_opts=options, labels=labels | {FOLDER: str(folder)})
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):
            _make_folder(folder)
            return
        _lab_folder(storage, lab)  # the last volume of another cluster was just deleted, and the lab's folder with it
    raise EngineError(f"could not make the folder {folder}", resolution="run the same command again")


def _lab_folder(storage: StorageClass, lab: str) -> Path:
    """Where a lab's volumes lie in a class; made for its owner alone, but for the class' own folder, below a parent that exists."""
    path = Path(storage.path)
    with disk_errors(f"make the folder {path} of the storage class {storage.name or 'default'}"):
        path.mkdir(mode=0o755, exist_ok=True)
        for folder in (path / _FOLDER, path / _FOLDER / lab):
            folder.mkdir(mode=0o700, exist_ok=True)
    return path / _FOLDER / lab


def _make_folder(folder: Path) -> None:
    """Raise FileNotFoundError if the folder that it belongs into is not there."""
    try:
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)  # daemons are other users than the one who owns the lab
    except FileNotFoundError:
        raise
    except OSError as exc:
        with disk_errors(f"make the folder {folder}"):
            raise exc from None


def _check(there: Mapping[str, Any], lab: str) -> None:
    """Whether a volume that exists is this lab's, and its folder is there.

    Where not even the lab's folder in the class is there, its disk is not mounted: an empty folder in its place would pass for lost data.
    """
    labels = there.get("Labels") or {}
    if labels.get(LAB) != lab:
        raise ConflictError(
            f"a volume named {there['Name']} exists already, and is not this lab's",
            resolution="choose another cluster name, or remove that volume",
        )
    folder = Path(labels[FOLDER]) if FOLDER in labels else None
    if folder is None or folder.is_dir():
        return
    if not folder.parent.is_dir():
        raise EngineError(
            f"the volume {there['Name']} lies in {folder}, and that is not there",
            resolution=f"mount the disk of {folder.parents[2]}, then run the same command again",
        )
    _make_folder(folder)  # a run was killed before it came to that


def remove(api: APIClient, lab: str, which: Which) -> None:
    """The volume, and its folder if it has one. Raise ConflictError if a container uses it."""
    ref, number, _ = which
    name = volume_name(*which)
    there = find(api, name)
    folder = Path(((there or {}).get("Labels") or {}).get(FOLDER, ""))
    if folder.parts[-3:] == (_FOLDER, lab, name):
        users = api.containers(all=True, filters={"volume": name})
        if users:
            raise ConflictError(f"could not delete volume {number} of {ref}: its node uses it")
        _delete_folder(api, folder)
    if there is not None:
        api.remove_volume(name, force=True)


def _delete_folder(api: APIClient, folder: Path) -> None:
    if folder.is_dir():
        try:
            shutil.rmtree(folder)
        except PermissionError:
            _delete_as_root(api, folder)
        except OSError as exc:
            with disk_errors(f"delete the folder {folder}"):
                raise exc from None
    for parent in (folder.parent, folder.parent.parent):
        with suppress(OSError):  # others' volumes are there still
            parent.rmdir()


def _delete_as_root(api: APIClient, folder: Path) -> None:
    """Let the engine delete what daemons wrote, for a lab whose owner may not."""
    image = pick_image(api.images(filters={"label": [LABEL_NAME]}))
    if not image:
        raise EngineError(f"could not delete the folder {folder}: what is in it belongs to other users", resolution=f"sudo rm -r {folder}")
    body = {
        "Image": image, "Entrypoint": ["rm", "-rf", "--", f"/mnt/{folder.name}"], "Cmd": [], "User": "0:0",
        "HostConfig": {
            "NetworkMode": "none",
            "Mounts": [{"Type": "bind", "Source": str(folder.parent), "Target": "/mnt"}],
        },
    }  # fmt: skip
    container = str(api.create_container_from_config(body)["Id"])
    try:
        api.start(container)
        if api.wait(container, timeout=_PATIENCE)["StatusCode"]:
            raise EngineError(f"could not delete the folder {folder}", details=api.logs(container).decode(errors="replace"))
    finally:
        remove_container(api, container)


def is_local(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the engine works on this machine for certain: it is reached by a socket."""
    return (environment.get("DOCKER_HOST") or "unix://").startswith("unix://")
