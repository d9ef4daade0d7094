"""The largest cluster that may be asked for: what planning and applying it costs, beyond what an engine does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

MEASURE = Path(__file__).parents[3] / "benchmarks" / "simulated.py"


def create(folder: Path, nodes: int) -> dict[str, float]:
    """What it cost a new process, in seconds of computing, so that others on the machine do not count."""
    done = subprocess.run([sys.executable, MEASURE, str(nodes - 1), folder / str(nodes)], capture_output=True, check=True, text=True)
    return dict(json.loads(done.stdout))


def test_five_thousand_nodes_cost_little_and_no_more_than_their_share(tmp_path: Path) -> None:
    some, most = create(tmp_path, 1250), create(tmp_path, 5000)
    assert most["steps"] == 5002
    assert most["seconds"] <= 5
    assert most["mib"] <= 300
    assert most["seconds"] / some["seconds"] < 6
