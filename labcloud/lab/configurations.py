"""Configurations as they stand in the YAML files of clusters, tenants and bindings. Knows nothing of where the files are kept."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from labcloud.errors import UsageError
from labcloud.lab.document import Document
from labcloud.model import NO_CONFIGURATION, Binding, Configuration, Level, NodeFile, NodeFolder
from labcloud.model.node_paths import refused

if TYPE_CHECKING:
    import yaml

KEYS: Final = ("settings", "environment", "files", "directories", "packages", "health")
"""The keys of a file, or of an entry in it, that a configuration is made of."""

_SETTING: Final = re.compile(r"[a-z][a-z0-9-]*:[^\s:][^\s]*")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LABEL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_USER: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_MODE: Final = re.compile(r"[0-7]{3,4}")
# https://www.debian.org/doc/debian-policy/ch-controlfields.html#source
# A hyphen at the end would ask apt-get to remove it.
_PACKAGE: Final = re.compile(r"[a-z0-9][a-z0-9.+-]*[a-z0-9.+](=[A-Za-z0-9.+:~-]+)?")
_CHECK: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_PATH: Final = re.compile(r"/[^\x00-\x1f\x7f]{1,4000}")
_SOURCE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]*")


def configuration_document(configuration: Configuration) -> dict[str, Any]:
    """The plain data of a configuration; what it does not say is left out."""
    document = {
        "settings": dict(sorted(configuration.settings.items())),
        "environment": dict(configuration.environment),
        "files": {
            path: ({} if each.source else {"content": each.content}) | _plain(each, NodeFile())
            for path, each in configuration.files.items()
        },
        "directories": {path: _plain(each, NodeFolder()) for path, each in configuration.directories.items()},
        "packages": list(configuration.packages),
        "health": dict(configuration.health),
    }
    return {key: value for key, value in document.items() if value}


def _plain(value: NodeFile | NodeFolder, default: NodeFile | NodeFolder) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__ if getattr(value, name) != getattr(default, name)}


def read_configuration(document: Document, fields: Mapping[str, yaml.Node]) -> Configuration:
    """What the entries `KEYS` of ``fields`` say. Raise ConfigError with the line of what is wrong."""
    found = Configuration(
        settings=MappingProxyType(read_settings(document, fields.get("settings"))),
        environment=MappingProxyType(document.entries(fields.get("environment"), variable, _one_line)),
        files=MappingProxyType(
            {document.scalar(key, node_path): _file(document, value) for key, value in document.pairs(fields.get("files"))}
        ),
        directories=MappingProxyType(
            {document.scalar(key, node_path): _folder(document, value) for key, value in document.pairs(fields.get("directories"))}
        ),
        packages=tuple(document.scalar(item, package) for item in document.items(fields["packages"])) if "packages" in fields else (),
        health=MappingProxyType(document.entries(fields.get("health"), _check_name, _script)),
    )
    return found or NO_CONFIGURATION


def read_settings(document: Document, node: yaml.Node | None) -> dict[str, str]:
    return document.entries(node, setting, lambda value: value)


def read_labels(document: Document, node: yaml.Node | None) -> Mapping[str, str]:
    return MappingProxyType(
        document.entries(node, lambda text: _matching(_LABEL, text, "a label: letters, digits and _"), lambda value: value)
    )


def read_binding(text: str, name: str, path: Path) -> Binding:
    """The binding ``name`` that ``text`` declares. Raise ConfigError with ``path`` and the line of what is wrong."""
    document = Document(path)
    fields = document.mapping(document.root(text), required=(), more=("title", "where", "level", *KEYS))
    return Binding(
        name,
        read_configuration(document, fields),
        level=document.scalar(fields.get("level"), _level, Level.LAB),
        where=document.scalar(fields.get("where"), lambda text: text, ""),
    )


def read_base(text: str, path: Path) -> Configuration:
    """The base's Hadoop settings: one mapping of ``FILE:NAME`` to values. Raise ConfigError as `read_binding` does."""
    document = Document(path)
    settings = read_settings(document, document.root(text))
    return Configuration(settings=MappingProxyType(settings))


def setting(text: str) -> str:
    """``text`` if it names a setting. Raise UsageError otherwise."""
    return _matching(_SETTING, text, "a setting: write FILE:NAME, as in hdfs-site:dfs.replication")


def variable(text: str) -> str:
    """``text`` if it can name an environment variable that people may set. Raise UsageError otherwise."""
    if text.startswith(("LABCLOUD_", "SERVICE_")):
        raise UsageError(f"{text!r} is labcloud's own", resolution="choose another name")
    return _matching(_VARIABLE, text, "the name of an environment variable")


def package(text: str) -> str:
    """``text`` if it names a Debian package, with a version (``jq=1.6-2.1``) or without. Raise UsageError otherwise."""
    return _matching(_PACKAGE, text, "a Debian package, as in jq or jq=1.6-2.1")


def node_path(text: str) -> str:
    """``text`` if it is a path on nodes that people may declare. Raise UsageError otherwise."""
    path = _matching(_PATH, text, "an absolute path")
    if posixpath.normpath(path) != path:
        raise UsageError(f"{text!r} is not the shortest form of a path", resolution=f"write {posixpath.normpath(path)}")
    if why := refused(path):
        raise UsageError(f"{text!r} cannot be declared: {why}", resolution="choose another path")
    return path


def _check_name(text: str) -> str:
    return _matching(_CHECK, text, "the name of a health script: lower-case letters, digits and inner hyphens")


def _script(text: str) -> str:
    if not text.startswith("#!"):
        raise UsageError("a health script begins with the program that runs it", resolution="begin it with #!/bin/sh")
    return text if text.endswith("\n") else f"{text}\n"


def _file(document: Document, node: yaml.Node) -> NodeFile:
    fields = document.mapping(node, required=(), more=("content", "source", "template", "owner", "group", "mode"))
    if ("content" in fields) == ("source" in fields):
        raise document.wrong(node.start_mark.line, "a file has either content or a source")
    return NodeFile(
        content=document.scalar(fields.get("content"), lambda text: text, ""),
        source=document.scalar(fields.get("source"), _source, ""),
        template=document.scalar(fields.get("template"), _truth, False),
        **_access(document, fields, "0644"),
    )


def _folder(document: Document, node: yaml.Node) -> NodeFolder:
    pairs = document.pairs(node)
    fields = document.mapping(node, required=(), more=("owner", "group", "mode")) if pairs else {}
    return NodeFolder(**_access(document, fields, "0755"))


def _access(document: Document, fields: Mapping[str, yaml.Node], mode: str) -> dict[str, str]:
    def user(text: str) -> str:
        return _matching(_USER, text, "an OS user or group")

    return {
        "owner": document.scalar(fields.get("owner"), user, "root"),
        "group": document.scalar(fields.get("group"), user, "root"),
        "mode": document.scalar(fields.get("mode"), lambda text: _matching(_MODE, text, "a mode, as in 0644").zfill(4), mode),
    }


def _source(text: str) -> str:
    source = _matching(_SOURCE, text, "a file below the lab repository's files/")
    if ".." in source.split("/"):
        raise UsageError(f"{text!r} leads out of the lab repository's files/", resolution="name a file below it")
    return source


def _level(text: str) -> Level:
    try:
        level = Level(text)
    except ValueError:
        level = Level.BASE
    if level is Level.BASE:
        raise UsageError(f"{text!r} is no level of a binding", resolution=f"write one of {', '.join(list(Level)[1:])}")
    return level


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise UsageError(f"{text!r} is neither true nor false")
    return text == "true"


def _one_line(text: str) -> str:
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise UsageError(f"{text!r} is more than one line of text")
    return text


def _matching(rule: re.Pattern[str], text: str, what: str) -> str:
    if not rule.fullmatch(text):
        raise UsageError(f"{text!r} is not {what}")
    return text
