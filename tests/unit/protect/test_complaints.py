"""Sentences of restic 0.14 and of what it calls, as they were printed; those that can be had here are had from the real one."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import ConfigError, EngineError, LabError, NotFoundError
from labcloud.protect.complaints import Call, DamagedError, FullError, LockedError, NoRepositoryError, complaint, is_hopeless
from labcloud.protect.targets import Target
from tests.unit.protect.conftest import Place

CALL = Call("backup", "/srv/backups/acme", "/lab/acme.password")
_ASKS = "\nIs there a repository at the following location?\n/srv/backups/acme\n"
_LOCKED = (
    "unable to create lock in backend: repository is already locked exclusively by PID 20385 on vm7 by root (UID 0, GID 0)\n"
    "lock was created at 2026-11-25 22:50:41 (3.568201421s ago)\nstorage ID 37d3ef0d\n"
    "the `unlock` command can be used to remove stale locks\n"
)


@pytest.mark.parametrize(
    ("said", "kind", "brief"),
    [
        ("Fatal: wrong password or no key found\n", ConfigError, "the password in /lab/acme.password does not open"),
        (_LOCKED, LockedError, "locked by process 20385 of root on vm7, since 2026-11-25 22:50:41 UTC"),
        (f"Fatal: unable to open config file: stat /srv/backups/acme/config: no such file or directory{_ASKS}", NoRepositoryError, "no"),
        (f"Fatal: unable to open config file: <config/> does not exist{_ASKS}", NoRepositoryError, "there is no repository"),
        (f"Fatal: unable to open config file: Stat: The specified bucket does not exist.{_ASKS}", NoRepositoryError, "there is no"),
        (f"Fatal: unable to open config file: Lstat: file does not exist{_ASKS}", NoRepositoryError, "there is no repository"),
        (f"Fatal: unable to open config file: Stat: Access Denied.{_ASKS}", ConfigError, "refuses the credentials"),
        (f"Fatal: unable to open config file: client.Head: dial tcp 10.0.0.9:8000: i/o timeout{_ASKS}", EngineError, "reached: unable"),
        (f'Fatal: … Get "https://h/": x509: certificate signed by unknown authority{_ASKS}', EngineError, "cannot be reached"),
        ("subprocess ssh: Host key verification failed.\nFatal: unable to start the sftp session, error: EOF", EngineError, "ssh does not"),
        ("subprocess ssh: u@h: Permission denied (publickey).\nFatal: unable to start the sftp session", EngineError, "ssh does not"),
        ("Fatal: create repository at /srv failed: mkdir /srv/backups/acme: permission denied\n\n", EngineError, "restic may not backup"),
        ("Fatal: unable to save snapshot: write /srv/x-tmp-12: no space left on device", FullError, "no space is left"),
        ("Fatal: write /srv/x: disk quota exceeded", FullError, "no space is left"),
        ("ignoring error for /w-1/0/b c: write /x/w-1/0/b c: no space left on device\nFatal: There", FullError, "backup /w-1/0/b c"),
        ("unshare: unshare failed: Operation not permitted\n", EngineError, "a mount namespace for the backup cannot be made"),
        ("mount: /x/root: permission denied.\n", EngineError, "a folder could not be put into the backup: mount: /x/root"),
        ("Fatal: config or key d5a3 is damaged: ciphertext verification failed", DamagedError, "is damaged: config or key"),
        ("Fatal: Unmarshal: invalid character 'g' looking for beginning of value", DamagedError, "is damaged"),
        ("ignoring error for /a: ciphertext verification failed\nFatal: There were 1 errors\n\n", DamagedError, "ignoring error for /a"),
        ('invalid id "deadbeef": no matching ID found for prefix "deadbeef"', NotFoundError, "nothing of that name"),
        ('cannot dump file: path "/zz" not found in snapshot', NotFoundError, "nothing of that name"),
        ("Fatal: something new\n", EngineError, "restic could not backup at /srv/backups/acme: something new"),
        ("", EngineError, "it said nothing"),
    ],
)  # fmt: skip
def test_each_complaint_is_an_error_with_a_way_out(said: str, kind: type[LabError], brief: str) -> None:
    error = complaint(CALL, said)
    assert type(error) is kind
    assert brief in error.brief
    assert error.resolution
    assert "\n" not in error.brief


@pytest.mark.parametrize(
    ("error", "verb", "hopeless"),
    [
        ("write /srv/x: no space left on device", "backup", True),
        ("write /srv/x: no space left on device", "check", True),
        (f"open /srv/data/4b/{'4b' * 32}: no such file or directory", "restore", True),
        (f"open /srv/data/4b/{'4b' * 32}: no such file or directory", "check", False),
        ("dial tcp 10.0.0.9:8000: i/o timeout", "backup", False),
    ],
)
def test_what_time_does_not_mend_is_not_waited_for(error: str, verb: str, hopeless: bool) -> None:
    assert is_hopeless(f"x\nLoad(<data/4b>, 1, 0) returned error, retrying after 552.3ms: {error}\n", verb) is hopeless
    assert not is_hopeless(f"Fatal: {error}\n", verb)


def test_other_files_are_not_restored_onto_a_full_disk() -> None:
    assert is_hopeless("ignoring error for /w/0/b: write /x/w/0/b: no space left on device\n", "restore")
    assert not is_hopeless("ignoring error for /w/0/b: ciphertext verification failed\n", "restore")


@given(st.text(max_size=200))
def test_whatever_it_says_is_an_error(said: str) -> None:
    error = complaint(CALL, said)
    assert error.brief
    assert error.resolution


def test_a_password_in_an_address_is_not_repeated() -> None:
    error = complaint(CALL, "Fatal: oh no at rest:http://me:hunter2@h/x\n")
    assert "hunter2" not in error.brief + error.details
    assert "me:[redacted]@h" in error.brief


@pytest.mark.parametrize(
    "target", ["rest:http://127.0.0.1:9/", "rest:http://no-such-host.invalid/", "sftp://u@127.0.0.1:9//x", "sftp:u@no-such-host.invalid:/x"]
)
def test_a_target_that_cannot_be_reached(place: Place, target: str) -> None:
    with pytest.raises(EngineError, match="cannot be reached: ") as caught:
        place.repository(target=Target.parse(target)).ensure()
    # restic may end before it passes on what ssh said; then its own last word is all that there is.
    assert any(word in caught.value.brief.lower() for word in ("refused", "no such host", "resolve hostname", "start the sftp session"))
    assert "network" in caught.value.resolution


@contextmanager
def _answering(status: int) -> Iterator[Target]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        do_HEAD = do_POST = do_GET  # noqa: N815 (the library's names)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Target.parse(f"rest:http://127.0.0.1:{server.server_port}/")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "kind", "brief"),
    [(401, ConfigError, "refuses the credentials"), (403, ConfigError, "refuses"), (404, NoRepositoryError, "no repository"),
     (500, EngineError, "500 Internal"), (503, EngineError, "cannot be reached"), (507, FullError, "no space is left")],
)  # fmt: skip
def test_what_a_server_answers(place: Place, status: int, kind: type[LabError], brief: str) -> None:
    with _answering(status) as target, pytest.raises(LabError, match=brief) as caught:
        place.repository(target=target, env={"RESTIC_REST_USERNAME": "me", "RESTIC_REST_PASSWORD": "hunter2"}).id()
    assert type(caught.value) is kind
    assert "hunter2" not in caught.value.brief + caught.value.details


def test_a_read_only_disk(place: Place) -> None:
    folder = place.root / "target"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)], check=True)
    try:
        with pytest.raises(EngineError, match="read-only") as caught:
            place.repository().ensure()
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    assert "mount it for writing" in caught.value.resolution


def test_a_target_that_is_a_file(place: Place) -> None:
    path = Path(f"{place.root}/file")
    path.touch()
    with pytest.raises(LabError):
        place.repository(target=Target.parse(str(path))).ensure()
