"""Makes a running node what is declared for it, and says how it differs. What that is, the node reads itself (docs/node.md).

Knows no configuration: files and packages are the node's to compare, whatever a cluster declares.
"""

from __future__ import annotations

from typing import Final

from labcloud.errors import ConfiguringError
from labcloud.model import NodeRef
from labcloud.providers.base import Command, Provider, Result

_PROGRAM: Final = "/usr/lib/labcloud/refresh"
_FAULTS: Final = 1
_ABSENT: Final = frozenset({126, 127})


def refresh(provider: Provider, ref: NodeRef) -> list[str]:
    """Have the node take up what is declared and what the lab says for all nodes; returns a line for each thing that changed.

    Waits until packages are installed, too. Raise ConfiguringError with what the node said if something could not be done; the rest was.
    """
    result = provider.execute(ref, Command((_PROGRAM,)))
    if result.exit_code:
        raise ConfiguringError(
            f"the node {ref} could not be made all that is declared for it",
            details=_said(result),
            resolution=_resolution(ref, result),
        )
    return _lines(result)


def drift(provider: Provider, ref: NodeRef) -> list[str]:
    """How the node differs from what is declared, a line for each thing, and for each that can never be so; empty if it does not differ.

    Changes nothing. Raise ConfiguringError if the node cannot tell.
    """
    result = provider.execute(ref, Command((_PROGRAM, "--check")))
    if result.exit_code in (0, _FAULTS):
        faults = result.stderr.decode(errors="replace").splitlines()
        return [*_lines(result), *(line.partition(": ")[2] or line for line in faults)]
    raise _incomparable(ref, result)


def difference(provider: Provider, ref: NodeRef, path: str) -> str:
    """How one declared file differs on the node, as a unified diff; empty if it does not.

    Raise ConfiguringError if the node cannot tell.
    """
    result = provider.execute(ref, Command((_PROGRAM, "--diff", path)))
    if result.exit_code:
        raise _incomparable(ref, result)
    return result.stdout.decode(errors="replace")


def _incomparable(ref: NodeRef, result: Result) -> ConfiguringError:
    return ConfiguringError(
        f"the node {ref} could not be compared with what is declared for it", details=_said(result), resolution=_resolution(ref, result)
    )


def _resolution(ref: NodeRef, result: Result) -> str:
    if result.exit_code in _ABSENT:
        return f"its image is from before this was possible: labcloud image build, then make {ref.cluster} again"
    return "correct what it says, then run the same command again"


def _lines(result: Result) -> list[str]:
    return result.stdout.decode(errors="replace").splitlines()


def _said(result: Result) -> str:
    return (result.stderr or result.stdout).decode(errors="replace")[-2000:]
