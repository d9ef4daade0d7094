"""The images that every version shares: the operating system, and the base with users and supervision."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from labcloud.errors import EngineError
from labcloud.images import debian, download, tree
from labcloud.images.declarations import Base, Declarations, System
from labcloud.images.download import Wanted
from labcloud.images.recipes import Dockerfile, FilesRecipe, Recipe, Tools

_MANIFEST: Final = "/usr/share/labcloud/packages"
_LEFTOVERS: Final = "var/lib/apt/lists/* var/cache/apt/*.bin var/log/* etc/hostname etc/resolv.conf"
_AGAIN: Final = "read what it said above, correct it, then run the same command again"


class SystemRecipe(Recipe):
    """Debian from its packages (no image hub takes part), or a hub's image with packages added."""

    def __init__(self, name: str, declared: System, declarations: Declarations) -> None:
        self.name = name
        self._declared = declared
        self._text = declarations.text(name)
        self.version = declared.from_image or declared.suites[0]

    def facts(self) -> Sequence[object]:
        return [self._text]

    def downloads(self) -> Sequence[Wanted]:
        if self._declared.from_image:
            return ()
        return [Wanted(f"{debian.mirror()}/dists/{self._declared.suites[0]}/InRelease", "")]

    def fetch(self, tools: Tools) -> None:
        """Nothing: apt brings the packages while it builds."""

    def build(self, tools: Tools) -> None:
        if self._declared.from_image:
            self._build_on_hub_image(tools)
        else:
            archive = tools.work / "system.tar"
            self.say(tools, f"installing Debian {self.version} from {debian.mirror()}")
            self._bootstrap(archive, tools.work)
            tools.store.import_tar(archive, self.reference, self.labels())

    def _build_on_hub_image(self, tools: Tools) -> None:
        without = [f"-oDpkg::Options::=--path-exclude={pattern}" for pattern in self._declared.exclude]
        install = ["apt-get", "install", "-y", "--no-install-recommends", *without, *self._declared.packages]
        keep = ["sh", "-c", f"mkdir -p {Path(_MANIFEST).parent} && dpkg-query -W > {_MANIFEST} && rm -rf /var/lib/apt/lists/*"]
        dockerfile = Dockerfile(self._declared.from_image, self.labels(), runs=[["apt-get", "update"], install, keep])
        Path(tools.work, "Dockerfile").write_text(dockerfile.text(), encoding="utf-8")
        tools.store.build_online(tools.work, self.reference)

    def _bootstrap(self, archive: Path, work: Path) -> None:
        new = archive.with_name("new-" + archive.name)
        argv = ["mmdebstrap", "--variant=minbase", "--format=tar", "--quiet", f"--include={','.join(self._declared.packages)}"]
        # Clocks of machines in a closed network and a mirror's Release files may disagree.
        argv.append('--aptopt=Acquire::Check-Valid-Until "false"')
        argv += [f"--dpkgopt=path-exclude={pattern}" for pattern in self._declared.exclude]
        # The second argument is the new system's root. A manifest says what was really installed.
        argv.append(f'--customize-hook=mkdir -p "$1{Path(_MANIFEST).parent}"; chroot "$1" dpkg-query -W >"$1{_MANIFEST}"')
        argv.append(f'--customize-hook=cd "$1" && rm -rf {_LEFTOVERS}')
        argv += [self._declared.suites[0], str(new), *self._sources()]
        environment = os.environ | {"SOURCE_DATE_EPOCH": str(self._declared.epoch), "TMPDIR": str(work)}
        try:
            done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        except FileNotFoundError as exc:
            raise EngineError("the program mmdebstrap is missing", resolution="install it: apt-get install mmdebstrap") from exc
        if done.returncode:
            raise EngineError("mmdebstrap could not install Debian", details=done.stderr[-4000:], resolution=_AGAIN)
        new.replace(archive)

    def _sources(self) -> list[str]:
        lines = [f"deb {debian.mirror()} {suite} main" for suite in self._declared.suites]
        security = f"{debian.mirror()}-security"
        # Debian's own server and its full mirrors have it beside the archive; many in closed networks do not.
        if self._declared.security and download.exists(f"{security}/dists/{self._declared.security}/InRelease"):
            lines.append(f"deb {security} {self._declared.security} main")
        return lines


class BaseRecipe(FilesRecipe):
    """Users with fixed ids, folders, links, and the files of images/base/files."""

    def __init__(self, name: str, declared: Base, parent: Recipe, declarations: Declarations) -> None:
        super().__init__(name, parent, declarations.folder / declared.files, declarations.text(name), declarations.epoch)
        self._declared = declared

    def build(self, tools: Tools) -> None:
        layer = self.layer(_read_accounts(tools, self.parent_reference))
        layer.write(tools.work / "layer.tar")
        declared = self._declared
        dockerfile = Dockerfile(
            self.parent_reference, self.labels(), ["layer.tar"], environment=declared.environment, entrypoint=declared.entrypoint
        )
        Path(tools.work, "Dockerfile").write_text(dockerfile.text(), encoding="utf-8")
        tools.store.build(tools.work, self.reference)

    def layer(self, accounts: Mapping[str, str]) -> tree.Tree:
        """What the base adds to a system whose passwd and group are in ``accounts``."""
        layer = tree.Tree(self._epoch)
        layer.add_folder(self._files)
        passwd, group = with_users(accounts["passwd"], accounts["group"], self._declared)
        layer.add_file("etc/passwd", passwd.encode())
        layer.add_file("etc/group", group.encode())
        for user in self._declared.users.values():
            layer.add(user.home, tree.Entry(0o750, user.id, self._declared.groups[user.group]))
        for folder in self._declared.folders:
            gid = self._declared.groups.get(folder.get("group", ""), 0)
            layer.add(folder["path"], tree.Entry(int(folder["mode"], 8), 0, gid))
        for path, target in self._declared.links.items():
            layer.add_link(path, target)
        return layer


def with_users(passwd: str, group: str, declared: Base) -> tuple[str, str]:
    """The two files with the declared users and groups appended."""
    for name, user in declared.users.items():
        passwd += f"{name}:x:{user.id}:{declared.groups[user.group]}:{name}:{user.home}:/bin/bash\n"
    for name, gid in declared.groups.items():
        members = ",".join(each for each, user in declared.users.items() if name in user.groups)
        group += f"{name}:x:{gid}:{members}\n"
    return passwd, group


def _read_accounts(tools: Tools, image: str) -> Mapping[str, str]:
    return {name: tools.store.output(image, ["cat", f"/etc/{name}"]).decode() for name in ("passwd", "group")}
