"""Jars that are made of others: the same without compression, and one of many."""

from __future__ import annotations

import zipfile
from pathlib import Path

from labcloud.images import declarations, placement
from labcloud.images.stacks import merge_libraries, store_plainly


def test_a_jar_that_is_stored_plainly_has_the_same_entries_in_the_same_order(tmp_path: Path) -> None:
    jar, plain = tmp_path / "a.jar", tmp_path / "plain.jar"
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
        made.writestr("folder/", "")
        made.writestr("folder/A.class", b"\xca\xfe\xba\xbe" * 500)

    store_plainly(jar, plain)

    with zipfile.ZipFile(jar) as before, zipfile.ZipFile(plain) as after:
        assert after.namelist() == before.namelist()
        assert [after.read(name) for name in after.namelist()] == [before.read(name) for name in before.namelist()]
        assert {info.compress_type for info in after.infolist()} == {zipfile.ZIP_STORED}
    assert plain.stat().st_size > jar.stat().st_size


def test_libraries_become_one_jar_in_which_the_first_of_a_name_counts_and_no_services_are(tmp_path: Path) -> None:
    first, second, merged = tmp_path / "a-1.jar", tmp_path / "a-2.jar", tmp_path / "libraries.jar"
    for jar, content in ((first, b"1"), (second, b"2")):
        with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as made:
            for name in ("META-INF/services/a.Driver", "a/", "a/A.class", f"a/Only{content.decode()}.class", "a/Left.class"):
                made.writestr(name, content)

    merge_libraries([first, second], merged, ["a/Left.class"])

    with zipfile.ZipFile(merged) as after:
        assert {name: after.read(name) for name in after.namelist()} == {"a/A.class": b"1", "a/Only1.class": b"1", "a/Only2.class": b"2"}
        assert {info.compress_type for info in after.infolist()} == {zipfile.ZIP_STORED}


def test_what_needs_its_own_loader_is_no_library_of_the_jvms() -> None:
    rules = declarations.load().stack
    apart = ["guice-3.0", "guice-servlet-3.0", "jersey-guice-1.9", "jersey-server-1.9", "leveldbjni-all-1.8", "snappy-java-1.0.5"]
    apart += ["avro-1.7.7", "slf4j-api-1.7.36", "slf4j-log4j12-1.7.10", "hadoop-common-2.7.7", "hadoop-auth-2.10.2"]
    assert [name for name in apart if placement.is_library(f"{name}.jar", rules)] == []
    together = ["guava-11.0.2", "log4j-1.2.17", "reload4j-1.2.18.3", "jetty-util-6.1.26", "commons-lang3-3.4"]
    assert [name for name in together if not placement.is_library(f"{name}.jar", rules)] == []
