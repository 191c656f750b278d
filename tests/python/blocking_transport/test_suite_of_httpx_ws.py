"""httpx-ws reads and writes through `network_stream`: its own test-suite, with its clients over the pool."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
SUITE = TESTS / "third_party" / "httpx-ws-0.9.0"

#: Sessions over mocks of a network stream, without a client or server, that must ping and answer within a tenth of a
#: second: on a busy machine they fail, and they say nothing of the pool.
WITHOUT_A_CLIENT = ("TestKeepalivePing", "TestReceivePing")


def _run(mode: str) -> tuple[int, int, int]:
    """How many tests of the suite there are, all of which passed but those without a client; how many clients were
    changed, and how many requests went by the stock transport."""
    options = ["-q", "-p", "support.pool_under_suite", "-p", "no:cacheprovider", "-c", os.devnull]
    options += ["-k", " and ".join(f"not {name}" for name in WITHOUT_A_CLIENT)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", str(SUITE), str(SUITE / "tests")],
        env={**os.environ, "POOL_UNDER_SUITE": mode, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    summary = re.search(r"^(\d+) passed, (\d+) deselected(?:, \d+ warnings?)? in ", done.stdout, re.MULTILINE)
    counted = re.search(r"^clients changed: (\d+); requests by the stock transport: (\d+)$", done.stdout, re.MULTILINE)
    assert summary is not None, done.stdout[-2000:]
    assert counted is not None, done.stdout[-2000:]
    return int(summary[1]) + int(summary[2]), int(counted[1]), int(counted[2])


@pytest.mark.parametrize("mode", ["transports", "accelerated"])
def test_the_suite_of_httpx_ws_passes_over_the_pool(mode: str) -> None:
    tests, changed, by_stock = _run(mode)
    assert tests == 147
    assert changed > 70
    assert by_stock == 0
