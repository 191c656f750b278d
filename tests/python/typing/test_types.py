"""The types that a user sees, checked by mypy; and the stub of the extension against the extension."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PACKAGE = HERE.parents[2] / "python"


def _run(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=HERE.parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_a_user_writes_is_typed(tmp_path: Path) -> None:
    _run("mypy", "--strict", "--cache-dir", str(tmp_path), str(HERE / "usage.py"))


def test_the_stub_matches_the_extension() -> None:
    allowlist = HERE / "stubtest_allowlist.txt"
    _run("mypy.stubtest", "fast_litellm._core", "--concise", "--ignore-unused-allowlist", "--allowlist", str(allowlist))
