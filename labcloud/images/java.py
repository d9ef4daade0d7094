"""Java images: a Debian package of the runtime, without what a server never needs, as a layer at /opt/java."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from labcloud.errors import EngineError
from labcloud.images import debian, locks, tree
from labcloud.images.declarations import Declarations, Java
from labcloud.images.download import GoneError, Wanted
from labcloud.images.keystore import trust_store
from labcloud.images.model import Level, LockedPackage
from labcloud.images.recipes import Dockerfile, Recipe, Tools

HOME: Final = "/opt/java"
_CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"


class JavaRecipe(Recipe):
    """A runtime by its lock. Where Debian has moved on and nobody kept the package, today's of the same Java is taken."""

    def __init__(self, name: str, declared: Java, parent: Recipe, declarations: Declarations) -> None:
        self.name, self.parent = name, parent
        self._declared, self._epoch = declared, declarations.epoch
        self._text = declarations.text(name)
        self._package = locks.read_package_lock(declarations.lock_path(name))
        self._arrived: Path | None = None
        self.java, self.version = str(declared.java), self._package.version

    def facts(self) -> Sequence[object]:
        return [self._text, vars(self._package)]

    def downloads(self) -> Sequence[Wanted]:
        return [_wanted(self._package)]

    def fetch(self, tools: Tools) -> None:
        self.say(tools, f"fetching {self._package.package} {self._package.version}")
        try:
            self._arrived = tools.cache.get(_wanted(self._package))
        except GoneError:
            current = debian.current_package(self._declared.suite, self._package.package)
            gone = f"Debian no longer has {self._package.package} {self._package.version}, which the lock names"
            self.say(tools, f"{gone}; taking {current.version} instead", Level.WARNING)
            self._arrived = tools.cache.get(_wanted(current))
            self.version = current.version

    def build(self, tools: Tools) -> None:
        if self._arrived is None:
            self.fetch(tools)
        assert self._arrived is not None  # noqa: S101
        certificates = tools.store.output(self.parent_reference, ["cat", _CERTIFICATES]).decode()
        layer = tree.Tree(self._epoch)
        files = runtime_files(self._arrived, self._declared, tools.work / "runtime")
        for path, entry in files.items():
            layer.add(f"{HOME}/{path}", entry)
        layer.add_file(f"{HOME}/lib/security/cacerts", trust_store(certificates, self._epoch))
        layer.write(tools.work / "layer.tar")
        runs = [[f"{HOME}/bin/java", *self._declared.class_archive]] if self._declared.class_archive else []
        dockerfile = Dockerfile(self.parent_reference, self.labels(), ["layer.tar"], environment={"JAVA_HOME": HOME}, runs=runs)
        _write_context(tools.work, dockerfile)
        tools.store.build(tools.work, self.reference)


def _write_context(work: Path, dockerfile: Dockerfile) -> None:
    Path(work, "Dockerfile").write_text(dockerfile.text(), encoding="utf-8")
    Path(work, ".dockerignore").write_text("runtime\n", encoding="utf-8")


def _wanted(package: LockedPackage) -> Wanted:
    return Wanted(f"{debian.mirror()}/{package.path}", package.sha256, package.size)


def runtime_files(package: Path, declared: Java, scratch: Path) -> Mapping[str, tree.Entry]:
    """The runtime's files by their path under its home. Debian keeps its configuration under /etc, behind links: those
    become files."""
    files: dict[str, tree.Entry] = {}
    links: dict[str, str] = {}
    with debian.unpacked(package) as archive:
        for member in archive:
            path = posixpath.normpath(member.name)
            if member.issym() or member.islnk():
                links[path] = _target(path, member)
            elif member.isfile():
                files[path] = _kept(archive, member, scratch / path)
    found: dict[str, tree.Entry] = {}
    prefix = declared.root + "/"
    for path in [*files, *links]:
        if not path.startswith(prefix) or any(fnmatchcase(path.removeprefix(prefix), pattern) for pattern in declared.drop):
            continue
        entry = _followed(path, files, links)
        if entry is not None:
            found[path.removeprefix(prefix)] = entry
    if "bin/java" not in found:
        raise EngineError(f"{package} holds no {declared.root}/bin/java", resolution=f"correct 'root:' in images/java-{declared.java}.yaml")
    return found


def _target(path: str, member: tarfile.TarInfo) -> str:
    if member.islnk():
        return posixpath.normpath(member.linkname)
    return posixpath.normpath(posixpath.join("/" + posixpath.dirname(path), member.linkname)).lstrip("/")


def _kept(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> tree.Entry:
    target.parent.mkdir(parents=True, exist_ok=True)
    source = archive.extractfile(member)
    assert source is not None  # noqa: S101
    with target.open("wb") as out:
        while chunk := source.read(1 << 20):
            out.write(chunk)
    return tree.Entry(mode=member.mode & 0o755 | 0o444, content=target)


def _followed(path: str, files: Mapping[str, tree.Entry], links: Mapping[str, str]) -> tree.Entry | None:
    for _ in range(8):
        if path in files:
            return files[path]
        if path not in links:
            return None
        path = links[path]
    return None
