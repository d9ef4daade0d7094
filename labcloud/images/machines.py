"""Images as disks that machines boot from: the layers of an image and of the declared machine in one file system.

Disks lie in one folder by name and digest. Beside each is a file of facts, written last: a disk without it was never finished and does not
count. Knows no cloud and no emulator.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from labcloud.errors import ConfigError, ConflictError, NotFoundError
from labcloud.images import disk, layers
from labcloud.images.machine import MachineRecipe
from labcloud.images.model import BuiltDisk, DiskFormat, DiskImage, Event, Progress, silent
from labcloud.images.recipes import Recipe, digest_of
from labcloud.images.room import Images

_MACHINE: Final = "machine"
_GIB: Final = 1 << 30
# Part of the digest: another number where the same layers are laid out on a disk in another way.
_LAYOUT: Final = 1
_NAMESPACE: Final = uuid.UUID("6b1f7a3e-52d5-4b0e-9c1a-0d6b8a6c7f11")
_HOSTS: Final = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
# Left in a tree by the engine that made it.
_ENGINES: Final = (".dockerenv", "vmlinuz.old", "initrd.img.old")


class Machines:
    """The disks in ``folder``, made of the images of ``images``."""

    def __init__(self, images: Images, folder: Path) -> None:
        self._images = images
        self._folder = folder

    def digest(self, name: str) -> str:
        """What names the disk of the image ``name`` as everything is declared today. Raise ConfigError if it cannot have one."""
        machine = self._machine()
        recipe = self._images.recipe(name)
        if machine.parent not in recipe.ancestry()[:-1]:
            resolution = "name a profile, or the image of a Java"
            raise ConfigError(f"{name} is no image of a node: it does not stand on {machine.declared.parent}", resolution=resolution)
        return digest_of(recipe.digest, machine.digest, _LAYOUT)

    def build(self, name: str, format: DiskFormat, progress: Progress = silent) -> BuiltDisk:
        """Make the disk and the images it is of, or what is missing of those. One that is broken off goes on with the next of its parts."""
        begin = time.monotonic()
        digest = self.digest(name)
        found = self._read(self._path(name, digest, format))
        if found is not None:
            progress(Event(f"is there already as {format}", name))
            return BuiltDisk(found, False, time.monotonic() - begin)
        self._folder.mkdir(parents=True, exist_ok=True)
        made = self._read(self._path(name, digest, DiskFormat.RAW)) or self._make_raw(name, digest, progress)
        if format is not DiskFormat.RAW:
            made = self._convert(made, progress)
        seconds = time.monotonic() - begin
        progress(Event(f"built as {format} in {seconds:.1f} s", name))
        return BuiltDisk(made, True, seconds)

    def list_disks(self) -> list[DiskImage]:
        """Every finished disk, by name; the newest first of each."""
        found = (self._read(facts.with_suffix("")) for facts in self._folder.glob("*.json"))
        return sorted((each for each in found if each), key=lambda each: (each.name, -each.built, each.format))

    def is_current(self, image: DiskImage) -> bool:
        """Whether it is what is declared today. An image that cannot be read, or that nothing declares, is not."""
        try:
            return self.digest(image.name) == image.digest
        except (ConfigError, NotFoundError):
            return False

    def find(self, name: str, format: DiskFormat) -> DiskImage:
        """The disk of the image as it is declared today. Raise NotFoundError if it is not built."""
        found = self._read(self._path(name, self.digest(name), format))
        if found is None:
            resolution = f"run 'labcloud image build {name} --format {format}' first"
            raise NotFoundError(f"the image {name} is not built as {format}", resolution=resolution)
        return found

    def prune(self, progress: Progress = silent) -> tuple[list[str], int]:
        """Remove the disks that nothing declares any more. Return their names, and the bytes given back."""
        removed, freed = [], 0
        for each in self.list_disks():
            if not self.is_current(each):
                _facts(each.path).unlink(missing_ok=True)
                each.path.unlink(missing_ok=True)
                removed.append(each.path.name)
                freed += each.stored
                progress(Event(f"removed the {each.format} of {each.digest}", each.name))
        return removed, freed

    def _machine(self) -> MachineRecipe:
        recipe = self._images.recipe(_MACHINE)
        assert isinstance(recipe, MachineRecipe)  # noqa: S101 - the declaration says so
        return recipe

    def _path(self, name: str, digest: str, format: DiskFormat) -> Path:
        return self._folder / f"{name}-{digest}.{format}"

    def _read(self, path: Path) -> DiskImage | None:
        try:
            facts = json.loads(_facts(path).read_text(encoding="utf-8"))
            stored = path.stat().st_blocks * 512
        except FileNotFoundError:
            return None
        return DiskImage(**{**facts, "path": path, "format": DiskFormat(facts["format"]), "stored": stored})

    def _make_raw(self, name: str, digest: str, progress: Progress) -> DiskImage:
        if os.geteuid() != 0:
            raise ConflictError("only root can lay out a file system with other owners' files", resolution="run the same command with sudo")
        self._images.build([_MACHINE, name], progress)
        recipe, declared = self._images.recipe(name), self._machine().declared
        path = self._path(name, digest, DiskFormat.RAW)
        with self._work_folder() as work:
            tree = self._lay_out([self._machine(), recipe], work, progress)
            progress(Event("making the disk", name))
            identity = uuid.uuid5(_NAMESPACE, digest)
            disk.make(tree, work / path.name, kernel_options=declared.kernel_options, spare=declared.spare, identity=identity)
            virtual = (work / path.name).stat().st_size
            image = DiskImage(
                name,
                digest,
                DiskFormat.RAW,
                path,
                recipe.version,
                recipe.java,
                virtual,
                0,
                "",
                int(time.time()),
                -(-virtual // _GIB),
                declared.memory,
            )
            return self._keep(work / path.name, image)

    def _lay_out(self, recipes: Sequence[Recipe], work: Path, progress: Progress) -> Path:
        saved = []
        for recipe in recipes:
            progress(Event("taking its layers from the engine", recipe.name))
            archive = work / f"{recipe.name}.tar"
            self._images.save(recipe.name, archive)
            saved.append(layers.read(archive))
        root = work / "root"
        root.mkdir(mode=0o755)
        progress(Event("laying out its files", recipes[-1].name))
        layers.unpack(saved, root)
        _furnish(root, saved[-1].environment)
        return root

    def _convert(self, raw: DiskImage, progress: Progress) -> DiskImage:
        progress(Event("compressing the disk", raw.name))
        path = self._path(raw.name, raw.digest, DiskFormat.QCOW2)
        with self._work_folder() as work:
            disk.convert(raw.path, work / path.name)
            return self._keep(work / path.name, replace(raw, format=DiskFormat.QCOW2, path=path))

    def _keep(self, made: Path, image: DiskImage) -> DiskImage:
        with made.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha512").hexdigest()
        made.replace(image.path)
        whole = replace(image, sha512=checksum, stored=image.path.stat().st_blocks * 512)
        facts = {key: value for key, value in asdict(whole).items() if key not in ("path", "stored")}
        new = _facts(image.path).with_suffix(".new")
        new.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        new.replace(_facts(image.path))
        return whole

    @contextmanager
    def _work_folder(self) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(prefix="work-", dir=self._folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _facts(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _furnish(root: Path, environment: Sequence[str]) -> None:
    """What a container's engine gives it and a machine has itself: its table of file systems, names, resolver, environment."""
    for name in _ENGINES:
        (root / name).unlink(missing_ok=True)
    files = {
        "etc/fstab": f"LABEL={disk.LABEL} / ext4 noatime 0 1\n",
        "etc/hosts": _HOSTS,
        "etc/hostname": "localhost\n",
        "etc/environment": "".join(f"{line}\n" for line in environment),
    }
    for name, text in files.items():
        (root / name).unlink(missing_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    resolver = root / "etc/resolv.conf"
    resolver.unlink(missing_ok=True)
    resolver.symlink_to("/run/systemd/resolve/resolv.conf")
