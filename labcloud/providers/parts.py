"""An engine that is several: what is asked of a node goes to the part that has it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence

from labcloud.model import NodeRef
from labcloud.providers.base import Command, Inspection, Provider, Response, Result, Sink


class Parts(Provider):
    """The half of the contract that is about one node that is there."""

    @abstractmethod
    def of(self, ref: NodeRef) -> Provider:
        """What has the node, or would have it. Raise NotFoundError if there is no such part."""

    def inspect(self, ref: NodeRef) -> Inspection:
        return self.of(ref).inspect(ref)

    def resize_node(self, ref: NodeRef, *, memory: int, cpus: float) -> None:
        self.of(ref).resize_node(ref, memory=memory, cpus=cpus)

    def renewed(self, ref: NodeRef) -> None:
        self.of(ref).renewed(ref)

    def execute(self, ref: NodeRef, command: Command, *, stdout: Sink | None = None, stderr: Sink | None = None) -> Result:
        return self.of(ref).execute(ref, command, stdout=stdout, stderr=stderr)

    def interactive(self, ref: NodeRef, argv: Sequence[str], *, user: str) -> list[str]:
        return self.of(ref).interactive(ref, argv, user=user)

    def put_file(self, ref: NodeRef, path: str, content: Iterable[bytes], *, size: int, owner: int) -> None:
        self.of(ref).put_file(ref, path, content, size=size, owner=owner)

    def address(self, ref: NodeRef) -> str:
        return self.of(ref).address(ref)

    def request(self, ref: NodeRef, port: int, path: str, *, method: str = "GET", body: bytes = b"", timeout: float = 5.0) -> Response:
        return self.of(ref).request(ref, port, path, method=method, body=body, timeout=timeout)
