"""What somebody asks for of one group of nodes: on the command line, or in a file. Pure; what is not said is somebody else's to say."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any, Final

from labcloud.errors import UsageError
from labcloud.model.sizes import parse_gigabytes, parse_memory
from labcloud.model.storage import Volume, parse_volumes, storage_name

_FORM: Final = "NAME:KEY=VALUE,… as in worker:count=3,memory=4g"
_COUNT: Final = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True)
class GroupShape:
    """What is asked for of a group; None is for what is not said. ``memory`` is MiB a node, ``volume_size`` GiB a volume.

    ``volumes`` is how many there are, each of ``volume_size`` and of the class ``storage``; or just which. Raise UsageError for both.
    """

    count: int | None = None
    memory: int | None = None
    cpus: float | None = None
    volumes: int | tuple[Volume, ...] | None = None
    volume_size: int | None = None
    storage: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.volumes, tuple) and (self.volume_size is not None or self.storage is not None):
            raise UsageError(
                "the sizes and classes of the volumes are said twice", resolution="say them once, as in 2x20g@fast+1x100g@bulk"
            )

    def over(self, below: GroupShape) -> GroupShape:
        """This, and what ``below`` says of what this does not."""
        own = {each.name: value for each in fields(self) if (value := getattr(self, each.name)) is not None}
        if isinstance(self.volumes, tuple):
            below = replace(below, volumes=None, volume_size=None, storage=None)
        elif isinstance(below.volumes, tuple) and (self.volume_size is not None or self.storage is not None) and self.volumes is None:
            own["volumes"] = self.data_volumes(below.volumes)
            own.pop("volume_size", None)
            own.pop("storage", None)
        return replace(below, **own)

    def data_volumes(self, default: tuple[Volume, ...]) -> tuple[Volume, ...]:
        """The volumes that are asked for, where ``default`` is what nobody asked for."""
        if isinstance(self.volumes, tuple):
            return self.volumes
        first = default[0] if default else Volume()
        wanted = default if self.volumes is None else (first,) * self.volumes
        return tuple(
            Volume(each.size if self.volume_size is None else self.volume_size, each.storage if self.storage is None else self.storage)
            for each in wanted
        )


def parse_shapes(texts: Iterable[str]) -> dict[str, GroupShape]:
    """What texts of the form ``worker:count=3,memory=4g`` say, by group; of one thing that is said twice the last counts.

    Raise UsageError for what cannot be.
    """
    found: dict[str, GroupShape] = {}
    for text in texts:
        name, colon, said = text.partition(":")
        if not colon or not name or not said:
            raise UsageError(f"{text!r} does not say anything of a group", resolution=f"write {_FORM}")
        found[name] = _parse(name, said).over(found.get(name, GroupShape()))
    return found


def _parse(name: str, said: str) -> GroupShape:
    values: dict[str, Any] = {}
    for pair in said.split(","):
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"{pair!r} says nothing of the group {name!r}", resolution=f"write {_FORM}")
        if key not in READ:
            near = get_close_matches(key, READ, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UsageError(f"a group has no {key!r}", resolution=f"{hint}known are {', '.join(READ)}")
        values[key.replace("-", "_")] = READ[key](value)
    return GroupShape(**values)


def parse_count(text: str) -> int:
    """A number of nodes. Raise UsageError for anything else; which numbers may be is the profile's to say."""
    if not _COUNT.fullmatch(text):
        raise UsageError(f"{text!r} is not a number of nodes", resolution="write a whole number, as in 3")
    return int(text)


def parse_cores(text: str) -> float:
    """A number of cores. Raise UsageError for anything else; which numbers may be is the profile's to say."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UsageError(f"{text!r} is not a number of cores", resolution="write it as in 0.5 or 2")
    return value


def parse_some_volumes(text: str) -> int | tuple[Volume, ...]:
    """As `parse_volumes`, but not none: what a node writes has to lie somewhere."""
    volumes = parse_volumes(text)
    if not volumes:
        raise UsageError("a node cannot do without a volume", resolution="give it one at least")
    return volumes


READ: Final[dict[str, Callable[[str], object]]] = {
    "count": parse_count, "memory": parse_memory, "cpus": parse_cores, "volumes": parse_some_volumes, "volume-size": parse_gigabytes,
    "storage": storage_name,
}  # fmt: skip
"""What may be said of a group, and how it is read."""
