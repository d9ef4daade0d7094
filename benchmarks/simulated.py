"""Create one large simulated cluster and print what it cost, as JSON: ``steps``, ``seconds`` of computing, peak ``mib``."""

from __future__ import annotations

import json
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
    began = time.process_time()
    plan = clusters.create(request, Terms())
    seconds = time.process_time() - began
    print(json.dumps({"steps": len(plan), "seconds": seconds, "mib": _peak()}))


def _peak() -> float:
    """MiB. Not ``ru_maxrss``: a process that was started by vfork inherits there what its parent had."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


if __name__ == "__main__":
    main()
