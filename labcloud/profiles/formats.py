"""The formats that rendered configuration has: Hadoop's XML, its lists of hosts, and assignments for a POSIX shell. Values are untrusted.

Nothing here knows what the values mean.
"""

from __future__ import annotations

import json
import re
import shlex
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
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


def host_list(file: str, leaving: Iterable[str]) -> str:
    """The list of hosts that are ``leaving``: one a line, in a ``file`` that ends in ``.json`` as HDFS's CombinedHostFileManager reads it.

    A list that names no host in service lets every host in. https://hadoop.apache.org/docs/stable/hadoop-project-dist/hadoop-hdfs/HdfsDataNodeAdminGuide.html
    """
    if not file.endswith(".json"):
        return "".join(f"{host}\n" for host in sorted(leaving))
    return _hosts_json([{"hostName": host, "adminState": "DECOMMISSIONED"} for host in sorted(leaving)])


def in_maintenance(hosts: str, host: str, until: float) -> str:
    """The list ``hosts`` (JSON) with ``host``, which will be back ``until`` then (seconds since 1970), at the latest."""
    entry = {"hostName": host, "adminState": "IN_MAINTENANCE", "maintenanceExpireTimeInMS": round(until * 1000)}
    return _hosts_json([*json.loads(back_in_service(hosts, host)), entry])


def back_in_service(hosts: str, host: str) -> str:
    """The list ``hosts`` (JSON) without the maintenance of ``host``."""
    return _hosts_json([each for each in json.loads(hosts) if (each["hostName"], each["adminState"]) != (host, "IN_MAINTENANCE")])


def _hosts_json(entries: Iterable[Mapping[str, object]]) -> str:
    """One host a line."""
    lines = ",\n".join(json.dumps(each) for each in entries)
    return f"[\n{lines}\n]\n" if lines else "[]\n"


def shell_assignments(variables: Mapping[str, str]) -> str:
    """Return one ``NAME=value`` a line, quoted for a POSIX shell."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
