"""A lab of its own for the whole run, on the real Docker Engine; nothing of it is left at the end, whatever happens.

Downloads are kept where ``labcloud image build`` keeps them (``LABCLOUD_CACHE``, else the user's own lab), so only the very
first run downloads. A missing engine fails; missing images are built.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from labcloud.lab import home
from tests.acceptance.driver import Labcloud, docker, run

PROFILES = ("hadoop-2.7", "hadoop-2.10", "hadoop-3.3", "hadoop-3.4")
_LABS: list[Labcloud] = []
_TABLES = pytest.StashKey[dict[str, str]]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        enough = item.get_closest_marker("enough")
        if enough and isinstance(item, pytest.Function) and not set(enough.args) & set(item.callspec.params.values()):
            item.add_marker("thorough")


@pytest.fixture(scope="session")
def labcloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labcloud]:
    cache = Path(os.environ.get("LABCLOUD_CACHE") or home() / "cache")
    lab = Labcloud(tmp_path_factory.mktemp("lab") / "home", cache)
    run(("docker", "version"))
    unprotected(lab)
    lab("image", "build", *PROFILES, timeout=900)
    _LABS.append(lab)
    try:
        yield lab
    finally:
        try:
            clean(lab)
            left = lab.leftovers()
        finally:
            remove_by_force(lab)
    assert left == [], "labcloud's own delete left this"


def unprotected(lab: Labcloud) -> None:
    """No backup is made by itself beside what is tested; tests of backups say otherwise."""
    lab("backup", "policy", "set", "--lab", "enabled=false")


def clean(lab: Labcloud) -> None:
    """Delete every cluster, as a user would."""
    refs = [f"{each['tenant']}/{each['name']}" for each in lab.json("list")]
    if refs:
        lab("delete", "--yes", *refs, expect=None)


def remove_by_force(lab: Labcloud) -> None:
    """What the program left; only after that was noted."""
    mine = f"label=labcloud.lab={lab.id}"
    for kind, listing in (("rm -f", "ps -aq"), ("network rm", "network ls -q"), ("volume rm -f", "volume ls -q")):
        found = docker(*listing.split(), "--filter", mine).split()
        if found:
            run(("docker", *kind.split(), *found), expect=None)
    shutil.rmtree(lab.home / "rendered", ignore_errors=True)


@pytest.fixture(scope="session")
def mark() -> str:
    """What the names of this run's tenants begin with."""
    return f"at-{secrets.token_hex(3)}"


@pytest.fixture
def fresh_lab(labcloud: Labcloud, tmp_path: Path) -> Iterator[Labcloud]:
    """A lab for one test that breaks it."""
    lab = Labcloud(tmp_path / "home", labcloud.cache)
    unprotected(lab)
    yield lab
    if lab.id:
        clean(lab)
        left = lab.leftovers()
        remove_by_force(lab)
        assert left == []


@pytest.fixture
def show_table(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Show a table, by its title, above pytest's own summary."""
    tables = request.config.stash.setdefault(_TABLES, {})

    def show(title: str, table: str) -> None:
        tables[title] = table

    return show


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for title, table in config.stash.get(_TABLES, {}).items():
        terminalreporter.section(title)
        terminalreporter.write_line(table)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure says what the clusters looked like when it happened."""
    report = yield
    if report.failed and call.when != "teardown":
        for lab in _LABS:
            report.sections += [(title, _said(ask)) for title, ask in _questions(lab).items()]
    return report


def _questions(lab: Labcloud) -> dict[str, Callable[[], str]]:
    refs = [f"{each['tenant']}/{each['name']}" for each in lab.json("list")]
    questions: dict[str, Callable[[], str]] = {"docker ps -a": lambda: docker("ps", "-a")}
    for ref in refs:
        questions[f"labcloud show {ref}"] = lambda ref=ref: lab("show", ref, expect=None).text
        questions[f"labcloud logs {ref}"] = lambda ref=ref: lab("logs", "-n", "5", ref, expect=None).text
    return questions


def _said(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except (AssertionError, OSError, subprocess.TimeoutExpired) as exc:
        return f"(no answer: {exc})"
