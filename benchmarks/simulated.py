"""Create one large simulated cluster and print what planning and applying cost, as JSON: ``seconds`` and peak ``mib``."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from labcloud.apply.clusters import Clusters
from labcloud.apply.journal import Journal
from labcloud.apply.requests import CreateRequest
from labcloud.apply.verbs import Terms
from labcloud.apply.watch import Watch
from labcloud.lab import Lab
from labcloud.model import ClusterRef
from labcloud.providers.simulated.provider import SimulatedProvider


def main() -> None:
    count, home = int(sys.argv[1]), Path(sys.argv[2])
    lab = Lab(home)
    provider = SimulatedProvider(home, lab.id)
    clusters = Clusters(lab, Journal(home), lambda _: provider, Watch())
    request = CreateRequest(ClusterRef("bench", "large"), "hadoop-3.4", provider="simulated", workers=count)
    began = time.monotonic()
    clusters.create(request, Terms())
    seconds = time.monotonic() - began
    print(json.dumps({"seconds": seconds, "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
