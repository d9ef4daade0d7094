"""Nodes that are looked after while they move, as a test wants them."""

from __future__ import annotations

from labcloud.migrate.caring import Care
from labcloud.migrate.estimating import Load
from labcloud.model import NodeRef
from labcloud.model.checks import Verdict
from labcloud.preflight.checklist import Answer


class Cared(Care):
    """All is well but for nodes that are ``ill``. What is ``awaited`` after a move never comes, and the ``work`` that a drain waits for
    never ends. ``seen`` is what was done with whom, ``told`` how long HDFS was told that nodes would be away, by each question."""

    def __init__(self) -> None:
        self.ill: set[NodeRef] = set()
        self.memory = Load()
        self.awaited = self.work = ""
        self.seen: list[tuple[str, NodeRef]] = []
        self.told: list[float] = []

    def load(self, ref: NodeRef) -> Load:
        del ref
        return self.memory

    def irreplaceable(self, ref: NodeRef) -> bool:
        return ref.group == "master"

    def judge(self, ref: NodeRef) -> list[Answer]:
        return [Answer("hadoop.answers", Verdict.FAIL if ref in self.ill else Verdict.PASS, f"asked of {ref.cluster}")]

    def absence(self, ref: NodeRef) -> list[Answer]:
        return [Answer("hadoop.maintenance", Verdict.PASS, f"HDFS is told of {ref}")]

    def hold(self, ref: NodeRef, *, drain: bool, away: float = 0) -> str:
        self.seen.append(("drained" if drain else "held", ref))
        self.told.append(away)
        return self.work if drain else ""

    def missing(self, ref: NodeRef) -> str:
        self.seen.append(("proved", ref))
        return self.awaited

    def release(self, ref: NodeRef) -> None:
        self.seen.append(("released", ref))

    def disturbed(self, ref: NodeRef) -> list[str]:
        return ["1 job failed"] if ref in self.ill else []
