"""Fresh interpreters, whose environment has no setting of the package but those that a test gives."""

from __future__ import annotations

import os
import subprocess
import sys


def without_settings() -> dict[str, str]:
    """This process's environment without the package's variables."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FAST_LITELLM_")}


def run(code: str, *, patience: float = 120.0, **environment: str) -> str:
    """What a fresh interpreter prints within `patience` seconds."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**without_settings(), **environment},
        capture_output=True,
        text=True,
        timeout=patience,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
