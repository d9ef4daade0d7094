"""Which settings a version of Hadoop knows, read from its own jars and written beside its profile.yaml as ``known.tsv``.

    python -m labcloud.profiles.known PROFILE=FOLDER…

FOLDER has the version's jars, anywhere in it. Three things in them are looked at: the ``*-default.xml`` files (names and defaults), the
calls that read a setting (``getInt("dfs.namenode.handler.count", …)`` says what its value has to be, and finds settings that no
default.xml has), and the names that were replaced. If all of labcloud's own profiles are named, what versions share is moved into what
they extend; if only some are, these alone are written, as what differs from what they extend. `knowledge` has the format.
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from labcloud.errors import UsageError
from labcloud.profiles import files
from labcloud.profiles.bytecode import Call, ClassFile, read_class
from labcloud.profiles.knowledge import ABSENT, DEPRECATED, FILE, KINDS, STACK, Known, merged
from labcloud.profiles.loading import load

_GETTERS: Final = {
    "getBoolean": "boolean",
    "getInt": "int",
    "getLong": "long",
    "getFloat": "float",
    "getDouble": "float",
    "getLongBytes": "size",
    "getTimeDuration": "duration",
}
_DESCRIPTORS: Final = {"Z": "boolean", "I": "int", "J": "long", "F": "float", "D": "float"}
_DEFAULTS: Final = re.compile(r"(?:^|/)(core|hdfs|yarn|mapred)-default\.xml$")
_JAR: Final = re.compile(r"^hadoop-(?!shaded|.*(?:examples|tests)).*\.jar$")
_CONFIGURATION: Final = ("Configuration", "Conf")
_NAME: Final = re.compile(r"^(?:dfs|yarn|mapreduce|mapred|hadoop|fs|ipc|io|ha|net|rpc|nfs)(?:\.[A-Za-z0-9_-]+)+$")
# Classes that declare names, as DFSConfigKeys, HdfsClientConfigKeys$Retry and YarnConfiguration.
_DECLARING: Final = re.compile(
    r"(?:Config(?:uration)?Keys(?:Public)?|(?:Yarn|CapacityScheduler)Configuration|(?:MR|MRJob|JHAdmin)Config)\b"
)
_PART: Final = re.compile(r"\[[^]]*\]|\{[^}]*\}|<[^>]*>|\$\w+|%s|\bEXAMPLE\w*")
# The file that people write a setting into that no default.xml has.
_FILES: Final = (
    ("yarn.scheduler.capacity.", "capacity-scheduler"),
    ("yarn.app.mapreduce.", "mapred-site"),
    ("yarn.", "yarn-site"),
    ("mapreduce.", "mapred-site"),
    ("mapred.", "mapred-site"),
    ("dfs.", "hdfs-site"),
    ("nfs.", "hdfs-site"),
)


@dataclass
class _Evidence:
    """What a version's jars say, put together."""

    documented: dict[str, tuple[str, str]] = field(default_factory=dict)
    read: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    declared: dict[str, str] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)


def settings_of(folder: Path) -> list[Known]:
    """What the jars in ``folder`` know. Raise UsageError if there are none of Hadoop's in it."""
    evidence = _Evidence()
    for jar in sorted(path for path in folder.rglob("*.jar") if _JAR.match(path.name)):
        with zipfile.ZipFile(jar) as archive:
            for name in archive.namelist():
                if found := _DEFAULTS.search(name):
                    _take_defaults(evidence, f"{found[1]}-site", archive.read(name))
                elif name.endswith(".class"):
                    _take_class(evidence, read_class(archive.read(name)))
    if not evidence.documented:
        raise UsageError(f"{folder} has no jar with a core-default.xml", resolution="name a folder with the distribution's jars")
    return sorted(_known(evidence))


def _take_defaults(evidence: _Evidence, file: str, content: bytes) -> None:
    for each in ET.fromstring(content).iter("property"):  # noqa: S314 - it comes from the distribution
        name = _PART.sub("*", (each.findtext("name") or "").strip())
        default = " ".join((each.findtext("value") or "").split())
        if name:
            evidence.documented.setdefault(name, (file, default))


def _take_class(evidence: _Evidence, each: ClassFile) -> None:
    if _DECLARING.search(each.name):
        evidence.declared.update(_declared(each))
    for call in (call for calls in each.calls.values() for call in calls):
        if call.name == "<init>" and call.owner.endswith("$DeprecationDelta"):
            evidence.replaced.update(_replaced(call))
        elif name := _setting(call):
            evidence.read[name].add(_GETTERS.get(call.name, "text"))


def _declared(each: ClassFile) -> Iterator[tuple[str, str]]:
    """Names that a class of constants declares, with the kind of the default that it declares beside them."""
    for field_name, (_, value) in each.constants.items():
        if isinstance(value, str) and _NAME.match(value):
            stem = field_name.removesuffix("_KEY")
            beside = (each.constants.get(other) for other in (f"{stem}_DEFAULT", f"DEFAULT_{stem}"))
            yield value, next((_DESCRIPTORS.get(found[0], "text") for found in beside if found), "text")


def _setting(call: Call) -> str:
    """The name of the setting that a getter is asked for, if it is a constant; empty for other calls."""
    if not (call.name.startswith("get") and call.descriptor.startswith("(Ljava/lang/String;") and call.owner.endswith(_CONFIGURATION)):
        return ""
    wanted = sum(each == "Ljava/lang/String;" for each in call.parameters)
    return next((text for text in call.texts[-wanted:] if _NAME.match(text)), "")


def _replaced(call: Call) -> Iterator[tuple[str, str]]:
    texts = call.texts if call.parameters[1:2] == ("[Ljava/lang/String;",) else call.texts[-2:]
    if len(texts) > 1:
        yield texts[0], ", ".join(texts[1:])


def _known(evidence: _Evidence) -> Iterator[Known]:
    current = {*evidence.documented, *evidence.read, *evidence.declared} - set(evidence.replaced)
    for name in current:
        file, default = evidence.documented.get(name, (_file(name), ""))
        yield Known(file, name, _kind(evidence, name, default), default)
    for name, instead in evidence.replaced.items():
        new = instead.split(", ")[0]
        yield Known(evidence.documented.get(new, (_file(new), ""))[0], name, DEPRECATED, instead)


def _kind(evidence: _Evidence, name: str, default: str) -> str:
    for kind in KINDS[:-1]:
        if kind in evidence.read.get(name, ()):
            return kind
    if default in {"true", "false"}:
        return "boolean"
    declared = evidence.declared.get(name, "text")
    return declared if name not in evidence.documented or re.fullmatch(r"-?\d+(\.\d+)?", default) else "text"


def _file(name: str) -> str:
    return next((file for prefix, file in _FILES if name.startswith(prefix)), "core-site")


# Files


def write_all(found: Mapping[str, Sequence[Known]], root: Path | None = None) -> list[Path]:
    """Write the files of these profiles; returns them. What all descendants of an abstract one share goes there, if all are ``found``."""
    chains = {name: [folder for folder, _ in files.ancestry(name, root)] for name in found}
    written = []
    if set(found) >= {name for name in files.concrete(root) if files.known(root)[name].parent == files.roots(root)[-1]}:
        for folder, lines in _shared(found, chains).items():
            _write(folder / FILE, lines)
            written.append(folder / FILE)
    for name, chain in chains.items():
        _, inherited = merged(chain[1:])
        own = {each.name: each for each in found[name]}
        lines = {each for each in found[name] if inherited.get(each.name) != each}
        lines |= {Known(each.file, each.name, ABSENT) for each in inherited.values() if each.name not in own}
        _write(chain[0] / FILE, lines, load(name, root).stack)
        written.append(chain[0] / FILE)
    return written


def _shared(found: Mapping[str, Sequence[Known]], chains: Mapping[str, Sequence[Path]]) -> dict[Path, set[Known]]:
    """What all descendants of a folder have in common, without what its ancestors have."""
    common: dict[Path, set[Known]] = {}
    for name, chain in chains.items():
        for folder in chain[1:]:
            common[folder] = common.get(folder, set(found[name])) & set(found[name])
    above = {folder: chain[index + 1 :] for chain in chains.values() for index, folder in enumerate(chain)}
    return {folder: lines.difference(*(common[each] for each in above[folder])) for folder, lines in common.items()}


def _write(path: Path, lines: set[Known], stack: str = "") -> None:
    text = [f"{STACK}\t{stack}"] if stack else []
    text += ["\t".join((each.file, each.name, each.kind, each.default)) for each in sorted(lines)]
    path.write_text("".join(f"{line}\n" for line in text), encoding="utf-8")


def main(arguments: Sequence[str]) -> None:
    named = [argument.partition("=") for argument in arguments]
    if not named or not all(folder for _, _, folder in named):
        raise UsageError("name profiles and the folders of their jars", resolution="write PROFILE=FOLDER")
    for path in write_all({profile: settings_of(Path(folder)) for profile, _, folder in named}):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
