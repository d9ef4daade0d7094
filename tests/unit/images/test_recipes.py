"""Digests, locks, placement, sizes, trees: the parts that need no engine."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from labcloud.errors import ConfigError, NotFoundError
from labcloud.images import declarations, locks, placement, sizes, tree
from labcloud.images.keystore import trust_store
from labcloud.images.maven import Coordinates
from labcloud.images.model import Layer, LockedFile, LockedPackage, StoredImage
from labcloud.images.room import Images
from labcloud.images.stacks import extract_web_pages, web_pages
from labcloud.images.system import with_users

RULES = declarations.load().stack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(declarations.FOLDER, tmp_path / "images"))


def images(folder: Path) -> Images:
    return Images(None, folder.parent / "cache", folder=folder)  # type: ignore[arg-type]


def test_digests_are_stable_and_every_profile_has_one(folder: Path) -> None:
    first, second = images(folder), images(folder)
    digests = {name: first.recipe(name).digest for name in first.names()}
    assert digests == {name: second.recipe(name).digest for name in second.names()}
    assert {"debian", "base", "java-8", "hadoop-2.7", "hadoop-3.4"} <= set(digests)
    assert len(set(digests.values())) == len(digests)


@pytest.mark.parametrize(
    ("changed", "same", "other"),
    [
        ("stack.yaml", ["base", "java-8"], ["hadoop-2.7"]),
        ("java-8.lock.yaml", ["base", "java-17", "hadoop-3.4"], ["java-8", "hadoop-2.7"]),
        ("base/files/usr/lib/labcloud/init", ["debian"], ["base", "java-8", "hadoop-3.4"]),
        ("stack/files/bin/hdfs", ["java-8"], ["hadoop-2.7", "hadoop-3.4"]),
    ],
)
def test_a_change_reaches_what_depends_on_it(folder: Path, changed: str, same: list[str], other: list[str]) -> None:
    before = {name: images(folder).recipe(name).digest for name in (*same, *other)}
    path = folder / changed
    path.write_text(path.read_text().replace("size: ", "size: 1") if changed.endswith("lock.yaml") else path.read_text() + "#\n")
    after = {name: images(folder).recipe(name).digest for name in (*same, *other)}
    assert [name for name in before if before[name] == after[name]] == same


def test_whether_a_file_can_be_executed_counts(folder: Path) -> None:
    before = images(folder).recipe("base").digest
    (folder / "base/files/usr/lib/labcloud/init").chmod(0o644)
    assert images(folder).recipe("base").digest != before


def test_an_unknown_image_is_named(folder: Path) -> None:
    with pytest.raises(NotFoundError, match="no image 'hadoop-9'"):
        images(folder).recipe("hadoop-9")


def test_a_misspelt_key_is_named(folder: Path) -> None:
    (folder / "java-8.yaml").write_text((folder / "java-8.yaml").read_text() + "packge: x\n")
    with pytest.raises(ConfigError, match=r"java-8\.yaml: unknown key 'packge'"):
        images(folder)


def test_locks_are_read_as_they_were_written(tmp_path: Path) -> None:
    files = [LockedFile("b" * 64, 2, "share/z", path="g/a/1/a-1.jar"), LockedFile("a" * 64, 1, "share/a", url="http://x/y.jar")]
    locks.write_stack_lock(tmp_path / "lock.yaml", files)
    assert locks.read_stack_lock(tmp_path / "lock.yaml") == (files[1], files[0])
    package = LockedPackage("p", "1", "pool/p.deb", "c" * 64, 3)
    locks.write_package_lock(tmp_path / "p.yaml", package)
    assert locks.read_package_lock(tmp_path / "p.yaml") == package


@pytest.mark.parametrize("content", ["", "files: []", "files: [{sha: 1}]", "{", "- 1"])
def test_a_broken_lock_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "lock.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        locks.read_stack_lock(path)
    assert str(path) in caught.value.brief
    assert "image lock" in caught.value.resolution


def test_a_missing_lock_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        locks.read_stack_lock(tmp_path / "lock.yaml")


@pytest.mark.parametrize(
    ("jar", "to"),
    [
        ("hadoop-common-2.7.7.jar", "share/hadoop/common"),
        ("hadoop-auth-2.7.7.jar", "share/hadoop/common/lib"),
        ("hadoop-hdfs-client-3.4.3.jar", "share/hadoop/hdfs"),
        ("hadoop-yarn-api-3.4.3.jar", "share/hadoop/yarn"),
        ("hadoop-shaded-guava-1.2.0.jar", "share/hadoop/common/lib"),
        ("guava-11.0.2.jar", "share/hadoop/common/lib"),
        ("hadoop-distcp-2.7.7.jar", "share/hadoop/tools/lib"),
        ("junit-4.11.jar", ""),
        ("zookeeper-3.4.6-tests.jar", ""),
    ],
)
def test_where_jars_go(jar: str, to: str) -> None:
    assert placement.folder_of(jar, RULES) == to


def test_the_class_path_has_hadoop_first_and_web_pages_as_jars_or_folders() -> None:
    names = {
        "share/hadoop/common/lib": ["guava-11.jar"],
        "share/hadoop/common": ["hadoop-common-2.7.7.jar", "hadoop-common-2.7.7-tests.jar"],
        "share/hadoop/hdfs": ["hadoop-hdfs-2.7.7-tests.jar", "hadoop-hdfs-2.7.7.jar"],
        "share/hadoop/tools/lib": ["hadoop-distcp-2.7.7.jar"],
    }
    files = [LockedFile("", 0, to, path=f"x/{name}") for to, jars in names.items() for name in jars]
    jars = [
        "/h/share/hadoop/common/hadoop-common-2.7.7.jar",
        "/h/share/hadoop/hdfs/hadoop-hdfs-2.7.7.jar",
        "/h/share/hadoop/common/lib/guava-11.jar",
    ]
    pages = "/h/share/hadoop/hdfs/hadoop-hdfs-2.7.7-webapps.jar"
    assert placement.class_path("/h", files, RULES, jars_only=True).split(":") == [jars[0], pages, *jars[1:]]
    assert placement.class_path("/h", files, RULES, jars_only=False).split(":") == [*jars, "/h/share/hadoop/hdfs"]


def test_web_pages_get_a_jar_of_their_own(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "tests.jar", "w") as jar:
        for name in ("webapps/", "webapps/hdfs/", "webapps/hdfs/index.html", "org/Test.class"):
            jar.writestr(name, b"")
    for target in ("a.jar", "b.jar"):
        extract_web_pages(tmp_path / "tests.jar", tmp_path / target)
    assert zipfile.ZipFile(tmp_path / "a.jar").namelist() == ["webapps/", "webapps/hdfs/", "webapps/hdfs/index.html"]
    assert (tmp_path / "a.jar").read_bytes() == (tmp_path / "b.jar").read_bytes()
    assert list(web_pages(tmp_path / "tests.jar")) == [("webapps/hdfs/index.html", b"")]


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ("org.apache:a:1", "org/apache/a/1/a-1.jar"),
        ("org.apache:a:1:tests", "org/apache/a/1/a-1-tests.jar"),
        ("org.apache:a:1:jar:tests", "org/apache/a/1/a-1-tests.jar"),
        ("org.apache:a:1:tar.gz", "org/apache/a/1/a-1.tar.gz"),
    ],
)
def test_coordinates(said: str, path: str) -> None:
    assert Coordinates.parse(said).path == path


def test_a_tree_is_the_same_bytes_whatever_the_order(tmp_path: Path) -> None:
    one, two = tree.Tree(1000), tree.Tree(1000)
    one.add_file("a/b", b"x", 0o755)
    one.add_link("c", "a")
    two.add_link("c", "a")
    two.add_file("/a/b", b"x", 0o755)
    assert one.write(tmp_path / "1.tar") == two.write(tmp_path / "2.tar")
    with tarfile.open(tmp_path / "1.tar") as archive:
        assert [(each.name, each.mode, each.mtime) for each in archive] == [("a", 0o755, 1000), ("a/b", 0o755, 1000), ("c", 0o777, 1000)]


def test_users_have_the_ids_of_the_contract() -> None:
    base = declarations.load().images["base"]
    assert isinstance(base, declarations.Base)
    passwd, group = with_users("root:x:0:0::/root:/bin/sh\n", "root:x:0:\n", base)
    assert [line.split(":")[0:4:2] for line in passwd.splitlines()[1:]] == [["hdfs", "901"], ["yarn", "902"], ["mapred", "903"]]
    assert group.endswith("hadoop:x:900:\nsupergroup:x:904:hdfs\n")


def test_the_trust_store_holds_every_certificate() -> None:
    pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    store = trust_store(pem + pem, 0)
    assert store[:12] == bytes.fromhex("feedfeed0000000200000002")
    assert trust_store(pem + pem, 0) == store


def test_sizes_count_shared_layers_once() -> None:
    def image(name: str, *layers: tuple[str, int]) -> StoredImage:
        labels = {"labcloud.image": name, "labcloud.digest": "1"}
        return StoredImage(name, (f"labcloud/{name}:1",), labels, tuple(Layer(*layer) for layer in layers))

    found = [image("base", ("a", 5)), image("java", ("a", 5), ("b", 10)), image("x", ("a", 5), ("b", 10), ("c", 1))]
    table = sizes.table(found, {("x", "1")})
    assert table.total == 16
    assert [(row.name, row.parent, row.own, row.shared, row.current) for row in table.images] == [
        ("base", "", 5, 0, False),
        ("java", "base", 10, 5, False),
        ("x", "java", 1, 15, True),
    ]
