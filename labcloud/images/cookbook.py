"""Every recipe there is, by its image's name: those that are declared, and one a profile. Knows no engine."""

from __future__ import annotations

from pathlib import Path

from labcloud import profiles
from labcloud.errors import NotFoundError
from labcloud.images import declarations
from labcloud.images.declarations import Base, Declarations, Helper, Java, Machine, System
from labcloud.images.helper import HelperRecipe
from labcloud.images.java import JavaRecipe
from labcloud.images.machine import MachineRecipe
from labcloud.images.recipes import Recipe
from labcloud.images.stacks import StackRecipe
from labcloud.images.system import BaseRecipe, SystemRecipe


class Cookbook:
    """``folder`` holds the declarations, ``profile_root`` the profiles. A recipe is read once."""

    def __init__(self, folder: Path = declarations.FOLDER, profile_root: Path | None = None) -> None:
        self.declarations: Declarations = declarations.load(folder)
        self.profile_root = profile_root
        self._recipes: dict[str, Recipe] = {}

    def names(self) -> list[str]:
        """Every image that can be built: those that are declared, then one a profile."""
        return [*self.declarations.images, *profiles.names(self.profile_root)]

    def recipe(self, name: str) -> Recipe:
        """The recipe of an image. Raise NotFoundError, or ConfigError if its declaration or lock is wrong."""
        if name not in self._recipes:
            self._recipes[name] = self._make_recipe(name)
        return self._recipes[name]

    def _make_recipe(self, name: str) -> Recipe:
        declared = self.declarations.images.get(name)
        match declared:
            case System():
                return SystemRecipe(name, declared, self.declarations)
            case Base():
                return BaseRecipe(name, declared, self.recipe(declared.parent), self.declarations)
            case Java():
                return JavaRecipe(name, declared, self.recipe(declared.parent), self.declarations)
            case Machine():
                return MachineRecipe(name, declared, self.recipe(declared.parent), self.declarations)
            case Helper():
                return HelperRecipe(name, declared, self.recipe(declared.parent), self.declarations)
        if name not in profiles.names(self.profile_root):
            raise NotFoundError(f"there is no image {name!r}", resolution=f"choose one of {', '.join(self.names())}")
        profile = profiles.load(name, self.profile_root)
        return StackRecipe(profile, self.recipe(f"java-{profile.java}"), self.declarations)
