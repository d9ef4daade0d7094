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
    """What the real compute hosts run: lxc, qemu or none."""
    real: tuple[str, ...]
    """Names of the real compute hosts. The first one's namespaces are the cloud's own, where all but the other's services are."""
    between: str
    """The first three numbers of the network between them."""
    simulated: tuple[str, ...]
    """Names of the simulated compute hosts."""
    heat: bool
    watcher: bool

    @property
    def run(self) -> Path:
        return self.state / "run"

    @property
    def etc(self) -> Path:
        return self.run / "etc"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    def address_of(self, host: str) -> str:
        """Of a real compute host, for the other. A single one has nobody to speak to."""
        return f"{self.between}.{host.removeprefix('real')}" if len(self.real) > 1 else "127.0.0.1"

    @property
    def identity_url(self) -> str:
        return f"http://{self.address}:5000/v3"


def from_environment() -> Settings:
    hosts, guests = int(os.environ["CLOUD_HOSTS"]), os.environ["CLOUD_GUESTS"]
    real = int(os.environ["CLOUD_REAL"]) if guests != "none" else 0
    return Settings(
        state=Path(os.environ["CLOUD_STATE"]),
        address=os.environ["CLOUD_ADDRESS"],
        public=os.environ["CLOUD_PUBLIC"],
        guests=guests,
        real=tuple(f"real{number}" for number in range(1, real + 1)),
        between=os.environ["CLOUD_BETWEEN"],
        simulated=tuple(f"simulated{number}" for number in range(1, hosts + 1)),
        heat=os.environ["CLOUD_HEAT"] == "yes",
        watcher=os.environ["CLOUD_WATCHER"] == "yes",
    )
