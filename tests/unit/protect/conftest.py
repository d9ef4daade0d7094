from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from labcloud.protect.answers import Stored
from labcloud.protect.calling import Watcher
from labcloud.protect.restic import Repository, Upload
from labcloud.protect.staging import Tree
from labcloud.protect.targets import Secrets, Target
from tests.unit.protect.keys import quicken
from tests.unit.protect.vault import Vault

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


@dataclass
class Place:
    """A lab's home with a target beside it, and what a test does there."""

    root: Path

    @property
    def stage(self) -> Path:
        return self.root / "stage"

    @property
    def target(self) -> Target:
        return Target.parse(str(self.root / "target"))

    def repository(
        self, tenant: str = "acme", *, target: Target | None = None, watcher: Watcher | None = None, env: Mapping[str, str] | None = None
    ) -> Repository:
        password = Secrets(self.root / "home").password_file(tenant)
        return Repository((target or self.target).of(tenant), password, env, cache=self.root / "cache", watcher=watcher)

    def back(self, repository: Repository, id: str, into: Path | None = None) -> Path:
        """The folder, new unless it is ``into``, that has worker-0/0 of a copy."""
        folder = into or Path(tempfile.mkdtemp(dir=self.root))
        repository.restore(id, {"worker-0/0": folder}, stage=self.stage)
        return folder

    def folder(self, name: str, **files: bytes | str) -> Path:
        folder = self.root / "data" / name
        folder.mkdir(parents=True, exist_ok=True)
        for each, content in files.items():
            (folder / each).write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder


Store = Callable[..., Stored]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "target").mkdir()
    return Place(tmp_path)


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A lab with an empty repository, which opens in no time."""
    made = Place(tmp_path_factory.mktemp("empty"))
    (made.root / "target").mkdir()
    made.repository().ensure()
    quicken(made.root / "target/acme", Secrets(made.root / "home").password_file("acme").read_bytes().strip())
    return made


@pytest.fixture
def repository(place: Place, empty: Place) -> Repository:
    for each in ("target", "home"):
        shutil.copytree(empty.root / each, place.root / each, dirs_exist_ok=True)
    return place.repository()


@pytest.fixture
def store(place: Place, repository: Repository) -> Store:
    """Stores a folder as worker-0/0, with a manifest."""

    def stored(folder: Path, *, time: datetime = NOON, host: str = "acme/c", tag: str = "consistent", parent: str = "") -> Stored:
        tree = Tree({"worker-0/0": folder}, {"manifest.json": f'{{"of": "{folder.name}"}}'.encode()})
        return repository.backup(Upload(tree, host, ("labcloud", tag), time, parent), stage=place.stage)

    return stored


@pytest.fixture
def vault(tmp_path: Path, empty: Place) -> Vault:
    """A cluster of one master and two workers, and its tenant's repository, in which nothing is yet."""
    made = Vault(tmp_path)
    made.create()
    shutil.copytree(empty.root / "target", made.lab.home / "backups")
    shutil.copytree(empty.root / "home/secrets", made.lab.home / "secrets", dirs_exist_ok=True)
    return made
