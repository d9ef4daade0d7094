"""Jars that are stored without compression keep their content."""

from __future__ import annotations

import zipfile
from pathlib import Path

from labcloud.images.stacks import store_plainly


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
