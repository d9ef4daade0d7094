"""Names of members, ssh keys, networks, defaults and URLs: what may be, and what is refused in one sentence."""

from __future__ import annotations

import base64
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import UsageError
from labcloud.model import member_name, private_subnet, public_key, public_keys
from labcloud.model.defaults import OPTIONS, check_default, check_url

BODY = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW"
PRIVATE = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{BODY}\n-----END OPENSSH PRIVATE KEY-----\n"


def key(kind: str, *fields: bytes) -> str:
    """A key as OpenSSH writes it: each field with its length before it."""
    data = b"".join(len(each).to_bytes(4) + each for each in (kind.encode(), *fields))
    return f"{kind} {base64.b64encode(data).decode()}"


ED25519 = key("ssh-ed25519", bytes(range(32)))
GOOD = [
    ED25519,
    key("ssh-rsa", b"\1\0\1", b"\0" + bytes(range(256))),
    key("ecdsa-sha2-nistp256", b"nistp256", b"\4" + bytes(64)),
    key("ecdsa-sha2-nistp384", b"nistp384", b"\4" + bytes(96)),
    key("ecdsa-sha2-nistp521", b"nistp521", b"\4" + bytes(132)),
    key("sk-ssh-ed25519@openssh.com", bytes(range(32)), b"ssh:"),
    key("sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", b"\4" + bytes(64), b"ssh:"),
]


@pytest.mark.parametrize("line", GOOD, ids=lambda line: line.partition(" ")[0])
def test_a_public_key_is_taken_with_its_comment(line: str) -> None:
    assert public_key(f"  {line}   Ada  on her desk \n") == f"{line} Ada  on her desk"
    assert public_key(line) == line


@pytest.mark.parametrize(
    "line",
    [
        "", "ssh-ed25519", "ssh-ed25519 ", "hello", ED25519.replace("ssh-ed25519 ", "ssh-rsa "), ED25519.replace("ssh-ed25519 ", ""),
        ED25519[:-4], ED25519 + "AAAA", "ssh-ed25519 !!!!", key("ssh-dss", b"a", b"b", b"c", b"d"), key("ssh-ed25519", bytes(31)),
        key("ssh-ed25519", bytes(32), b"x"), key("ssh-rsa", b"\1\0\1", bytes(64)), f'command="x" {ED25519}', f"{ED25519} a\x07b",
        f"{ED25519}\n{ED25519}", f"{ED25519} {'x' * 9000}", "ssh-ed25519 ÄÖ", key("ssh-rsa", b"", bytes(range(256))),
    ],
)  # fmt: skip
def test_what_is_no_public_key_is_refused_and_not_repeated(line: str) -> None:
    with pytest.raises(UsageError) as caught:
        public_key(line)
    assert caught.value.resolution
    assert not any(word in caught.value.brief for word in line.split() if len(word) > 12)


@pytest.mark.parametrize(
    "text",
    [
        PRIVATE, f"# mine\n{ED25519}\n{PRIVATE}", "-----BEGIN RSA PRIVATE KEY-----", "PuTTY-User-Key-File-3: ssh-ed25519",
        BODY, f"ssh-ed25519 {BODY}",
    ],
)  # fmt: skip
def test_a_private_key_is_refused_loudly_and_not_repeated(text: str) -> None:
    for read in (public_key, public_keys):
        with pytest.raises(UsageError, match="this is a PRIVATE key: nothing of it was kept") as caught:
            read(text)
        assert "BEGIN" not in str(caught.value) + caught.value.details + caught.value.resolution
        assert BODY not in str(caught.value) + caught.value.details + caught.value.resolution


def test_a_file_may_hold_several_keys_comments_and_empty_lines() -> None:
    text = f"# desk\n{GOOD[0]} desk\n\n{GOOD[1]}\r\n{GOOD[0]} desk\n"
    assert public_keys(text) == (f"{GOOD[0]} desk", GOOD[1])
    assert public_keys("# nobody\n") == ()


@given(st.text(max_size=80))
def test_any_text_is_a_key_or_refused(text: str) -> None:
    with pytest.raises(UsageError):
        public_key(text)


@pytest.mark.parametrize("name", ["alice", "a", "a-b2"])
def test_a_member_may_be_named_as_a_tenant_may(name: str) -> None:
    assert member_name(name, "acme") == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "cannot name a member"), ("Alice", "cannot name a member"), ("../x", "cannot name a member"), ("a:b", "cannot name a member"),
        ("x" * 32, "cannot name a member"), ("hdfs", "the member name 'hdfs' is reserved"), ("acme", "is the tenant's own user"),
    ],
)  # fmt: skip
def test_names_of_other_users_and_files_are_refused(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        member_name(name, "acme")
    assert caught.value.resolution


@pytest.mark.parametrize("text", ["10.200.0.0/22", "172.16.0.0/16", "172.31.255.240/28", "192.168.4.0/24"])
def test_private_networks(text: str) -> None:
    assert private_subnet(text) == IPv4Network(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not an IPv4 network"),
        ("10.200.0.0", "is not an IPv4 network"),
        ("10.200.0.1/22", "is not an IPv4 network"),
        ("10.200.0.0/255.255.252.0", "is not an IPv4 network"),
        ("10.200.0.0/33", "is not an IPv4 network"),
        ("fd00::/64", "is not an IPv4 network"),
        ("10.200.0/22", "is not an IPv4 network"),
        ("10.200.0.0/-1", "is not an IPv4 network"),
        ("10.200.0.0/²", "is not an IPv4 network"),
        ("8.8.8.0/24", "is not a private network"),
        ("172.32.0.0/16", "is not a private network"),
        ("127.0.0.0/16", "is not a private network"),
        ("0.0.0.0/0", "is not a private network"),
        ("10.200.0.0/29", "is too small: it has 5 addresses"),
        ("10.200.0.0/32", "is too small"),
        ("10.0.0.0/8", "is too large"),
        ("172.16.0.0/12", "is too large"),
    ],
)
def test_other_networks_are_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        private_subnet(text)
    assert caught.value.resolution == "write a private network, as in 10.200.0.0/22, of /16 to /28"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("provider", "docker"), ("workers", "3"), ("memory", "2g"), ("cpus", "0.5"), ("volume-size", "20g"), ("lease", "1d12h"),
        ("hdfs-site:dfs.replication", "2"), ("core-site:a.b", ""),
    ],
)  # fmt: skip
def test_defaults_of_options_and_settings(name: str, text: str) -> None:
    assert check_default(name, text) == text


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("memroy", "2g", "there is no default for 'memroy'"),
        ("publish", "x", "there is no default for 'publish'"),
        ("memory", "2", "the default of memory cannot be '2'"),
        ("workers", "0", "the default of workers cannot be '0'"),
        ("workers", "1.5", "the default of workers"),
        ("cpus", "nan", "the default of cpus"),
        ("cpus", "0", "the default of cpus"),
        ("cpus", "9999", "the default of cpus"),
        ("volume-size", "2m", "the default of volume-size"),
        ("lease", "ever", "the default of lease"),
        ("provider", "../x", "the default of provider"),
        ("hdfs-site:", "2", "does not name a setting"),
        (":x", "2", "does not name a setting"),
        ("hdfs-site:a", "\n", "does not name a setting"),
    ],
)
def test_other_defaults_are_refused(name: str, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        check_default(name, text)
    assert caught.value.resolution


def test_the_nearest_option_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        check_default("memroy", "2g")
    assert caught.value.resolution == f"did you mean memory? there are {', '.join(OPTIONS)}, and settings as FILE:KEY=VALUE"


@pytest.mark.parametrize("text", ["https://chat.example.org/hooks/x?y=1", "http://127.0.0.1:8080/", "https://me@example.org/"])
def test_urls(text: str) -> None:
    assert check_url(text) == text


@pytest.mark.parametrize(
    "text", ["", "example.org", "ftp://example.org", "http://", "http://a b", "http://x:99999/", "http://[", "https://é.org", "http://x/\n"]
)
def test_other_urls_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="this is not the URL of a web service"):
        check_url(text)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="has a password in it") as caught:
        check_url("https://me:hunter2@example.org/")
    assert "hunter2" not in str(caught.value) + caught.value.resolution
