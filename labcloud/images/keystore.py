"""A Java trust store made of PEM certificates, without a JVM: one JVM a certificate would take a minute.

The format is JKS version 2, which every Java reads (sun.security.provider.JavaKeyStore): a header, entries, and a SHA-1 over
password, a fixed phrase and all that. Knows nothing else.
"""

from __future__ import annotations

import hashlib
import re
import ssl
import struct
from typing import Final

_MAGIC: Final = 0xFEEDFEED
_VERSION: Final = 2
_CERTIFICATE: Final = 2
_PHRASE: Final = b"Mighty Aphrodite"
_PASSWORD: Final = "changeit"  # noqa: S105 - Java's documented default; the store holds public certificates only
_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def trust_store(pem: str, epoch: int) -> bytes:
    """A JKS with every certificate of ``pem``, dated ``epoch`` (seconds since 1970)."""
    certificates = [ssl.PEM_cert_to_DER_cert(each) for each in _PEM.findall(pem)]
    body = struct.pack(">III", _MAGIC, _VERSION, len(certificates))
    for der in certificates:
        alias = hashlib.sha256(der).hexdigest()[:32]
        body += struct.pack(">I", _CERTIFICATE) + _text(alias) + struct.pack(">Q", epoch * 1000)
        body += _text("X.509") + struct.pack(">I", len(der)) + der
    seal = hashlib.sha1(_PASSWORD.encode("utf-16-be") + _PHRASE + body, usedforsecurity=False)
    return body + seal.digest()


def _text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack(">H", len(encoded)) + encoded
