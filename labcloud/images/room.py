"""Everything that can be asked about images: build, list, verify, prune, lock. The one class that a command line needs."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from labcloud import profiles
from labcloud.errors import ConfigError, NotFoundError
from labcloud.images import debian, declarations, locks, sizes, verifying
from labcloud.images.cookbook import Cookbook
from labcloud.images.declarations import Java
from labcloud.images.download import Cache
from labcloud.images.model import Built, Event, ImageList, Level, Progress, Pruned, StoredImage, Verified, silent
from labcloud.images.recipes import Recipe, Tools
from labcloud.images.stacks import lock_stack
from labcloud.images.store import ImageStore

_BUILDERS: Final = 2


class Images:
    """The images of a lab. ``cache`` keeps downloads; ``folder`` holds the declarations, ``profile_root`` the profiles."""

    def __init__(self, store: ImageStore, cache: Path, *, folder: Path = declarations.FOLDER, profile_root: Path | None = None) -> None:
        self._store = store
        self._cache_folder = cache
        self._cookbook = Cookbook(folder, profile_root)

    def names(self) -> list[str]:
        """Every image that can be built: those that are declared, then one a profile."""
        return self._cookbook.names()

    def recipe(self, name: str) -> Recipe:
        """The recipe of an image. Raise NotFoundError, or ConfigError if its declaration or lock is wrong."""
        return self._cookbook.recipe(name)

    def build(self, names: Sequence[str], progress: Progress = silent) -> list[Built]:
        """Make what is missing of the images and what they stand on; return all of those, parents first.

        What exists by its digest is left alone. Everything that comes from elsewhere is fetched while the first is built.
        """
        wanted = {each.name: each for name in names for each in self.recipe(name).ancestry()}
        present = {image.key for image in self._store.images()}
        missing = [each for each in wanted.values() if (each.name, each.digest) not in present]
        with ThreadPoolExecutor(_BUILDERS, thread_name_prefix="build") as builders, ThreadPoolExecutor(1) as fetcher:
            fetches = {each.name: fetcher.submit(self._fetch, each, progress) for each in missing}
            futures: dict[str, Future[Built]] = {}
            for each in wanted.values():
                futures[each.name] = builders.submit(self._build_one, each, fetches, futures, progress)
            try:
                return [future.result() for future in futures.values()]
            except BaseException:
                for name in wanted:
                    futures[name].cancel()
                for fetch in fetches.values():
                    fetch.cancel()
                raise

    def _fetch(self, recipe: Recipe, progress: Progress) -> None:
        recipe.fetch(Tools(self._store, self._cache(), self._cache_folder, progress))

    def _build_one(self, recipe: Recipe, fetches: dict[str, Future[None]], futures: dict[str, Future[Built]], progress: Progress) -> Built:
        # Parents were handed in earlier, so they are done, or at work in another thread: waiting for them always ends.
        if recipe.parent is not None:
            futures[recipe.parent.name].result()
        begin = time.monotonic()
        made = recipe.name in fetches
        if made:
            fetches[recipe.name].result()
            with self._work_folder() as work:
                recipe.build(Tools(self._store, self._cache(), work, progress))
        self._store.tag(recipe.reference, recipe.latest)
        seconds = time.monotonic() - begin
        progress(Event(f"built in {seconds:.1f} s" if made else "is there already", recipe.name))
        return Built(recipe.name, recipe.reference, recipe.digest, made, seconds)

    def save(self, name: str, archive: Path) -> None:
        """Write the image, as it is declared today, into a tar file. It is built."""
        self._store.save(self.recipe(name).reference, archive)

    def list_images(self) -> ImageList:
        """Every image that labcloud made, each with what it adds and what it shares, and the sum."""
        return sizes.table(self._store.images(layers=True), self._current())

    def verify(self, name: str, progress: Progress = silent) -> Verified:
        """Start the image and look at it. Raise NotFoundError if it is not built."""
        recipe = self.recipe(name)
        image = next((each for each in self._store.images() if each.key == (name, recipe.digest)), None)
        if image is None:
            raise NotFoundError(f"the image {name} is not built", resolution=f"run 'labcloud image build {name}' first")
        with self._store.sandbox(recipe.reference) as sandbox:
            return verifying.verify(recipe, sandbox, progress)

    def prune(self, progress: Progress = silent) -> Pruned:
        """Remove the images that no current digest names and no container uses."""
        current = self._current()
        before = sizes.table(self._store.images(layers=True), current).total
        removed: list[str] = []
        for image in self._stale(current):
            for name in image.tags or (image.id,):
                self._store.remove(name)
            removed += image.tags or (image.id,)
            progress(Event("removed", image.name))
        after = sizes.table(self._store.images(layers=True), current).total
        return Pruned(tuple(removed), before - after)

    def _stale(self, current: set[tuple[str, str]]) -> list[StoredImage]:
        """What can go, children before parents: a child has the layers of its parent and more."""
        unknown = set(self.names()) - {name for name, _ in current}
        images = self._store.images(layers=True)
        used = [image for image in images if image.in_use or image.key in current or image.name in unknown]
        needed = {layer.id for image in used for layer in image.layers}
        stale = [image for image in images if image not in used and not _is_part(image, used, needed)]
        return sorted(stale, key=lambda image: len(image.layers), reverse=True)

    def _current(self) -> set[tuple[str, str]]:
        """The digests that recipes have today. A profile that is not locked, or broken, has none; its images are kept."""
        found = set()
        for name in self.names():
            with suppress(ConfigError):
                found.add((name, self.recipe(name).digest))
        return found

    def lock(self, names: Sequence[str], progress: Progress = silent) -> list[Path]:
        """Write the lock files of profiles and Java images anew, as the archives are today. Return their paths."""
        return [self._lock_one(name, progress) for name in names]

    def _lock_one(self, name: str, progress: Progress) -> Path:
        declared = self._cookbook.declarations.images.get(name)
        if isinstance(declared, Java):
            path = self._cookbook.declarations.lock_path(name)
            locks.write_package_lock(path, debian.current_package(declared.suite, declared.package))
            return path
        profile = profiles.load(name, self._cookbook.profile_root)
        with self._work_folder() as scratch:
            files, left_out = lock_stack(profile, self._cookbook.declarations, scratch)
        for each in left_out:
            progress(Event(f"{each} is not in the repository; it is optional and left out", name, Level.WARNING))
        path = profile.folders[0] / "lock.yaml"
        locks.write_stack_lock(path, files)
        progress(Event(f"locked {len(files)} files", name))
        return path

    def _cache(self) -> Cache:
        return Cache(self._cache_folder)

    @contextmanager
    def _work_folder(self) -> Iterator[Path]:
        self._cache_folder.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="work-", dir=self._cache_folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _is_part(image: StoredImage, used: Sequence[StoredImage], needed: set[str]) -> bool:
    """Whether a used image stands on this one: all its layers are then needed anyway, and nothing would be freed."""
    return all(layer.id in needed for layer in image.layers) and any(
        tuple(each.layers[: len(image.layers)]) == image.layers for each in used
    )
