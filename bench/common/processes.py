"""One measurement: a fresh process that prints its figures."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from bench.common.environment import ROOT, child_environment
from bench.common.placement import pinned_to


def figures_of(command: list[str], given: bytes, cores: set[int] | None, timeout: float) -> dict[str, Any]:
    """Runs it in ROOT, on those cores (None: any): the JSON object that it prints. `given`: its standard input.
    RuntimeError, with its last words, if it fails."""
    done = subprocess.run(
        command,
        input=given,
        capture_output=True,
        env=child_environment(),
        cwd=ROOT,
        preexec_fn=pinned_to(cores),
        timeout=timeout,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise RuntimeError(lines[-1])
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures
