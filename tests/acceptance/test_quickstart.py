"""The newcomer's command, on this checkout, in a lab of its own."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from tests.acceptance.driver import Done, Labcloud, count_words, run

ROOT = Path(__file__).parents[2]


def quickstart(lab: Labcloud, tenant: str) -> Done:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("TOX_", "VIRTUAL_ENV"))} | lab.env
    environment["LABCLOUD_QUICKSTART_TENANT"] = tenant  # whoever runs the tests may have a demo of their own
    return run((str(ROOT / "quickstart.sh"),), env=environment, timeout=600)


@pytest.mark.timeout(900)
def test_quickstart_counts_the_words_and_a_second_run_takes_seconds(fresh_lab: Labcloud, mark: str) -> None:
    tenant = f"{mark}-q"
    first = quickstart(fresh_lab, tenant)
    began = time.monotonic()
    second = quickstart(fresh_lab, tenant)
    took = time.monotonic() - began

    licences = sorted(path for path in Path("/usr/share/common-licenses").iterdir() if path.is_file() and not path.is_symlink())
    counted = count_words(b"".join(path.read_bytes() for path in licences))
    expected = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))[:10]
    for done in (first, second):
        shown = re.findall(r"^  (\S+)\t(\d+)$", done.text, re.MULTILINE)
        assert [(word, int(count)) for word, count in shown] == expected
        assert "http://127.0.0.1:" in done.text
        assert f"labcloud shell {tenant}/hadoop-2.7" in done.text
    assert "there already" in second.said
    assert took < 30
