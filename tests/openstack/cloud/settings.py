"""Where the cloud keeps what, and what it is to be like: what start.sh hands over as environment variables."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

CLOUD = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Settings:
    state: Path
    address: str
    """Of the APIs, as the machine reaches them."""
    public: str
    """The first three numbers of the public network."""
    guests: str
    """What the real compute host runs: lxc, qemu or none."""
    simulated: tuple[str, ...]
    """Names of the simulated compute hosts."""
    heat: bool

    @property
    def run(self) -> Path:
        return self.state / "run"

    @property
    def etc(self) -> Path:
        return self.run / "etc"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def identity_url(self) -> str:
        return f"http://{self.address}:5000/v3"


def from_environment() -> Settings:
    hosts = int(os.environ["CLOUD_HOSTS"])
    return Settings(
        state=Path(os.environ["CLOUD_STATE"]),
        address=os.environ["CLOUD_ADDRESS"],
        public=os.environ["CLOUD_PUBLIC"],
        guests=os.environ["CLOUD_GUESTS"],
        simulated=tuple(f"simulated{number}" for number in range(1, hosts + 1)),
        heat=os.environ["CLOUD_HEAT"] == "yes",
    )
