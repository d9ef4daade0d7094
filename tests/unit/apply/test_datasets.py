"""The verbs for datasets, on the simulated engine: what is stored, wanted, seen by nodes and in HDFS, whatever broke off."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from labcloud.apply.datasets import Addition, Datasets
from labcloud.apply.loading import hdfs_folder
from labcloud.apply.watch import Kind
from labcloud.datasets.importing import Source
from labcloud.datasets.store import Store
from labcloud.errors import ConfiguringError, ConflictError, EngineError, LabError, NotFoundError, PreflightError, UsageError
from labcloud.lab.locks import dataset_lock
from labcloud.model import ClusterRef, Found, NodeRef
from labcloud.model.dataset import NEWEST
from labcloud.providers.base import Command, Result
from labcloud.providers.simulated import Faults, Killed
from tests.unit.apply.conftest import REF, TERMS, Shop, asked

FOREIGN = ClusterRef("blue", "c")
MASTER = NodeRef(REF, "master", 0)


@dataclass
class Library:
    """The verbs of a shop, and a folder to import from."""

    shop: Shop
    source: Path

    def verbs(self, faults: Faults | None = None) -> Datasets:
        engine = self.shop.provider(faults=faults)
        return Datasets(self.shop.lab, self.shop.journal(), lambda _: engine, self.shop.watch)

    def add(self, name: str = "d", text: str = "one\n", **said: object) -> int:
        (self.source / "a" / "x y.txt").write_text(text)
        return self.verbs().add(Addition(name, Source(str(self.source)), **said)).version.number  # type: ignore[arg-type]

    def read(self, ref: ClusterRef = REF, path: str = "/datasets/d/a/x y.txt") -> str:
        result = self.shop.provider().execute(NodeRef(ref, "worker", 0), Command(("cat", path)))
        return result.stdout.decode() if result.exit_code == 0 else ""

    def create(self, ref: ClusterRef = REF, **changed: object) -> None:
        self.shop.clusters().create(asked(ref, **changed), TERMS)

    @property
    def store(self) -> Store:
        return Store(self.shop.home / "datasets" / "store")


@pytest.fixture
def library(shop: Shop, tmp_path: Path) -> Library:
    (tmp_path / "source" / "a").mkdir(parents=True)
    (tmp_path / "source" / "same").write_text("same\n")
    for name in ("acme", "blue"):
        shop.lab.ensure_tenant(name)
    return Library(shop, tmp_path / "source")


# Adding


def test_the_same_content_makes_no_new_version(library: Library) -> None:
    assert library.add(title="First") == 1
    again = library.verbs().add(Addition("d", Source(str(library.source))))
    assert (again.version.number, again.new) == (1, False)
    assert library.add(text="two\n") == 2
    dataset = library.verbs().known("d")
    assert ([each.number for each in dataset.versions], dataset.title) == ([1, 2], "First")
    assert dataset.versions[0].source == str(library.source)
    assert library.shop.journal().operations(1)[0].verb == "dataset add"


def test_a_title_changes_without_a_version(library: Library) -> None:
    library.add()
    assert library.verbs().add(Addition("d", Source(str(library.source)), title="Now")).new is False
    assert library.verbs().known("d").title == "Now"


def test_what_contradicts_what_is_there_is_refused(library: Library) -> None:
    library.add()
    with pytest.raises(UsageError, match="--for is for a new one"):
        library.add(tenants=["acme"])
    with pytest.raises(ConflictError, match="lies in the storage class"):
        library.add(storage="bulk")
    with pytest.raises(NotFoundError, match="there is no tenant nobody"):
        library.add("other", tenants=["nobody"])
    with pytest.raises(NotFoundError, match="no storage class"):
        library.add("other", storage="bulk")
    assert set(library.shop.lab.datasets()) == {"d"}


def test_a_number_never_comes_back(library: Library) -> None:
    for text in ("1", "2", "3"):
        library.add(text=text)
    assert library.verbs().remove("d", 3) == [3]
    assert library.verbs().remove("d", 1) == [1]
    assert library.add(text="4") == 4
    assert library.verbs().remove("d") == [2, 4]
    assert [path.name for path in library.store.root.iterdir()] == [".staging"]
    with pytest.raises(NotFoundError):
        library.verbs().remove("d")


def test_a_declaration_that_was_taken_back_costs_no_bytes(library: Library) -> None:
    library.add()
    library.shop.lab.remove_dataset("d", "a revision from before")
    assert library.add(text="other\n") == 2
    assert (library.store.folder("d", 1) / "a" / "x y.txt").read_text() == "one\n"


@pytest.mark.parametrize("moment", ["Store.publish", "Store.known"])
def test_a_killed_import_leaves_nothing_that_is_seen(library: Library, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    with monkeypatch.context() as killing:
        killing.setattr(f"labcloud.datasets.store.{moment}", _die)
        with pytest.raises(Killed):
            library.add()
    declared = moment == "Store.known"
    assert (set(library.shop.lab.datasets()), library.store.highest("d")) == (({"d"}, 1) if declared else (set(), 0))
    assert library.add() == 1
    assert library.store.unfinished() == []


def _die(*_: object) -> None:
    raise Killed


def test_a_version_of_which_the_lab_was_never_told_is_removed(library: Library) -> None:
    with library.store.staging("lost") as staging:
        from labcloud.datasets.importing import Importing

        manifest = Importing(library.store, library.source).stage(Source(str(library.source)), staging)
        library.store.publish(staging, manifest, "lost", 1)
    with dataset_lock(library.shop.home, "lost", verb="import"):
        library.add()
        assert library.store.highest("lost") == 1, "somebody is at it"
    library.add("other")
    assert library.store.highest("lost") == 0


def test_a_refusal_of_the_lab_takes_the_version_back(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise EngineError("the disk is full")

    monkeypatch.setattr(library.shop.lab, "save_dataset", refuse)
    with pytest.raises(EngineError, match="the disk is full"):
        library.add()
    assert library.store.highest("d") == 0


def test_two_imports_of_one_name_wait_for_each_other(library: Library) -> None:
    numbers: list[int] = []

    def add(text: str) -> None:
        folder = library.source.with_name(text)
        folder.mkdir()
        (folder / "x").write_text(text)
        numbers.append(library.verbs().add(Addition("d", Source(str(folder)))).version.number)

    threads = [threading.Thread(target=add, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == [1, 2, 3, 4]


# Sharing, verifying


def test_sharing(library: Library) -> None:
    library.add()
    verbs = library.verbs()
    assert verbs.share("d", tenants=["acme"]).tenants == {"acme"}
    assert verbs.share("d", tenants=["blue"]).tenants == {"acme", "blue"}
    assert verbs.share("d", withdrawn=["acme"]).tenants == {"blue"}
    with pytest.raises(UsageError, match="nobody could have"):
        verbs.share("d", withdrawn=["blue"])
    assert verbs.share("d", public=True).tenants is None
    with pytest.raises(UsageError, match="is public"):
        verbs.share("d", withdrawn=["blue"])
    with pytest.raises(NotFoundError, match="there is no tenant"):
        verbs.share("d", tenants=["nobody"])


def test_access_is_not_withdrawn_from_who_uses_it(library: Library) -> None:
    library.add(tenants=["acme", "blue"])
    library.create(datasets={"d": NEWEST})
    with pytest.raises(ConflictError, match="used by acme/c"):
        library.verbs().share("d", withdrawn=["acme"])
    library.verbs().share("d", withdrawn=["blue"])


def test_verify_reads_all_of_it(library: Library) -> None:
    library.add()
    library.add("other")
    assert [(each.name, bool(each.damage), each.problem) for each in library.verbs().verify([])] == [("d", False, ""), ("other", False, "")]
    (library.store.folder("other", 1).parent / "manifest").unlink()
    (result,) = library.verbs().verify(["other"])
    assert "cannot be read" in result.problem
    with pytest.raises(NotFoundError, match="there is no dataset othr"):
        library.verbs().verify(["othr"])


# Clusters


def test_a_cluster_is_created_with_datasets(library: Library) -> None:
    library.add()
    library.create(datasets={"d": NEWEST})
    assert library.read() == "one\n"
    assert dict(library.shop.lab.cluster(REF).datasets) == {"d": 1}  # type: ignore[union-attr]
    library.add(text="two\n")
    assert not library.shop.clusters().create(asked(datasets={"d": NEWEST}), TERMS), "it has one, and keeps it"
    assert library.read() == "one\n"
    with pytest.raises(ConflictError, match="datasets is d=1, not d=2"):
        library.create(datasets={"d": 2})
    with pytest.raises(ConflictError, match="datasets is d=1"):
        library.create(datasets={"e": NEWEST})
    with pytest.raises(ConflictError, match="is used by acme/c"):
        library.verbs().remove("d")
    library.shop.clusters().delete(REF, TERMS)
    assert library.shop.found() == Found()
    library.verbs().remove("d")


def test_what_a_tenant_may_not_have_is_refused_before_anything_is_made(library: Library) -> None:
    library.add(tenants=["acme"])
    for wanted, said in (({"d": NEWEST}, "not shared with blue"), ({"dd": 1}, "there is no dataset dd"), ({"d": 7}, "not shared")):
        with pytest.raises(PreflightError) as caught:
            library.create(FOREIGN, datasets=wanted)
        assert said in caught.value.details
        assert "--ignore" not in caught.value.resolution
    with pytest.raises(PreflightError) as missing:
        library.create(datasets={"d": 7})
    assert "has no version 7" in missing.value.details
    assert (library.shop.found(), library.shop.lab.clusters()) == (Found(), [])


def test_a_dataset_that_is_not_whole_is_refused(library: Library) -> None:
    library.add()
    file = library.store.folder("d", 1) / "same"
    file.chmod(0o644)
    file.write_text("")
    with pytest.raises(PreflightError) as caught:
        library.create(datasets={"d": 1})
    assert "1 of 2 files are missing or cut" in caught.value.details
    assert "labcloud dataset verify d" in caught.value.details


def test_attach_and_detach_change_running_nodes_and_nothing_else(library: Library) -> None:
    library.add()
    library.create()
    before = library.shop.found().nodes
    assert library.read() == ""
    faults = Faults()
    assert library.verbs(faults).attach("d", NEWEST, REF).changed is True
    assert [name for name in faults.names() if name not in ("find", "ensure_datasets")] == []
    assert library.read() == "one\n"
    assert library.verbs().attach("d", NEWEST, REF).changed is False
    library.add(text="two\n")
    kept = library.verbs().attach("d", NEWEST, REF)
    assert (kept.version, kept.changed) == (1, False)
    assert library.verbs().attach("d", 2, REF).changed is True
    assert library.read() == "two\n"
    assert library.verbs().detach("d", REF) is True
    assert library.verbs().detach("d", REF) is False
    assert library.read() == ""
    assert library.shop.found().nodes == before
    assert not library.shop.clusters().start(REF, TERMS)


def test_what_cannot_be_attached(library: Library) -> None:
    library.add(tenants=["blue"])
    library.create()
    with pytest.raises(ConflictError, match="not shared with acme"):
        library.verbs().attach("d", NEWEST, REF)
    with pytest.raises(NotFoundError, match="there is no dataset e"):
        library.verbs().attach("e", NEWEST, REF)
    with pytest.raises(NotFoundError, match="there is no dataset e"):
        library.verbs().detach("e", REF)
    with pytest.raises(NotFoundError, match="there is no cluster blue/c"):
        library.verbs().attach("d", NEWEST, FOREIGN)
    with pytest.raises(NotFoundError, match="no version 9"):
        library.verbs().attach("d", 9, FOREIGN if library.shop.lab.cluster(FOREIGN) else _shared(library))
    assert dict(library.shop.lab.cluster(REF).datasets) == {}  # type: ignore[union-attr]


def _shared(library: Library) -> ClusterRef:
    library.verbs().share("d", public=True)
    return REF


def test_an_attachment_that_broke_off_is_finished_by_the_next_command(library: Library) -> None:
    library.add()
    library.create()
    for again in (lambda: library.verbs().attach("d", NEWEST, REF), lambda: library.shop.clusters().start(REF, TERMS)):
        faults = Faults()
        faults.die(name="ensure_datasets")
        with pytest.raises(Killed):
            library.verbs(faults).attach("d", NEWEST, REF)
        assert library.read() == ""
        again()
        assert library.read() == "one\n"
        library.verbs().detach("d", REF)


def test_a_stopped_cluster_has_them_when_it_starts(library: Library) -> None:
    library.add()
    library.create()
    library.shop.clusters().stop(REF, TERMS)
    library.verbs().attach("d", NEWEST, REF)
    with pytest.raises(ConflictError, match="is stopped"):
        library.verbs().load("d", REF)
    library.shop.clusters().start(REF, TERMS)
    assert library.read() == "one\n"


# HDFS


def in_hdfs(library: Library, path: str) -> list[str]:
    result = library.shop.provider().execute(MASTER, Command(("hdfs", "dfs", "-ls", "-R", path)))
    return [line.split(maxsplit=7)[7] for line in result.stdout.decode().splitlines() if not line.startswith("d")]


def test_a_dataset_is_loaded_and_what_is_there_is_left_alone(library: Library) -> None:
    library.add()
    library.create(datasets={"d": NEWEST})
    loaded = library.verbs().load("d", REF)
    assert (loaded.path, loaded.files, loaded.bytes, loaded.skipped) == ("/datasets/d", 2, 9, 0)
    assert in_hdfs(library, "/datasets/d") == ["/datasets/d/a/x y.txt", "/datasets/d/same"]
    again = library.verbs().load("d", REF)
    assert (again.files, again.skipped) == (0, 2)
    library.add(text="longer\n")
    library.verbs().attach("d", 2, REF)
    newer = library.verbs().load("d", REF)
    assert (newer.files, newer.bytes, newer.skipped) == (1, 7, 1)
    assert library.verbs().load("d", REF, "/user/acme//copy/").path == "/user/acme/copy"
    assert [event.text for event in library.shop.events if event.kind is Kind.DONE][-1].startswith(
        "load d: 2 files, 12 B to /user/acme/copy"
    )


def test_a_load_of_many_folders_puts_them_whole(library: Library) -> None:
    for number in range(20):
        (library.source / f"f{number}").mkdir()
        (library.source / f"f{number}" / "x").write_text(str(number))
    library.add()
    library.create(datasets={"d": NEWEST})
    library.verbs().load("d", REF)
    library.add(text="longer\n")
    for number in range(20):
        (library.source / f"f{number}" / "x").write_text("more than before")
    library.add(text="longer\n")
    library.verbs().attach("d", 3, REF)
    assert library.verbs().load("d", REF).files == 21


def test_what_is_not_all_there_is_an_error(library: Library) -> None:
    library.add()
    library.create(datasets={"d": NEWEST})
    engine = library.shop.provider()
    verbs = Datasets(library.shop.lab, library.shop.journal(), lambda _: engine, library.shop.watch)
    engine.answer(("hdfs", "dfs", "-put"), Result(0))
    with pytest.raises(ConfiguringError, match="2 of 2 files of d are not in /datasets/d"):
        verbs.load("d", REF)
    engine.answer(("hdfs", "dfs", "-put"), Result(1, stderr=b"put: No space left"))
    with pytest.raises(ConfiguringError, match="refused 'hdfs dfs -put'") as caught:
        verbs.load("d", REF)
    assert "No space left" in caught.value.details


def test_what_is_not_attached_is_not_loaded(library: Library) -> None:
    library.add()
    library.create()
    with pytest.raises(ConflictError, match="is not attached to acme/c"):
        library.verbs().load("d", REF)


@pytest.mark.parametrize("text", ["relative", "/", "/a/../b", "", "/a:b", "/a\nb"])
def test_what_is_no_folder_in_hdfs(text: str) -> None:
    with pytest.raises(LabError, match="is no folder in HDFS"):
        hdfs_folder(text)
