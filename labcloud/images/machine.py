"""The layer that makes an image a machine's own: kernel, systemd, ssh, cloud-init. Knows no disk: `labcloud.images.disk` makes those."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

from labcloud.images import debian, tree
from labcloud.images.declarations import Declarations, Machine
from labcloud.images.recipes import Dockerfile, FilesRecipe, Recipe, Tools

_BUILD: Final = "/usr/lib/labcloud/build"


class MachineRecipe(FilesRecipe):
    """The base with Debian's packages for a machine. A profile's Java and stack lie beside it, upon the same base."""

    def __init__(self, name: str, declared: Machine, parent: Recipe, declarations: Declarations) -> None:
        super().__init__(name, parent, declarations.folder / declared.files, declarations.text(name), declarations.epoch)
        self.declared = declared

    def build(self, tools: Tools) -> None:
        self.say(tools, f"installing {len(self.declared.packages)} packages and what they need from {debian.mirror()}")
        self.layer().write(tools.work / "layer.tar")
        install = debian.installing(self.declared.packages)
        dockerfile = Dockerfile(self.parent_reference, self.labels(), ["layer.tar"], runs=[[f"{_BUILD}/machine"]], first=install)
        Path(tools.work, "Dockerfile").write_text(dockerfile.text(), encoding="utf-8")
        tools.store.build_online(tools.work, self.reference)

    def layer(self) -> tree.Tree:
        """The files of the declaration, and what the build's script is to do."""
        layer = tree.Tree(self._epoch)
        layer.add_folder(self._files)
        for folder in self.declared.folders:
            layer.add(folder, tree.Entry())
        words = {"UNITS": self.declared.units, "MASKED": self.declared.masked}
        lines = "".join(f"{name}={shlex.quote(' '.join(value))}\n" for name, value in words.items())
        layer.add_file(f"{_BUILD}/machine.env", lines.encode())
        return layer
