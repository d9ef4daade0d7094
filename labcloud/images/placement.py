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
    """Whether only the web pages of the jar go into the distribution."""
    return matches(jar, rules.webapps)


def matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def is_library(jar: str, rules: StackRules) -> bool:
    """Whether the JVM's own loader may load the jar's classes."""
    return matches(jar, rules.libraries)


def web_pages_jar(jar: str) -> str:
    """The name of the jar that holds the web pages of ``jar``."""
    return jar.removesuffix(".jar").removesuffix("-tests") + "-webapps.jar"


def class_path(home: str, files: Sequence[LockedFile], rules: StackRules, *, jars_only: bool) -> str:
    """The class path of all daemons and clients: folder by folder as the rules say, by name in each.

    Web pages are jars of it, or folders at its end where it need not be ``jars_only``.
    """
    pages = [each for each in files if holds_web_pages(each.name, rules)]
    jars = {(each.to, web_pages_jar(each.name)) for each in pages if jars_only}
    jars |= {(each.to, each.name) for each in files if each not in pages and not matches(each.name, rules.not_on_class_path)}
    lines = [f"{home}/{folder}/{name}" for folder in rules.class_path for to, name in sorted(jars) if to == folder]
    return ":".join(lines + [f"{home}/{each.to}" for each in pages if not jars_only])
