"""Imports: from files, folders, archives and a real web server on this machine; what is refused; what is left of what broke off."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from labcloud.datasets.importing import Importing, Source
from labcloud.errors import ConflictError, EngineError, NotFoundError, UsageError
from tests.unit.datasets.conftest import Shelf

CONTENT = bytes(range(256)) * 8192
SUM = hashlib.sha256(CONTENT).hexdigest()


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


# Files and folders


def test_a_folder_is_imported_as_it_is(shelf: Shelf, source: Path) -> None:
    version = shelf.put(source)
    folder = shelf.store.folder("d", 1)
    assert contents(folder) == {"a/b/one": "one\n", "two": "two\n"}
    assert (folder / "empty").is_dir()
    assert (version.files, version.bytes) == (2, 8)
    manifest = shelf.store.manifest("d", version)
    assert [(each.path, each.size, each.sha256) for each in manifest.files] == [
        ("a/b/one", 4, digest("one\n")),
        ("two", 4, digest("two\n")),
    ]
    assert manifest.folders == ("empty",)
    modes = (
        {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()},
        {path.stat().st_mode & 0o777 for path in folder.rglob("*/")},
    )
    assert modes[0] == {0o444}
    assert folder.stat().st_mode & 0o777 == 0o555
    assert sorted(path.name for path in folder.parent.iterdir()) == ["content", "manifest"]


def test_the_same_content_has_the_same_manifest_wherever_it_comes_from(shelf: Shelf, source: Path, tmp_path: Path) -> None:
    archive = tmp_path / "all.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source, arcname=".")
    assert shelf.stage(archive, extract=True).sha256 == shelf.stage(source).sha256 == shelf.stage(f"file://{source}").sha256


def test_one_file_keeps_its_name(shelf: Shelf, source: Path) -> None:
    shelf.put(source / "two", sha256=digest("two\n"))
    assert contents(shelf.store.folder("d", 1)) == {"two": "two\n"}


def test_a_wrong_sum_is_said_with_both_and_leaves_nothing(shelf: Shelf, source: Path) -> None:
    with pytest.raises(ConflictError) as caught:
        shelf.put(source / "two", sha256="0" * 64)
    assert digest("two\n") in caught.value.brief
    assert "0" * 64 in caught.value.brief
    assert (shelf.left(), shelf.store.highest("d")) == ([], 0)


def test_files_that_versions_share_are_one(shelf: Shelf, source: Path) -> None:
    shelf.put(source, 1)
    (source / "three").write_text("three\n")
    shelf.put(source, 2)
    one, two = (shelf.store.folder("d", number) for number in (1, 2))
    assert (one / "two").samefile(two / "two")
    assert shelf.store.occupied("d") < 2 * 8 + 6 + 2000


def test_equal_files_are_stored_once(shelf: Shelf, source: Path) -> None:
    (source / "again").write_text("two\n")
    shelf.put(source)
    folder = shelf.store.folder("d", 1)
    assert (folder / "two").samefile(folder / "again")


def test_a_stored_file_that_was_cut_is_not_linked_to(shelf: Shelf, source: Path) -> None:
    shelf.put(source, 1)
    damaged = shelf.store.folder("d", 1) / "two"
    damaged.chmod(0o644)
    damaged.write_text("")
    shelf.put(source, 2)
    assert (shelf.store.folder("d", 2) / "two").read_text() == "two\n"


def test_names_that_are_no_text_are_kept(shelf: Shelf, source: Path) -> None:
    odd = os.fsdecode(b"\xff \n\t%20")
    (source / odd).write_text("odd")
    version = shelf.put(source)
    assert odd in [each.path for each in shelf.store.manifest("d", version).files]
    assert (shelf.store.folder("d", 1) / odd).read_text() == "odd"
    assert shelf.store.missing("d", version) == []


def test_links_to_files_inside_become_these_files(shelf: Shelf, source: Path) -> None:
    (source / "link").symlink_to("a/b/one")
    (source / "a" / "absolute").symlink_to(source / "two")
    shelf.put(source)
    folder = shelf.store.folder("d", 1)
    assert contents(folder) == {"a/b/one": "one\n", "two": "two\n", "link": "one\n", "a/absolute": "two\n"}
    assert not any(path.is_symlink() for path in folder.rglob("*"))


def _link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        folder = os.open(path.parent, os.O_RDONLY)
        made.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_link("/etc/passwd"), "bad is a link that leads out, to /etc/passwd"),
        (_link("../outside"), "bad is a link that leads out"),
        (_link("a"), "bad is a link that leads to a folder"),
        (_link("nothing"), "bad is a link that leads nowhere"),
        (_link("bad"), "bad is a link that leads nowhere"),
        (os.mkfifo, "bad is a pipe"),
        (_socket, "bad is a socket"),
    ],
)
def test_what_is_no_content_is_refused_by_name(shelf: Shelf, source: Path, make: Callable[[Path], None], said: str) -> None:
    (source.parent / "outside").write_text("secret")
    make(source / "bad")
    with pytest.raises(UsageError, match=said):
        shelf.put(source)
    assert shelf.left() == []


def test_what_is_not_there_or_has_no_file_is_refused(shelf: Shelf, source: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no file or folder"):
        shelf.stage(tmp_path / "nothing")
    with pytest.raises(UsageError, match="there is no file in it"):
        shelf.stage(source / "empty")
    with pytest.raises(UsageError, match="--sha256 is for one file"):
        shelf.stage(source, sha256=SUM)
    with pytest.raises(UsageError, match="ftp is no address"):
        shelf.stage("ftp://example.org/x")


def test_room_is_asked_for_before_anything_is_copied(shelf: Shelf, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = os.statvfs(source)
    full = os.statvfs_result((*facts[:3], 100, 1, 1, *facts[6:]))
    monkeypatch.setattr("labcloud.datasets.content.os.statvfs", lambda _: full)
    with pytest.raises(EngineError, match=r"there is no room in .*: 8 B are needed"):
        shelf.put(source)
    assert shelf.left() == []


# Archives


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_an_archive_is_kept_or_taken_apart(shelf: Shelf, tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "x.tar.xz", (member("./a/one"), b"1"), (member("two"), b"2"), mode="w:xz")
    assert [each.path for each in shelf.stage(archive).files] == ["x.tar.xz"]
    assert [each.path for each in shelf.stage(archive, extract=True).files] == ["a/one", "two"]


def test_a_zip_is_taken_apart(shelf: Shelf, tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/one", "1")
        archive.mkdir("hollow")
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "a/one")
    manifest = shelf.stage(path, extract=True)
    assert [each.path for each in manifest.files] == ["a/one", "link"]
    assert manifest.folders == ("hollow",)


def test_links_in_an_archive_become_files_wherever_they_stand(shelf: Shelf, tmp_path: Path) -> None:
    links = (member("a/soft", tarfile.SYMTYPE, "../two"), b""), (member("again", tarfile.SYMTYPE, "a/soft"), b"")
    archive = tar_of(tmp_path / "x.tar", *links, (member("two"), b"2"), (member("hard", tarfile.LNKTYPE, "two"), b""))
    shelf.put(archive, extract=True)
    assert contents(shelf.store.folder("d", 1)) == {"a/soft": "2", "again": "2", "two": "2", "hard": "2"}


def test_the_last_word_of_an_archive_counts_and_changes_nothing_else(shelf: Shelf, tmp_path: Path) -> None:
    shelf.put(tar_of(tmp_path / "one.tar", (member("kept"), b"same")), 1, extract=True)
    twice = tar_of(
        tmp_path / "two.tar",
        (member("x"), b"same"),
        (member("y"), b"old!"),
        (member("x"), b"new."),
        (member("y"), b"same"),
        (member("z"), b"old!"),
    )
    shelf.put(twice, 2, extract=True)
    assert contents(shelf.store.folder("d", 1)) == {"kept": "same"}
    assert contents(shelf.store.folder("d", 2)) == {"x": "new.", "y": "same", "z": "old!"}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (member("../out"), "'../out' leads out"),
        (member("/etc/passwd"), "'/etc/passwd' leads out"),
        (member("a/../../out"), "leads out"),
        (member("link", tarfile.SYMTYPE, "/etc/passwd"), "link is a link that leads out, to /etc/passwd"),
        (member("a/link", tarfile.SYMTYPE, "../../x"), "a/link is a link that leads out"),
        (member("link", tarfile.LNKTYPE, "../x"), "link is a link that leads out"),
        (member("link", tarfile.SYMTYPE, "nowhere"), "leads to no file inside"),
        (member("link", tarfile.SYMTYPE, "link"), "leads to no file inside"),
        (member("disk", tarfile.BLKTYPE), "disk is a device"),
        (member("pipe", tarfile.FIFOTYPE), "pipe is a pipe"),
        (member("good/x"), "both a file and a folder"),
    ],
)
def test_an_archive_that_reaches_out_is_refused_by_name(shelf: Shelf, tmp_path: Path, bad: tarfile.TarInfo, said: str) -> None:
    archive = tar_of(tmp_path / "x.tar", (member("good"), b"1"), (bad, b""))
    with pytest.raises(UsageError, match=said):
        shelf.stage(archive, extract=True)
    assert shelf.left() == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["text", "cut", "damaged", "encrypted"])
def test_a_broken_archive_is_refused(shelf: Shelf, tmp_path: Path, kind: str) -> None:
    path = tar_of(tmp_path / "x.tar.gz", (member("big"), os.urandom(300_000)), mode="w:gz")
    whole = path.read_bytes()
    if kind == "encrypted":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x", "1")
        whole = bytearray(path.read_bytes())
        for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            whole[whole.index(mark) + offset] |= 1
    path.write_bytes({"text": b"text", "cut": whole[:100_000], "damaged": whole[:-8] + bytes(8), "encrypted": bytes(whole)}[kind])
    with pytest.raises(UsageError, match="is no tar or zip archive that can be read"):
        shelf.stage(path, extract=True)
    assert shelf.left() == []


# Addresses


class Server(ThreadingHTTPServer):
    """Serves CONTENT at any path but one; ``breaks`` answers are cut in the middle."""

    daemon_threads = True
    breaks = 0
    ranges: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if "missing" in self.path:
            self.send_error(404)
            return
        wanted = self.headers.get("Range", "")
        self.server.ranges.append(wanted)
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        body = CONTENT[begin:]
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.breaks:
            self.server.breaks -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("labcloud.images.download.random.uniform", lambda *_: 0.001)
    with Server(("127.0.0.1", 0), Handler) as made:
        made.ranges = []
        threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/some/taxi%202024.bin?token=hush"


@pytest.mark.parametrize("known", ["", SUM])
def test_an_address_is_downloaded(shelf: Shelf, server: Server, address: str, known: str) -> None:
    server.breaks = 1
    version = shelf.put(address, sha256=known)
    assert (shelf.store.folder("d", 1) / "taxi 2024.bin").read_bytes() == CONTENT
    assert (version.files, version.bytes) == (1, len(CONTENT))
    assert server.ranges == ["", f"bytes={len(CONTENT) // 2}-"], "it went on where it broke"
    assert list((shelf.home / "cache" / "datasets").glob("*")) == []


def test_a_download_with_a_sum_goes_on_in_the_next_run(shelf: Shelf, server: Server, address: str) -> None:
    part = shelf.home / "cache" / "datasets" / f"{SUM}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:1000])
    shelf.put(address, 1, sha256=SUM)
    assert server.ranges == ["bytes=1000-"]
    part.write_bytes(b"not its beginning")
    shelf.put(address, 2, sha256=SUM)
    part.write_bytes(CONTENT)
    shelf.put(address, 3, sha256=SUM)
    assert server.ranges[1:] == ["bytes=17-", ""], "what was no beginning of it is thrown away, what is whole not asked for"


def test_an_interrupted_download_is_kept_for_the_next_run(shelf: Shelf, address: str) -> None:
    looks = iter(range(3))

    def check() -> None:
        if next(looks, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), shelf.store.staging("d") as staging:
        Importing(shelf.store, shelf.home / "cache" / "datasets", check=check).stage(Source(address, SUM), staging)
    (part,) = (shelf.home / "cache" / "datasets").glob("*.part")
    assert 0 < part.stat().st_size < len(CONTENT)
    assert shelf.left() == []


def test_a_server_that_has_it_not_is_named_without_its_secrets(shelf: Shelf, address: str) -> None:
    with pytest.raises(NotFoundError, match="404") as caught:
        shelf.stage(address.replace("some", "missing"))
    assert "hush" not in f"{caught.value.brief}{caught.value.details}"
    with pytest.raises(ConflictError) as wrong:
        shelf.stage(address, sha256="0" * 64)
    assert SUM in wrong.value.brief
    assert "hush" not in wrong.value.brief
    with pytest.raises(UsageError, match="user or a password"):
        shelf.stage("http://ada:secret@example.org/x")
    assert Source("https://ada:secret@example.org/x?sig=1#y").public == "https://example.org/x"


def test_a_downloaded_archive_is_taken_apart_and_not_kept(
    shelf: Shelf, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tar_of(tmp_path / "x.tar", (member("one"), b"1")).read_bytes()
    monkeypatch.setattr("tests.unit.datasets.test_importing.CONTENT", archive)
    shelf.put(address, extract=True)
    assert contents(shelf.store.folder("d", 1)) == {"one": "1"}
    assert sorted(path.name for path in shelf.store.folder("d", 1).parent.iterdir()) == ["content", "manifest"]
