"""Where a jar goes in a distribution, and where it stands on the class path. Pure; the rules are data in images/stack.yaml."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from labcloud.images.declarations import StackRules
from labcloud.images.model import LockedFile


def folder_of(jar: str, rules: StackRules) -> str:
    """The folder for a jar of this name, relative to the distribution; empty if it stays out."""
    return next((folder for pattern, folder in rules.placement if fnmatchcase(jar, pattern)), "")


def holds_web_pages(jar: str, rules: StackRules) -> bool:
    """Whether only the web pages of the jar go into the distribution, as a jar of their own."""
    return matches(jar, rules.webapps)


def matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def web_pages_jar(jar: str) -> str:
    """The name of the jar that holds the web pages of ``jar``."""
    return jar.removesuffix(".jar").removesuffix("-tests") + "-webapps.jar"


def class_path(home: str, files: Sequence[LockedFile], rules: StackRules) -> str:
    """The class path of all daemons and clients: jars only, folder by folder as the rules say, by name in each."""
    lines = []
    for folder in rules.class_path:
        names = {web_pages_jar(each.name) if holds_web_pages(each.name, rules) else each.name for each in files if each.to == folder}
        lines += [f"{home}/{folder}/{name}" for name in sorted(names) if not matches(name, rules.not_on_class_path)]
    return ":".join(lines)
