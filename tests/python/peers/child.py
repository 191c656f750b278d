"""Python programs as child processes: for what only a process of its own can show."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 180.0  # only a failing test waits that long


def pythons() -> list[str]:
    """The interpreters to try: FAST_LITELLM_TEST_PYTHONS (path:path), or this one. The package must be in each."""
    named = os.environ.get("FAST_LITELLM_TEST_PYTHONS", "")
    return [path for path in named.split(os.pathsep) if path] or [sys.executable]


def exit_runs() -> int:
    """How often each test of the interpreter's exit is repeated: FAST_LITELLM_EXIT_RUNS."""
    return int(os.environ.get("FAST_LITELLM_EXIT_RUNS") or 10)


def run(
    program: str, *arguments: str, python: str = sys.executable, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs it to its end; what it wrote and its exit code are in the result. One that hangs is aborted after PATIENCE
    seconds, so that the stacks of its threads are in stderr."""
    with subprocess.Popen(
        [python, "-c", textwrap.dedent(program), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**_environment(), **(environment or {})},
    ) as process:
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            out, err = process.communicate()
            err = f"aborted: it hung for {PATIENCE:g} s\n{err}"
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@contextmanager
def running(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Runs it beside the test; killed at the end if it still lives."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)


def _environment() -> dict[str, str]:
    tests = str(Path(__file__).parents[1])
    return {**os.environ, "FAST_LITELLM_ENABLED": "false", "PYTHONPATH": tests, "PYTHONFAULTHANDLER": "1"}
