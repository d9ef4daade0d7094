"""The largest cluster that may be asked for: what planning and applying it costs, beyond what an engine does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

MEASURE = """
import json, resource, sys, time
from pathlib import Path
from labcloud.apply.clusters import Clusters
from labcloud.apply.verbs import Terms
from labcloud.apply.journal import Journal
from labcloud.apply.requests import CreateRequest
from labcloud.apply.watch import Watch
from labcloud.lab import Lab
from labcloud.model import ClusterRef
from labcloud.providers.simulated import SimulatedProvider, World

lab, nodes = Lab(Path(sys.argv[1])), int(sys.argv[2])
provider = SimulatedProvider(lab.home, lab.id, world=World())
clusters = Clusters(lab, Journal(lab.home), lambda _: provider, Watch())
request = CreateRequest(ClusterRef("acme", "c"), "hadoop-2.7", "simulated", workers=nodes - 1)
began = time.process_time()
plan = clusters.create(request, Terms())
seconds = time.process_time() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"steps": len(plan), "seconds": seconds, "megabytes": peak}))
"""


def create(folder: Path, nodes: int) -> dict[str, float]:
    """What it cost a new process, in seconds of computing, so that others on the machine do not count."""
    done = subprocess.run([sys.executable, "-c", MEASURE, folder / str(nodes), str(nodes)], capture_output=True, check=True, text=True)
    return dict(json.loads(done.stdout))


def test_five_thousand_nodes_cost_little_and_no_more_than_their_share(tmp_path: Path) -> None:
    some, most = create(tmp_path, 1250), create(tmp_path, 5000)
    assert most["steps"] == 5002
    assert most["seconds"] <= 5
    assert most["megabytes"] <= 300
    assert most["seconds"] / some["seconds"] < 6
