"""Each profile renders to what stands in its expected/; ``python -m labcloud.profiles.golden`` writes that anew."""

from pathlib import Path

import pytest

from labcloud.profiles import check, load, names
from labcloud.profiles.golden import rendered


@pytest.mark.parametrize("name", names())
def test_rendering_is_as_reviewed(name: str) -> None:
    folder = load(name).folders[0] / "expected"
    expected = {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*")) if path.is_file()}
    assert rendered(name) == expected


@pytest.mark.parametrize("name", names())
def test_nothing_is_wrong(name: str) -> None:
    assert check(name) == []


def test_the_four_versions_are_there_in_order_of_versions() -> None:
    assert [name for name in names() if name.startswith("hadoop-")] == ["hadoop-2.7", "hadoop-2.10", "hadoop-3.3", "hadoop-3.4"]


def test_versions_share_what_they_have_in_common() -> None:
    own = [Path(load(name).folders[0] / "profile.yaml").read_text(encoding="utf-8") for name in names()]
    assert max(text.count("\n") for text in own) < 40
