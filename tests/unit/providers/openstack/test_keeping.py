"""What a backup of Cinder says of itself survives the way into its metadata and back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as some

from labcloud.model import ClusterRef, NodeRef
from labcloud.providers.base import KeptVolume
from labcloud.providers.openstack import identity
from labcloud.providers.openstack.keeping import _backup, _packed, _unpacked

REF = NodeRef(ClusterRef("acme", "lab"), "worker", 3)


def backup(**changed: Any) -> Any:
    marks = identity.volume_metadata("1ab", REF, 1) | {"labcloud.copy": "20261127t020000-0001"} | _packed({"a": "b"})
    facts = {
        "id": "u-1", "volume_id": "v-1", "metadata": marks, "created_at": "2026-11-27T02:00:01.000000", "is_incremental": True,
        "status": "available", "fail_reason": None, "size": 2,
    }  # fmt: skip
    return SimpleNamespace(**facts | changed)


@given(some.dictionaries(some.text(), some.text(max_size=3000), max_size=5))
def test_facts_come_back_in_pieces_that_cinder_takes(facts: dict[str, str]) -> None:
    packed = _packed(facts)
    assert all(len(name) <= 255 and len(value) <= 255 and value.isascii() for name, value in packed.items())
    assert _unpacked(dict(reversed(packed.items())) | {"labcloud.lab": "1ab"}) == facts


def test_facts_that_somebody_changed_are_none() -> None:
    packed = _packed({"manifest": "much to say " * 50})
    (first, *_) = packed
    assert _unpacked(packed | {first: "not this"}) == {}
    assert _unpacked({}) == {}


def test_a_backup_is_the_volume_that_it_was_made_of() -> None:
    kept = _backup(backup()).kept
    assert (kept.ref, kept.number, kept.copy, kept.whole, kept.state) == (REF, 1, "20261127t020000-0001", False, KeptVolume.KEPT)
    assert (kept.made.isoformat(), kept.size, kept.facts) == ("2026-11-27T02:00:01+00:00", 2 << 30, {"a": "b"})
    states = {"creating": KeptVolume.MAKING, "restoring": KeptVolume.KEPT, "error": "error", "error_deleting": "error_deleting"}
    assert {status: _backup(backup(status=status)).kept.state for status in states} == states
    assert _backup(backup(status="error", fail_reason="no space left")).kept.said == "no space left"
