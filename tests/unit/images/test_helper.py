"""The image of what is no node: what it is built of, what stands apart from it, how it is looked at, when it goes."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from labcloud.errors import ConfigError, NotFoundError
from labcloud.images import declarations
from labcloud.images.helper import HelperRecipe
from labcloud.images.machines import Machines
from labcloud.images.model import DiskFormat, Layer, StoredImage
from labcloud.images.recipes import Recipe
from labcloud.images.room import Images

PACKAGES = ["iproute2", "nftables", "rsync", "dnsmasq-base"]
SCRIPTS = ["usr/lib/labcloud/link", "usr/lib/labcloud/stand-in"]
DEBIAN, ADDED = Layer("debian", 80), Layer("carrier", 14)


class Container:
    """Says what a container of the image says, but for programs that it has not got."""

    def __init__(self, *missing: str) -> None:
        self._missing = missing
        self.asked: list[str] = []

    def run(self, argv: Sequence[str], *, user: str = "root") -> tuple[int, str]:  # noqa: ARG002 - as Sandbox has it
        self.asked.append(argv[0])
        if argv[0] in self._missing:
            return 127, "exec failed: no such file\n"
        if argv[0] == "dpkg-query":
            gone = [name for name in argv[3:] if name in self._missing]
            return (1, f"dpkg-query: no packages found matching {gone[0]}\n") if gone else (0, "".join(f"{name} 1, " for name in argv[3:]))
        return 0, "".join(f"/{path} " for path in argv[4:] if path in self._missing)


class Store:
    """An engine that keeps what it was told to build, and what images it has."""

    def __init__(self, container: Container | None = None) -> None:
        self.container = container or Container()
        self.found: list[StoredImage] = []
        self.dockerfile = ""
        self.files: Mapping[str, int] = {}
        self.tags: list[str] = []

    def images(self, *, layers: bool = False) -> Sequence[StoredImage]:  # noqa: ARG002 - as ImageStore has it
        return list(self.found)

    def has(self, recipe: Recipe, digest: str = "", *, in_use: bool = False) -> None:
        name, digest = recipe.name, digest or recipe.digest
        labels = {**recipe.labels(), "labcloud.digest": digest}
        layers = (DEBIAN,) if recipe.parent is None else (DEBIAN, Layer(f"{name}-{digest}", ADDED.size))
        self.found.append(StoredImage(f"{name}-{digest}", (f"labcloud/{name}:{digest}",), labels, layers, in_use))

    def build_online(self, context: Path, tag: str) -> None:
        self.tags.append(tag)
        self.dockerfile = (context / "Dockerfile").read_text()
        with tarfile.open(context / "layer.tar") as archive:
            self.files = {each.name: each.mode for each in archive if each.isfile()}

    def tag(self, image: str, tag: str) -> None:
        self.tags.append(f"{image} {tag}")

    def remove(self, image: str) -> None:
        self.found = [each for each in self.found if image not in each.tags]

    @contextmanager
    def sandbox(self, image: str) -> Iterator[Container]:  # noqa: ARG002 - as ImageStore has it
        yield self.container


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(declarations.FOLDER, tmp_path / "images"))


def images(folder: Path, store: Store | None = None) -> Images:
    return Images(store or Store(), folder.parent / "cache", folder=folder)  # type: ignore[arg-type]


def test_it_is_one_of_all_images_and_stands_on_debian_alone(folder: Path) -> None:
    here = images(folder)
    recipe = here.recipe("carrier")
    assert isinstance(recipe, HelperRecipe)
    assert "carrier" in here.names()
    assert [each.name for each in recipe.ancestry()] == ["debian", "carrier"]
    assert (recipe.version, recipe.java) == ("trixie", "")
    with pytest.raises(NotFoundError, match="no image 'carier'") as caught:
        here.recipe("carier")
    assert "carrier" in caught.value.resolution.removeprefix("choose one of ").split(", ")


@pytest.mark.parametrize("changed", ["carrier.yaml", *(f"carrier/files/{path}" for path in SCRIPTS)])
def test_no_node_is_made_of_it(folder: Path, changed: str) -> None:
    before = {name: images(folder).recipe(name).digest for name in images(folder).names()}
    with (folder / changed).open("a") as file:
        file.write("# changed\n")
    after = {name: images(folder).recipe(name).digest for name in before}
    assert [name for name in before if before[name] != after[name]] == ["carrier"]


def test_a_node_does_not_change_it(folder: Path) -> None:
    before = images(folder).recipe("carrier").digest
    for changed in ("base.yaml", "machine.yaml", "base/files/usr/lib/labcloud/init"):
        with (folder / changed).open("a") as file:
            file.write("# changed\n")
    assert images(folder).recipe("carrier").digest == before
    with (folder / "debian.yaml").open("a") as file:
        file.write("# changed\n")
    assert images(folder).recipe("carrier").digest != before


def test_packages_come_first_then_files_that_can_be_executed_and_it_waits_to_be_told(folder: Path) -> None:
    store = Store()
    here = images(folder, store)
    recipe = here.recipe("carrier")
    store.has(here.recipe("debian"))
    debian, built = here.build(["carrier"])
    assert (debian.made, built.made) == (False, True)
    assert store.tags[-2:] == [recipe.reference, f"{recipe.reference} labcloud/carrier:latest"]
    source, install, add, entrypoint, *labels = store.dockerfile.splitlines()
    assert source == f"FROM {here.recipe('debian').reference}"
    command = json.loads(install.removeprefix("RUN "))
    assert command[-len(PACKAGES) :] == PACKAGES
    assert "--no-install-recommends" in command[2]
    assert (add, entrypoint) == ("ADD layer.tar /", 'ENTRYPOINT ["sleep", "infinity"]')
    assert f'LABEL labcloud.digest="{recipe.digest}"' in labels
    assert dict.fromkeys(SCRIPTS, 0o755).items() <= store.files.items()


def test_what_is_built_is_not_built_again(folder: Path) -> None:
    store = Store()
    here = images(folder, store)
    store.has(here.recipe("debian"))
    store.has(here.recipe("carrier"))
    assert [each.made for each in here.build(["carrier"])] == [False, False]
    assert store.dockerfile == ""


@pytest.mark.parametrize(
    ("missing", "failed"),
    [
        ("", {}),
        ("bridge", {"programs": "wrong: bridge"}),
        ("dnsmasq", {"programs": "wrong: dnsmasq"}),
        ("rsync", {"packages": "dpkg-query: no packages found matching rsync", "programs": "wrong: rsync"}),
        (SCRIPTS[0], {"files": f"missing: /{SCRIPTS[0]}"}),
    ],
)
def test_it_is_verified_by_what_it_is_there_for(folder: Path, missing: str, failed: Mapping[str, str]) -> None:
    store = Store(Container(missing))
    here = images(folder, store)
    store.has(here.recipe("carrier"))
    verified = here.verify("carrier")
    assert [check.id for check in verified.checks] == ["packages", "programs", "files"]
    assert {check.id: check.summary for check in verified.checks if not check.ok} == failed
    assert verified.ok == (not failed)
    assert {"ip", "bridge", "nft", "rsync", "dnsmasq"} <= set(store.container.asked)


def test_what_is_not_built_cannot_be_verified(folder: Path) -> None:
    with pytest.raises(NotFoundError, match="carrier is not built"):
        images(folder).verify("carrier")


def test_only_the_newest_and_what_is_in_use_are_kept(folder: Path) -> None:
    store = Store()
    here = images(folder, store)
    store.has(here.recipe("debian"))
    for digest, in_use in (("", False), ("111111111111", False), ("222222222222", True)):
        store.has(here.recipe("carrier"), digest, in_use=in_use)
    assert here.prune().removed == ("labcloud/carrier:111111111111",)
    assert [each.key[1] for each in store.found[1:]] == [here.recipe("carrier").digest, "222222222222"]


def test_it_has_no_disk(folder: Path) -> None:
    with pytest.raises(ConfigError, match="carrier is no image of a node"):
        Machines(images(folder), folder.parent / "machines").build("carrier", DiskFormat.RAW)


def test_a_declaration_without_packages_is_named(folder: Path) -> None:
    (folder / "carrier.yaml").write_text("kind: helper\nparent: debian\nfiles: carrier/files\n")
    with pytest.raises(ConfigError, match=r"carrier\.yaml: something is missing"):
        images(folder)
