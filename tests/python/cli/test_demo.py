"""The demo itself, with few calls: real litellm, twice, and the embedded server."""

from __future__ import annotations

import re
import subprocess
import sys

from fast_litellm.cli.demo.phases import PHASES
from support.interpreter import without_settings


def test_the_demo_shows_every_kind_of_call_of_both_clients_and_the_pool_carried_its_half() -> None:
    environment = without_settings()
    done = subprocess.run(
        [sys.executable, "-m", "fast_litellm", "demo", "--calls", "6"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert f"the pool carried all {6 * len(PHASES)} of the accelerated client" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
    for phase in PHASES:
        beside = rf"^ *{re.escape(phase.title)} +stock .*\n +accelerated "
        assert re.search(beside, done.stdout, re.MULTILINE), done.stdout
    assert "Traceback" not in done.stderr
    assert "fast_litellm" not in done.stderr
