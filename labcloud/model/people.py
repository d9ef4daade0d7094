"""What may name a member, be a member's key, and be a tenant's network. Pure.

A key's text never stands in an error: somebody may have given the private one.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError
from typing import Final

from labcloud.errors import UsageError
from labcloud.model.names import tenant_name

_PRIVATE: Final = re.compile(r"PRIVATE KEY|PuTTY-User-Key-File|Private-Lines|AGE-SECRET-KEY|openssh-key-v1|b3BlbnNzaC1rZXktdj")
_KEY_TYPES: Final = (
    "ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
)  # fmt: skip
# How many fields follow the type (RFC 4253 6.6, RFC 5656 3.1, RFC 8709 4, OpenSSH's PROTOCOL.u2f).
_FIELDS: Final = {
    "ssh-ed25519": 1, "ssh-rsa": 2, "ecdsa-sha2-nistp256": 2, "ecdsa-sha2-nistp384": 2, "ecdsa-sha2-nistp521": 2,
    "sk-ssh-ed25519@openssh.com": 2, "sk-ecdsa-sha2-nistp256@openssh.com": 3,
}  # fmt: skip
_LONGEST_KEY: Final = 8192
_LEAST_RSA_BYTES: Final = 128  # 1024 bits: sshd takes no shorter ones
_PRIVATE_BLOCKS: Final = tuple(IPv4Network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
_WIDEST: Final = 16
_NARROWEST: Final = 28


def member_name(text: str, tenant: str) -> str:
    """``text`` if it can name a member of ``tenant``: an OS user beside the tenant's own. Raise UsageError with the rule otherwise."""
    try:
        tenant_name(text)
    except UsageError as exc:
        raise UsageError(
            exc.brief.replace("name a tenant", "name a member").replace("tenant name", "member name"), resolution=exc.resolution
        ) from exc
    if text == tenant:
        raise UsageError(f"{text!r} is the tenant's own user, and cannot be a member besides", resolution="choose another name")
    return text


def public_key(text: str) -> str:
    """A public key as a line of an ``authorized_keys`` file: type, body, comment. Raise UsageError if it is none.

    A private key is refused as such.
    """
    if _PRIVATE.search(text):
        raise UsageError(
            "this is a PRIVATE key: nothing of it was kept",
            resolution="give the public one, whose file ends in .pub; if others can have seen this one, make a new pair",
        )
    kind, _, rest = text.strip().partition(" ")
    body, _, comment = rest.strip().partition(" ")
    if kind not in _KEY_TYPES or len(text) > _LONGEST_KEY or not _whole(kind, body):
        raise UsageError(
            "this is not the public key of an ssh user",
            resolution=f"give the one line of a .pub file, which begins with its type: {', '.join(_KEY_TYPES[:3])} …",
        )
    if not comment.isprintable():
        raise UsageError("the comment of a public key holds characters that cannot be printed", resolution="leave the comment out")
    return " ".join(filter(None, (kind, body, comment.strip())))


def public_keys(text: str) -> tuple[str, ...]:
    """The keys of an ``authorized_keys`` file, or of a ``.pub`` file; empty lines and comments are passed over."""
    if _PRIVATE.search(text):
        public_key(text)
    lines = (line.strip() for line in text.splitlines())
    return tuple(dict.fromkeys(public_key(line) for line in lines if line and not line.startswith("#")))


def _whole(kind: str, body: str) -> bool:
    """Whether ``body`` is the whole of a key of that kind: its type and its fields, each with its length before it (RFC 4251 5)."""
    try:
        first, *fields = _fields(base64.b64decode(body, validate=True))
    except (binascii.Error, ValueError):
        return False
    if first != kind.encode() or len(fields) != _FIELDS[kind] or not all(fields):
        return False
    if kind.endswith("ed25519") or kind.startswith("sk-ssh"):
        return len(fields[0]) == 32
    return kind != "ssh-rsa" or len(fields[1]) > _LEAST_RSA_BYTES - 1


def _fields(data: bytes) -> Iterator[bytes]:
    while data:
        length = int.from_bytes(data[:4])
        if len(data) < 4 + length:
            raise ValueError("a field ends too early")
        yield data[4 : 4 + length]
        data = data[4 + length :]


def private_subnet(text: str) -> IPv4Network:
    """The private network (RFC 1918) that ``text`` writes as ``10.200.0.0/22``. Raise UsageError for any other."""
    way_out = f"write a private network, as in 10.200.0.0/22, of /{_WIDEST} to /{_NARROWEST}"
    subnet = _network(text)
    if subnet is None:
        raise UsageError(f"{text!r} is not an IPv4 network", resolution=way_out)
    if not any(subnet.subnet_of(block) for block in _PRIVATE_BLOCKS):
        raise UsageError(f"{text} is not a private network", resolution=way_out)
    if subnet.prefixlen > _NARROWEST:
        raise UsageError(f"{text} is too small: it has {max(subnet.num_addresses - 3, 0)} addresses for nodes", resolution=way_out)
    if subnet.prefixlen < _WIDEST:
        raise UsageError(f"{text} is too large: other tenants need networks, too", resolution=way_out)
    return subnet


def _network(text: str) -> IPv4Network | None:
    address, _, prefix = text.partition("/")
    if not re.fullmatch("[0-9]{1,2}", prefix):
        return None
    try:
        return IPv4Network((address, int(prefix)))
    except (AddressValueError, NetmaskValueError, ValueError):  # the last is for an address of one machine in it
        return None
