"""Stack images: a profile's distribution, laid out as Apache's tarball is, with all that spares a node's start its work.

Knows profiles only by their attributes; which jars there are is in the profile's lock.
"""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from labcloud.errors import ConfigError
from labcloud.images import download, locks, maven, placement, tree
from labcloud.images.download import Wanted, sha256_of
from labcloud.images.model import LockedFile
from labcloud.images.recipes import Dockerfile, Recipe, Tools

if TYPE_CHECKING:
    from labcloud.images.declarations import Declarations
    from labcloud.profiles import Artifact, Profile

HOME: Final = "/opt/stacks/hadoop"
_BUILD: Final = "/usr/lib/labcloud/build"
_LOCK: Final = "lock.yaml"
# Part of the digest: another number where the same inputs are laid out in another way.
_LAYOUT: Final = 4


class StackRecipe(Recipe):
    """A profile's image on its Java's."""

    def __init__(self, profile: Profile, parent: Recipe, declarations: Declarations) -> None:
        self.name, self.parent = profile.image_name, parent
        self.version, self.java = profile.version, str(profile.java)
        self._profile, self._declarations, self._rules = profile, declarations, declarations.stack
        self._files = locks.read_stack_lock(profile.folders[0] / _LOCK)

    def facts(self) -> Sequence[object]:
        folder = self._declarations.folder
        mine = [tree.digest_of_folder(folder / each) for each in (self._rules.files, self._rules.build)]
        locked = [vars(file) for file in self._files]
        return [self._declarations.text("stack"), *mine, locked, self._tables(), self._profile.stack, _LAYOUT]

    def _tables(self) -> dict[str, str]:
        profile = self._profile
        rows = [
            "\t".join((command, sub, each.class_name, each.options or "-", each.help or "-"))
            for command, subcommands in profile.commands.items()
            for sub, each in subcommands.items()
        ]
        daemons = [f"{service.name}\t{service.user}\t{service.class_name}" for service in profile.services.values()]
        folders = [f"{each.path}\t{each.owner}\t{each.group}\t{each.mode}" for each in profile.filesystem]
        # What the image's own build runs with: as the cluster's JVMs, so that a class-data archive fits them.
        build = [f"JVM_OPTIONS={_quoted(profile.jvm_options)}", f"CLASS_DATA={_quoted(profile.class_data)}"]
        texts = {"commands": rows, "daemons": daemons, "folders": folders, "build.env": build}
        return {name: "\n".join(lines) + "\n" for name, lines in texts.items()}

    def fetch(self, tools: Tools) -> None:
        missing = [each for each in self.downloads() if not tools.cache.has(each.sha256)]
        if missing:
            total = sum(each.size for each in missing) / 1e6
            self.say(tools, f"fetching {len(missing)} files, {total:.0f} MB")
            tools.cache.get_all(missing)

    def downloads(self) -> list[Wanted]:
        return [Wanted(file.url or f"{maven.mirror()}/{file.path}", file.sha256, file.size) for file in self._files if not file.file]

    def build(self, tools: Tools) -> None:
        self.fetch(tools)
        self.layer(tools).write(tools.work / "layer.tar")
        dockerfile = Dockerfile(self.parent_reference, self.labels(), ["layer.tar"], runs=[[f"{_BUILD}/prepare"]])
        Path(tools.work, "Dockerfile").write_text(dockerfile.text(), encoding="utf-8")
        self.say(tools, "laying out the distribution, formatting its file system, archiving its classes")
        tools.store.build(tools.work, self.reference)

    def layer(self, tools: Tools) -> tree.Tree:
        """The distribution, without what only running it can make."""
        layer = tree.Tree(self._declarations.epoch)
        home = f"/opt/stacks/{self._profile.stack}"
        if self._profile.stack != "hadoop":
            layer.add_link(HOME, self._profile.stack)
        for file in self._files:
            self._add_file(layer, home, file, tools)
        layer.add_folder(self._declarations.folder / self._rules.files, home)
        for name, text in self._tables().items():
            layer.add_file(f"{_BUILD if name != 'commands' else home + '/libexec'}/{name}", text.encode())
        layer.add_file(f"{home}/libexec/classpath", (self._class_path() + "\n").encode())
        if not self._profile.class_data:
            layer.add_file(f"{home}/libexec/libraries.jar", self._libraries(tools))
        layer.add_link(f"{home}/etc/hadoop", "/etc/hadoop/conf")
        layer.add_folder(self._declarations.folder / self._rules.build, _BUILD)
        return layer

    def _class_path(self) -> str:
        return placement.class_path(HOME, self._files, self._rules, jars_only=bool(self._profile.class_data))

    def _libraries(self, tools: Tools) -> Path:
        on_path = [file for folder in self._rules.class_path for file in self._files if file.to == folder]
        jars = sorted((file for file in on_path if placement.is_library(file.name, self._rules)), key=lambda file: file.name)
        target = tools.work / "libraries.jar"
        merge_libraries([self._source(file, tools) for file in jars], target, self._rules.not_in_libraries)
        return target

    def _source(self, file: LockedFile, tools: Tools) -> Path:
        return self._profile.folders[0] / file.file if file.file else tools.cache.path(file.sha256)

    def _add_file(self, layer: tree.Tree, home: str, file: LockedFile, tools: Tools) -> None:
        source = self._source(file, tools)
        if placement.holds_web_pages(file.name, self._rules) and not self._profile.class_data:
            for name, page in web_pages(source):
                layer.add_file(f"{home}/{file.to}/{name}", page)
        elif placement.holds_web_pages(file.name, self._rules):
            name = placement.web_pages_jar(file.name)
            pages = tools.work / name
            extract_web_pages(source, pages)
            layer.add_file(f"{home}/{file.to}/{name}", pages)
        elif file.name.endswith(".jar") and not self._profile.class_data:
            plain = tools.work / file.name
            store_plainly(source, plain)
            layer.add_file(f"{home}/{file.to}/{file.name}", plain)
        else:
            layer.add_file(f"{home}/{file.to}/{file.name}", source)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def web_pages(jar: Path) -> Iterator[tuple[str, bytes]]:
    """The web pages in a jar, file by file.

    Jetty 6, which Hadoop 2 has, unpacks pages of a jar one folder too deep to serve them; it needs the folder that the tarball
    has. Where there is a class-data archive, the class path may hold jars only, and Jetty 9 serves from those.
    """
    with zipfile.ZipFile(jar) as source:
        for name in sorted(source.namelist()):
            if name.startswith("webapps/") and not name.endswith("/"):
                yield name, source.read(name)


def extract_web_pages(jar: Path, target: Path) -> None:
    """Write a jar of the web pages alone. Folders are entries of it, as HttpServer2 asks the class loader for them."""
    with zipfile.ZipFile(jar) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as out:
        for name in sorted(name for name in source.namelist() if name.startswith("webapps/")):
            info = zipfile.ZipInfo(name, date_time=(2025, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o40755 if name.endswith("/") else 0o100644) << 16
            out.writestr(info, source.read(name))


def store_plainly(jar: Path, target: Path) -> None:
    """Write the same jar without compression: where no archive has its classes, each start of a JVM is spared the inflating."""
    with zipfile.ZipFile(jar) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as out:
        for info in source.infolist():
            content = source.read(info)
            info.compress_type = zipfile.ZIP_STORED
            info.extra = b""
            out.writestr(info, content)


def merge_libraries(jars: Sequence[Path], target: Path, leave_out: Collection[str]) -> None:
    """Write one jar, without compression, of the classes and resources of ``jars``; of a name that several have, the first counts.

    What is in META-INF stays in the jars themselves: services are looked for on the class path, where those stand as well.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as out:
        written = set(leave_out)
        for jar in jars:
            with zipfile.ZipFile(jar) as source:
                for name in source.namelist():
                    if name not in written and not name.startswith("META-INF/") and not name.endswith("/"):
                        written.add(name)
                        out.writestr(zipfile.ZipInfo(name, date_time=(2025, 1, 1, 0, 0, 0)), source.read(name))


def lock_stack(profile: Profile, declarations: Declarations, scratch: Path) -> tuple[Sequence[LockedFile], list[str]]:
    """Resolve the profile's artifacts. Return what to lock, and the optional artifacts that the repository does not have."""
    rules, left_out, wanted = declarations.stack, [], []
    explicit: dict[str, str] = {}
    files: list[LockedFile] = []
    for artifact in profile.artifacts:
        if not artifact.maven:
            files.append(_lock_single(profile, artifact, scratch))
            continue
        coordinates = maven.Coordinates.parse(artifact.maven)
        if artifact.optional and not maven.available(coordinates):
            left_out.append(artifact.maven)
            continue
        wanted.append((coordinates, artifact.transitive))
        explicit[coordinates.path] = artifact.to
    repository = scratch / "repository"
    for path in maven.resolve(wanted, repository):
        relative = path.relative_to(repository).as_posix()
        to = explicit.get(relative) or placement.folder_of(path.name, rules)
        if to:
            files.append(LockedFile(sha256_of(path), path.stat().st_size, to, path=relative))
    return files, left_out


def _lock_single(profile: Profile, artifact: Artifact, scratch: Path) -> LockedFile:
    """Lock what is named by an address, or by a path beside the profile."""
    if artifact.file:
        path = profile.folders[0] / artifact.file
        if not path.is_file():
            raise ConfigError(f"{profile.name}: {path} does not exist", resolution=f"put it there, or correct the artifact {artifact.name}")
        return LockedFile(sha256_of(path), path.stat().st_size, artifact.to, file=artifact.file)
    path = scratch / "artifact"
    path.write_bytes(download.text(artifact.url))
    return LockedFile(sha256_of(path), path.stat().st_size, artifact.to, url=artifact.url)
