"""The two formats that rendered configuration has: Hadoop's XML, and assignments for a POSIX shell. Values are untrusted.

Nothing here knows what the values mean.
"""

from __future__ import annotations

import re
import shlex
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

# What XML 1.0 cannot hold in any form: https://www.w3.org/TR/xml/#charsets
_NO_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})


def unrepresentable(text: str) -> str:
    """Return the first character of ``text`` that XML cannot hold, empty if there is none."""
    found = _NO_XML.search(text)
    return found[0] if found else ""


def hadoop_xml(settings: Mapping[str, str]) -> str:
    """Return a Hadoop configuration file. Raise ValueError for a character that XML cannot hold."""
    lines = [_property(name, value) for name, value in settings.items()]
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', "<configuration>", *lines, "</configuration>", ""])


@lru_cache(maxsize=8192)  # thousands of nodes have most of their settings in common
def _property(name: str, value: str) -> str:
    if unrepresentable(name + value):
        raise ValueError(f"{unrepresentable(name + value)!r} in {name!r} cannot be written in XML")
    return f"  <property><name>{name.translate(_ESCAPES)}</name><value>{value.translate(_ESCAPES)}</value></property>"


def read_hadoop_xml(text: str | None) -> dict[str, str] | None:
    """The settings of one of Hadoop's files; None for what is none, as XML of another kind. A file that is not there has no settings."""
    if not text:
        return {}
    try:
        root = ET.fromstring(text.encode())  # noqa: S314 - it is a tenant's own configuration
    except ET.ParseError:
        return None
    if root.tag != "configuration":
        return None
    return {(each.findtext("name") or "").strip(): (each.findtext("value") or "") for each in root.iter("property")}


def shell_assignments(variables: Mapping[str, str]) -> str:
    """Return one ``NAME=value`` a line, quoted for a POSIX shell."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
