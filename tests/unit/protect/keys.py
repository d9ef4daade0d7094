"""A restic key that opens in no time. restic derives a repository's key for half a second in each call, to slow down whoever guesses
passwords; a test guesses none. What is written is restic's own format (its doc/design.rst, "Keys, Encryption and MAC")."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

CHEAP = {"N": 2, "r": 1, "p": 1}


def quicken(repository: Path, password: bytes) -> None:
    """Replace the only key of ``repository`` by one with the same password whose derivation costs nothing."""
    (file,) = (repository / "keys").iterdir()
    key = json.loads(file.read_bytes())
    master = _open(_derive(key, password), base64.b64decode(key["data"]))
    key |= CHEAP
    key["data"] = base64.b64encode(_seal(_derive(key, password), master)).decode()
    text = json.dumps(key).encode()
    file.unlink()
    (repository / "keys" / hashlib.sha256(text).hexdigest()).write_bytes(text)


def _derive(key: dict[str, str | int], password: bytes) -> bytes:
    """32 bytes of AES key, then the two halves of a Poly1305-AES key: k, r."""
    salt, n, r, p = base64.b64decode(str(key["salt"])), int(key["N"]), int(key["r"]), int(key["p"])
    return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=1 << 30, dklen=64)


def _ctr(key: bytes, nonce: bytes, data: bytes) -> bytes:
    return Cipher(algorithms.AES(key[:32]), modes.CTR(nonce)).encryptor().update(data)


def _mac(key: bytes, nonce: bytes) -> Poly1305:
    block = Cipher(algorithms.AES(key[32:48]), modes.ECB()).encryptor().update(nonce)  # noqa: S305 (one block: Poly1305-AES)
    return Poly1305(key[48:64] + block)


def _open(key: bytes, sealed: bytes) -> bytes:
    nonce, text, tag = sealed[:16], sealed[16:-16], sealed[-16:]
    mac = _mac(key, nonce)
    mac.update(text)
    mac.verify(tag)
    return _ctr(key, nonce, text)


def _seal(key: bytes, plain: bytes) -> bytes:
    nonce = os.urandom(16)
    text = _ctr(key, nonce, plain)
    mac = _mac(key, nonce)
    mac.update(text)
    return nonce + text + mac.finalize()
