from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import ConfigError, LabError, NotFoundError, UsageError
from labcloud.protect.targets import Secrets, Target, check_password_file, default_target


@pytest.mark.parametrize(
    ("text", "repository"),
    [
        ("/srv/backups", "/srv/backups/acme"),
        ("/srv//backups/", "/srv/backups/acme"),
        ("//srv/backups", "/srv/backups/acme"),
        ("/srv/with space:and colon", "/srv/with space:and colon/acme"),
        ("sftp:u@h:/srv/b", "sftp:u@h:/srv/b/acme"),
        ("sftp:h:/srv/b/", "sftp:h:/srv/b/acme"),
        ("engine:openstack", "engine:openstack"),
        ("sftp:u@[::1]:/srv/b", "sftp:u@[::1]:/srv/b/acme"),
        ("sftp://u@h:2222//srv/b", "sftp://u@h:2222//srv/b/acme"),
        ("s3:https://h/bucket", "s3:https://h/bucket/acme"),
        ("s3:http://127.0.0.1:9000/bucket/deep/", "s3:http://127.0.0.1:9000/bucket/deep/acme"),
        ("s3:s3.amazonaws.com/bucket", "s3:s3.amazonaws.com/bucket/acme"),
        ("rest:https://h:8000/", "rest:https://h:8000/acme/"),
        ("rest:https://h", "rest:https://h/acme/"),
        ("rest:http://h/deep", "rest:http://h/deep/acme/"),
    ],
)
def test_a_tenant_has_a_repository_of_its_own(text: str, repository: str) -> None:
    target = Target.parse(text)
    assert target.of("acme").text == repository
    assert Target.parse(target.text) == target


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "/", "//", "backups", "./backups", "../backups", "/srv/../etc", "~/backups", " /srv", "/srv\n", "/srv/\0",
        "sftp:", "sftp:h", "sftp:h:", "sftp:h:relative", "sftp:u@h:/", "sftp:-oProxyCommand=x:/srv", "sftp:-u@h:/srv", "sftp://h", "sftp://-h/x",
        "s3:", "s3:https://h", "s3:https://h/", "s3:ftp://h/b", "s3:h", "s3:https://h/b?x=1",
        "rest:", "rest:h/", "rest:ftp://h/", "rest:https:///x", "rest:https://h:port/", "rest:https://h/a/../b",
        "b2:bucket", "azure:x:/", "rclone:x:y", "local:/srv", "https://h/", "swift:x:/y", "gs:b:/",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_a_way_out(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Target.parse(text)
    assert caught.value.resolution


@pytest.mark.parametrize("text", ["s3:https://key:hunter2@h/b", "rest:https://me:hunter2@h/", "rest:https://hunter2@h/", "sftp://u:hunter2@h/x",
                                  "sftp:u:hunter2@h:/x", "s3:key:hunter2@h/b"])  # fmt: skip
def test_a_password_in_an_address_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Target.parse(text)
    assert "hunter2" not in f"{caught.value.brief}{caught.value.details}{caught.value.resolution}"
    assert "NAME.env" in caught.value.resolution


@given(st.text(max_size=40), st.sampled_from(["", "/", "sftp:", "sftp://", "s3:", "s3:https://", "rest:", "rest:https://"]))
def test_no_text_is_read_as_something_that_is_refused_when_read_again(text: str, kind: str) -> None:
    try:
        target = Target.parse(kind + text)
    except LabError:
        return
    assert Target.parse(target.text) == target
    assert Target.parse(target.of("acme").text) == target.of("acme")
    assert not target.text.startswith("-")


def test_only_tenants_have_repositories() -> None:
    with pytest.raises(UsageError):
        Target.parse("/srv").of("../etc")


def test_room_and_disk_of_a_directory_that_is_not_made_yet(tmp_path: Path) -> None:
    target = Target.parse(str(tmp_path / "a" / "b"))
    stats = os.statvfs(tmp_path)
    room = target.room()
    assert room is not None
    assert abs(room - stats.f_bavail * stats.f_frsize) < 1 << 30
    assert target.shares_disk(tmp_path)
    assert not target.shares_disk(Path("/proc"))


def test_of_a_target_elsewhere_neither_is_known(tmp_path: Path) -> None:
    target = Target.parse("rest:https://h/")
    assert target.room() is None
    assert not target.shares_disk(tmp_path)
    assert target.directory is None


def test_the_default_is_made_in_the_home(tmp_path: Path) -> None:
    target = default_target(tmp_path)
    assert target.text == str(tmp_path / "backups")
    assert (tmp_path / "backups").stat().st_mode & 0o777 == 0o700


def test_a_password_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = Secrets(tmp_path).password_file("acme")
    first = path.read_text()
    assert len(first.strip()) >= 43
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert Secrets(tmp_path).password_file("acme").read_text() == first
    assert Secrets(tmp_path).password_file("other").read_text() != first


def test_processes_that_make_a_password_at_once_get_the_same(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from labcloud.protect.targets import Secrets; " \
           "print(Secrets(Path(sys.argv[1])).password_file('acme').read_text(), end='')"  # fmt: skip
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({each.communicate(timeout=60)[0] for each in running}) == 1
    assert [each.name for each in (tmp_path / "secrets" / "backup").iterdir()] == ["acme.password"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_password_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = Secrets(tmp_path).password_file("acme")
    path.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        Secrets(tmp_path).password_file("acme")
    assert caught.value.resolution == f"chmod 600 {path}"


def test_an_empty_password_is_refused_and_a_missing_one_is_not_found(tmp_path: Path) -> None:
    path = tmp_path / "p"
    with pytest.raises(NotFoundError):
        check_password_file(path)
    path.touch(0o600)
    with pytest.raises(ConfigError):
        check_password_file(path)


def _credentials(home: Path, text: str, mode: int = 0o600) -> Path:
    path = home / "secrets" / "backup" / "minio.env"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_credentials_are_variables(tmp_path: Path) -> None:
    _credentials(tmp_path, "# of minio\n\nAWS_ACCESS_KEY_ID=a=b c\n AWS_SECRET_ACCESS_KEY = x\n".replace(" = ", "=") + 'Q="x y"\nE=\n')
    assert Secrets(tmp_path).credentials("minio") == {"AWS_ACCESS_KEY_ID": "a=b c", "AWS_SECRET_ACCESS_KEY": "x", "Q": "x y", "E": ""}


@pytest.mark.parametrize(
    "line", ["export A=hunter2", "hunter2", "A-B=hunter2", "RESTIC_PASSWORD=hunter2", "RESTIC_REPOSITORY_FILE=hunter2"]
)
def test_a_wrong_line_of_credentials_is_named_but_not_repeated(tmp_path: Path, line: str) -> None:
    path = _credentials(tmp_path, f"X=1\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        Secrets(tmp_path).credentials("minio")
    assert caught.value.brief.startswith(f"{path}:2: ")
    assert "hunter2" not in f"{caught.value.brief}{caught.value.details}{caught.value.resolution}"


def test_credentials_that_others_may_read_are_refused(tmp_path: Path) -> None:
    path = _credentials(tmp_path, "A=1\n", 0o644)
    with pytest.raises(ConfigError, match="others than its owner") as caught:
        Secrets(tmp_path).credentials("minio")
    assert caught.value.resolution == f"chmod 600 {path}"


@pytest.mark.parametrize(("name", "error"), [("none", NotFoundError), ("../x", UsageError), ("", UsageError), ("a/b", UsageError)])
def test_credentials_that_are_not_there(tmp_path: Path, name: str, error: type[LabError]) -> None:
    with pytest.raises(error):
        Secrets(tmp_path).credentials(name)
