"""The image of what is no node: a few of Debian's programs, and ours."""

from __future__ import annotations

from pathlib import Path

from labcloud.images import debian, tree
from labcloud.images.declarations import Declarations, Helper
from labcloud.images.recipes import Dockerfile, FilesRecipe, Recipe, Tools


class HelperRecipe(FilesRecipe):
    """The operating system with packages. It does nothing unless whoever runs it says what."""

    def __init__(self, name: str, declared: Helper, parent: Recipe, declarations: Declarations) -> None:
        super().__init__(name, parent, declarations.folder / declared.files, declarations.text(name), declarations.epoch)
        self.declared = declared

    def build(self, tools: Tools) -> None:
        self.say(tools, f"installing {', '.join(self.declared.packages)} and what they need from {debian.mirror()}")
        self.layer().write(tools.work / "layer.tar")
        dockerfile = Dockerfile(
            self.parent_reference,
            self.labels(),
            ["layer.tar"],
            entrypoint=["sleep", "infinity"],
            first=debian.installing(self.declared.packages),
        )
        Path(tools.work, "Dockerfile").write_text(dockerfile.text(), encoding="utf-8")
        tools.store.build_online(tools.work, self.reference)

    def layer(self) -> tree.Tree:
        """The files of the declaration."""
        layer = tree.Tree(self._epoch)
        layer.add_folder(self._files)
        return layer
