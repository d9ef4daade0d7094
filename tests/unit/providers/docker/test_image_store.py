"""Images as the engine tells of them, on an engine that only answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from labcloud.errors import EngineError
from labcloud.images import sizes
from labcloud.providers.docker.image_store import DockerImageStore

FULL = "Error processing tar file(exit status 1): write /opt/java/lib/rt.jar: no space left on device"


class Answers:
    """What the engine's SDK is asked, with its answers. ``kept``: each image's layers, as the digests of their content."""

    def __init__(self, **kept: list[str]) -> None:
        self.kept = kept

    @contextmanager
    def api(self, _: str) -> Iterator[Answers]:
        yield self

    def images(self, **_: Any) -> list[dict[str, Any]]:
        labels = {"labcloud.image": "java-8", "labcloud.digest": "1"}
        return [{"Id": name, "RepoTags": [f"labcloud/{name}:1"], "Labels": labels} for name in self.kept]

    def containers(self, **_: Any) -> list[Any]:
        return []

    def inspect_image(self, name: str) -> dict[str, Any]:
        return {"RootFS": {"Layers": self.kept[name]}}

    def history(self, name: str) -> list[dict[str, Any]]:
        return [{"Size": 10, "CreatedBy": ""} for _ in self.kept[name]]

    def build(self, **_: Any) -> list[dict[str, Any]]:
        return [{"stream": "Step 2/8 : ADD layer.tar /"}, {"error": FULL, "errorDetail": {"message": FULL}}]

    def import_image_from_file(self, *_: Any, **__: Any) -> str:
        return f'{{"errorDetail": {{"message": "{FULL}"}}, "error": "{FULL}"}}'


def store(**kept: list[str]) -> DockerImageStore:
    return DockerImageStore(Answers(**kept))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kept", "total"),
    [
        ({"a": ["debian", "base", "java"], "b": ["debian", "base", "java", "hadoop"]}, 40),
        ({"a": ["debian", "base", "java"], "b": ["debian", "other", "java"]}, 50),  # the same Java upon another base is stored again
        ({"a": ["debian"], "b": ["debian"]}, 10),
    ],
)
def test_a_layer_is_shared_with_what_is_below_it(kept: dict[str, list[str]], total: int) -> None:
    assert sizes.table(store(**kept).images(layers=True), ()).total == total


def test_a_chain_is_named_as_the_standard_says() -> None:
    """The identifiers of two layers of an image by the OCI's formula."""
    (image,) = store(a=["sha256:aa", "sha256:bb"]).images(layers=True)
    # printf 'sha256:aa sha256:bb' | sha256sum
    assert [each.id for each in image.layers] == ["sha256:aa", "sha256:b68ad689d6d1ec110ea1c13617437ad6f3766d4b3b309f6a603a222e07a0164f"]


def test_a_full_disk_is_called_that_wherever_it_shows(tmp_path: Any) -> None:
    context = tmp_path / "context"
    context.mkdir()
    for doing in (lambda: store().build(context, "labcloud/x:1"), lambda: store().import_tar(tmp_path / "x.tar", "labcloud/x:1", {})):
        with pytest.raises(EngineError, match="labcloud/x:1: the disk is full") as caught:
            doing()
        assert "labcloud image prune" in caught.value.resolution
        assert "rt.jar" in caught.value.details
