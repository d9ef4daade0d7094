"""The limits of containers that exist: asked, and changed while they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from labcloud.errors import EngineError
from labcloud.model import FoundNode, NodeRef, format_memory
from labcloud.providers.docker.containers import limits_body, limits_of
from labcloud.providers.docker.engine import API_VERSION, refused

if TYPE_CHECKING:
    from docker import APIClient

_MIB: Final = 2**20
_REFUSALS: Final = ("unable to set memory limit", "device or resource busy")  # runc's word for it, and the kernel's
# What the kernel cannot drop from memory, by the names of both versions of cgroups: the caches of files it can.
_KEPT: Final = (("rss", "shmem"), ("anon", "shmem"))


def with_limits(api: APIClient, node: FoundNode) -> FoundNode:
    """``node`` with its real limits, rather than those that it was made with. One that went away meanwhile keeps them."""
    from docker.errors import APIError

    try:
        memory, cpus = limits_of(api.inspect_container(node.engine_id))
    except APIError as exc:
        if not refused(exc, 404):
            raise
        return node
    return replace(node, memory=memory, cpus=cpus)


def resize(api: APIClient, ref: NodeRef, *, memory: int, cpus: float) -> None:
    """Give the container of ``ref`` other limits. Raise EngineError if what runs in it has more memory than ``memory`` MiB.

    Memory and swap are set by one request, so that the engine can choose the order: each of the two must not pass the other on its way.
    The second version of cgroups kills processes until a lower limit holds, where the first refuses it; so it is not tried at all.
    """
    from docker.errors import APIError

    there = api.inspect_container(ref.qualified)
    before, _ = limits_of(there)
    if there["State"]["Running"] and (memory < before or not before):
        kept = -(-_kept(api.stats(ref.qualified, stream=False, one_shot=True)) // _MIB)
        if kept > memory:
            raise _too_small(ref, memory, f"its processes have {format_memory(kept)}")
    try:
        _update(api, ref.qualified, limits_body(memory, cpus))
    except APIError as exc:
        if not any(each in str(exc) for each in _REFUSALS):
            raise
        raise _too_small(ref, memory, "its processes have more") from exc


def _update(api: APIClient, name: str, limits: Mapping[str, int]) -> None:
    """As the SDK's own, which has no word for NanoCpus; a container that was made with it takes no other limit of its cores."""
    from docker.errors import create_api_error_from_http_exception
    from requests import HTTPError

    answer = api.post(f"{api.base_url}/v{API_VERSION}/containers/{name}/update", json=dict(limits), timeout=api.timeout)
    try:
        answer.raise_for_status()
    except HTTPError as exc:
        create_api_error_from_http_exception(exc)


def _kept(stats: Mapping[str, Any]) -> int:
    """Bytes of a container that the kernel cannot take away from it."""
    facts = (stats.get("memory_stats") or {}).get("stats") or {}
    return max(sum(int(facts.get(name, 0)) for name in names) for names in _KEPT)


def _too_small(ref: NodeRef, memory: int, why: str) -> EngineError:
    return EngineError(
        f"could not limit the node {ref} to {format_memory(memory)}: {why}",
        resolution=f"give it more, or stop first what takes it: labcloud exec {ref.cluster} --node {ref.name} -- top -bn1",
    )
