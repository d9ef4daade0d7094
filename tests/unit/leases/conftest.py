"""The lab and the simulated engine of the verbs' tests."""

from tests.unit.apply.conftest import no_pauses, shop

__all__ = ["no_pauses", "shop"]
