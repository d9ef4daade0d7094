"""Docker as the holder of images: what `labcloud.images.store.ImageStore` asks for. Knows no kind of image.

The builder that every Engine has is used, with the context as a tar file: no program of Docker's need be installed.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from labcloud.errors import EngineError, NotFoundError
from labcloud.images.model import LABEL_NAME, Layer, StoredImage
from labcloud.providers.base import Command
from labcloud.providers.docker import streams
from labcloud.providers.docker.engine import Engine, full_disk, remove_container

_FILTER: Final = {"label": [LABEL_NAME]}
_PATIENCE: Final = 1800  # seconds without a word
_CHUNK: Final = 1 << 20
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


class DockerImageStore:
    """Images of one Docker Engine. Building takes minutes, so the engine's time limit should allow for that."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def images(self, *, layers: bool = False) -> Sequence[StoredImage]:
        with self._engine.api("list the images") as api:
            answers = api.images(filters=_FILTER)
            used = {each["ImageID"] for each in api.containers(all=True)}
            return [
                StoredImage(
                    id=each["Id"],
                    tags=tuple(tag for tag in each.get("RepoTags") or () if not tag.startswith("<none>")),
                    labels=each.get("Labels") or {},
                    layers=_layers(api, each["Id"]) if layers else (),
                    in_use=each["Id"] in used,
                )
                for each in answers
            ]

    def import_tar(self, archive: Path, tag: str, labels: Mapping[str, str]) -> None:
        repository, _, version = tag.rpartition(":")
        changes = [f'LABEL {key}="{value}"' for key, value in sorted(labels.items())]
        with self._engine.api(f"import the image {tag}") as api:
            answer = api.import_image_from_file(str(archive), repository=repository, tag=version, changes=changes)
        if "no space left" in str(answer):
            raise full_disk(f"import the image {tag}", str(answer))
        if '"error"' in str(answer):
            raise EngineError(f"could not import the image {tag}", details=str(answer), resolution="look at Docker's own log")

    def build(self, context: Path, tag: str) -> None:
        self._build(context, tag, network="none")

    def build_online(self, context: Path, tag: str) -> None:
        self._build(context, tag, network="default")

    def _build(self, context: Path, tag: str, *, network: str) -> None:
        with tempfile.TemporaryFile(dir=context.parent) as packed:
            with tarfile.open(fileobj=packed, mode="w") as archive:
                for path in sorted(context.iterdir()):
                    if path.is_file():
                        archive.add(path, path.name)
            packed.seek(0)
            with self._engine.api(f"build the image {tag}") as api:
                answers = api.build(
                    fileobj=packed,
                    custom_context=True,
                    tag=tag,
                    rm=True,
                    forcerm=True,
                    decode=True,
                    network_mode=network,
                    timeout=_PATIENCE,
                )
                _follow(answers, tag)

    def tag(self, image: str, tag: str) -> None:
        repository, _, version = tag.rpartition(":")
        with self._engine.api(f"tag the image {tag}") as api:
            api.tag(image, repository, version, force=True)

    def save(self, image: str, archive: Path) -> None:
        with self._engine.api(f"save the image {image}") as api, archive.open("wb") as file:
            for chunk in api.get_image(image, chunk_size=_CHUNK):
                file.write(chunk)

    def remove(self, image: str) -> None:
        with suppress(NotFoundError), self._engine.api(f"remove the image {image}") as api:
            api.remove_image(image)

    @contextmanager
    def sandbox(self, image: str) -> Iterator[_Sandbox]:
        with self._container(image, None) as identity:
            with self._engine.api(f"start a container of {image}") as api:
                api.start(identity)
            yield _Sandbox(self._engine, identity)

    def output(self, image: str, argv: Sequence[str]) -> bytes:
        with self._container(image, argv) as identity, self._engine.api(f"run {argv[0]} in {image}") as api:
            api.start(identity)
            status = api.wait(identity)["StatusCode"]
            if status:
                said = api.logs(identity, stdout=True, stderr=True).decode(errors="replace")
                raise EngineError(f"{argv[0]} failed in {image}", details=said[-2000:], resolution="build the image again")
            return bytes(api.logs(identity, stdout=True, stderr=False))

    @contextmanager
    def _container(self, image: str, argv: Sequence[str] | None) -> Iterator[str]:
        with self._engine.api(f"make a container of {image}") as api:
            host = api.create_host_config(network_mode="none")
            idle = None if argv or _runs_something(api, image) else ["sleep", "infinity"]
            identity = api.create_container(image, idle, host_config=host, entrypoint=list(argv) if argv else None)["Id"]
        try:
            yield identity
        finally:
            with self._engine.api("remove a throw-away container") as api:
                remove_container(api, identity, volumes=True)


class _Sandbox:
    """A running container of `DockerImageStore.sandbox`."""

    def __init__(self, engine: Engine, identity: str) -> None:
        self._engine = engine
        self._identity = identity

    def run(self, argv: Sequence[str], *, user: str = "root") -> tuple[int, str]:
        with self._engine.api(f"run {argv[0]} in a throw-away container") as api:
            said = io.BytesIO()
            result = streams.run(api, self._identity, Command(tuple(argv), user=user), stdout=said, stderr=said)
            return result.exit_code, said.getvalue().decode(errors="replace")


def _runs_something(api: Any, image: str) -> bool:
    """Whether an image says what a container of it runs; an operating system's does not."""
    config = api.inspect_image(image)["Config"]
    return bool(config.get("Entrypoint") or config.get("Cmd"))


def _layers(api: Any, image: str) -> tuple[Layer, ...]:
    """Layers with their sizes: the history gives sizes, newest first, with steps that made no layer among them."""
    identities = _chain(api.inspect_image(image)["RootFS"]["Layers"])
    sizes = [each["Size"] for each in reversed(api.history(image)) if each["Size"] or _made_layer(each["CreatedBy"])]
    if len(sizes) != len(identities):
        sizes = [each for each in sizes if each]
    sizes += [0] * (len(identities) - len(sizes))
    return tuple(Layer(identity, size) for identity, size in zip(identities, sizes, strict=False))


def _chain(contents: Sequence[str]) -> list[str]:
    """What the engine knows layers by: a layer's content together with all below it. The same content upon another layer is stored again.

    https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid
    """
    found: list[str] = []
    for content in contents:
        found.append(f"sha256:{hashlib.sha256(f'{found[-1]} {content}'.encode()).hexdigest()}" if found else content)
    return found


def _made_layer(instruction: str) -> bool:
    return "#(nop)" not in instruction or " ADD " in instruction or " COPY " in instruction


def _follow(answers: Any, tag: str) -> None:
    said: deque[str] = deque(maxlen=40)
    for answer in answers:
        if "error" in answer:
            reason = str(answer.get("errorDetail", {}).get("message", answer["error"]))
            details = _COLOUR.sub("", "".join(said)) + reason
            if "no space left" in reason:
                raise full_disk(f"build the image {tag}", details)
            resolution = "correct what its steps complain of, then run the same command again"
            raise EngineError(f"could not build the image {tag}", details=details, resolution=resolution)
        said.append(str(answer.get("stream", "")))
