"""What is asked for of one group, and what goes before what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labcloud.errors import UsageError
from labcloud.model import Volume
from labcloud.model.shape import GroupShape, parse_shapes

FAST = (Volume(20, "fast"), Volume(100, "bulk"))
maybe = st.none() | st.integers(1, 9)
shapes = st.builds(GroupShape, maybe, maybe, maybe, maybe, maybe, st.none() | st.sampled_from(["", "fast"])) | st.builds(
    GroupShape, maybe, maybe, maybe, st.lists(st.builds(Volume, st.integers(1, 9)), min_size=1, max_size=3).map(tuple)
)


def test_groups_are_read_one_by_one_and_together() -> None:
    texts = ["worker:count=3,memory=4g,cpus=0.5", "worker:volumes=20g@fast+100g@bulk", "master:volume-size=5g,storage=fast"]
    assert parse_shapes(texts) == {
        "worker": GroupShape(3, 4096, 0.5, FAST), "master": GroupShape(volume_size=5, storage="fast"),
    }  # fmt: skip


def test_of_one_thing_that_is_said_twice_the_last_counts() -> None:
    assert parse_shapes(["w:count=3,memory=1g", "w:count=4"]) == {"w": GroupShape(4, 1024)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("worker", "does not say anything of a group"),
        (":count=3", "does not say anything of a group"),
        ("worker:", "does not say anything of a group"),
        ("worker:count", "'count' says nothing"),
        ("worker:cout=3", "a group has no 'cout'"),
        ("worker:count=-1", "'-1' is not a number of nodes"),
        ("worker:count=many", "'many' is not a number of nodes"),
        ("worker:cpus=nan", "'nan' is not a number of cores"),
        ("worker:cpus=0", "'0' is not a number of cores"),
        ("worker:memory=4", "'4' is not an amount of memory"),
        ("worker:volumes=0", "a node cannot do without a volume"),
        ("worker:volumes=20g@fast,volume-size=5g", "sizes and classes of the volumes are said twice"),
    ],
)
def test_what_cannot_be_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_shapes([text])
    assert said in caught.value.brief
    assert caught.value.resolution


def test_the_nearest_key_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        parse_shapes(["worker:cout=3"])
    assert "did you mean count?" in caught.value.resolution


@given(shapes, shapes)
def test_what_is_said_above_holds_and_the_rest_comes_from_below(above: GroupShape, below: GroupShape) -> None:
    both = above.over(below)
    for name in ("count", "memory", "cpus"):
        assert getattr(both, name) == (getattr(below, name) if getattr(above, name) is None else getattr(above, name))
    default = (Volume(7), Volume(7))
    assert both.data_volumes(default) == above.data_volumes(below.data_volumes(default)) or above.volumes is not None


def test_a_size_for_all_goes_before_the_sizes_of_volumes_that_are_listed() -> None:
    assert GroupShape(volume_size=5).over(GroupShape(volumes=FAST)) == GroupShape(volumes=(Volume(5, "fast"), Volume(5, "bulk")))
    assert GroupShape(volumes=2).over(GroupShape(volumes=FAST)) == GroupShape(volumes=2)
    assert GroupShape(volumes=FAST).over(GroupShape(volumes=2, volume_size=9, storage="x")) == GroupShape(volumes=FAST)


def test_volumes_that_nobody_asked_for_are_the_profiles() -> None:
    default = (Volume(10), Volume(10))
    assert GroupShape().data_volumes(default) == default
    assert GroupShape(volumes=3).data_volumes(default) == (Volume(10),) * 3
    assert GroupShape(storage="fast").data_volumes(default) == (Volume(10, "fast"),) * 2
    assert GroupShape(volumes=1, volume_size=4, storage="fast").data_volumes(default) == (Volume(4, "fast"),)
