"""The original's own workload: get a connection's id for an endpoint, and return it. No byte is sent.

One thread takes the ids of ten endpoints and then returns all ten; eight threads each get one, hash it and return it.
The hash is Python's own, of the id: the least that one can do with it, so that the pools are what is measured. Each
pool runs in a process of its own each time, rounds are interleaved, medians are told.
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import venv
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from bench.common.environment import BUILD_DIR, ROOT, child_environment, worker

ORIGINAL = "fast-litellm==0.1.10"
ENDPOINTS = 10
THREADS = (1, 8)
#: Pools in the order of the report: key -> title.
POOLS: dict[str, str] = {
    "floor": "two empty C calls (floor)",
    "lock": "Python, `threading.Lock`",
    "original": f"original, {ORIGINAL.partition('==')[2]}",
    "ours_bare": "ours, leases without a connection",
    "ours_live": "ours, live idle connections",
}
_VENV = BUILD_DIR / "original-venv"


@dataclass
class SimplePoolResults:
    """Nanoseconds per get and return: (pool, threads) -> one figure per round."""

    samples: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)

    def median(self, pool: str, threads: int) -> float | None:
        values = self.samples.get((pool, threads))
        return statistics.median(values) if values else None

    def as_json(self) -> dict[str, object]:
        return {
            "unavailable": self.unavailable,
            "samples": [
                {"pool": pool, "threads": threads, "ns": values} for (pool, threads), values in self.samples.items()
            ],
        }


def original_python() -> tuple[str | None, str]:
    """The interpreter of an environment that holds the original, made if need be; or None and the reason.

    Its package has our package's name, hence the environment of its own. Without its dependencies: the pool needs none.
    """
    python = _VENV / "bin" / "python"
    works = [str(python), "-c", "import fast_litellm._rust as core; core.get_connection, core.return_connection"]
    if not python.exists() or subprocess.run(works, capture_output=True, check=False).returncode != 0:
        try:
            venv.create(_VENV, clear=True, with_pip=True)
            install = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
            done = subprocess.run([*install, ORIGINAL], capture_output=True, text=True, timeout=180, check=False)
        except (OSError, subprocess.SubprocessError) as error:
            return None, f"no environment for it: {error}"
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["pip said nothing"]
            return None, f"pip could not install {ORIGINAL}: {lines[-1]}"
        done = subprocess.run(works, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            return None, f"it cannot be imported: {lines[-1]}"
    return str(python), ""


def _once(python: str, pool: str, threads: int, seconds: float, endpoints: list[str]) -> dict[str, object]:
    done = subprocess.run(
        [*worker("pool.simple_pool_worker", python), pool, str(threads), str(seconds), *endpoints],
        capture_output=True,
        text=True,
        env=child_environment(),
        cwd=ROOT,
        timeout=300,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return {"unavailable": lines[-1]}
    # The original prints more than we ask for.
    result: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def measure(rounds: int, seconds: float, progress: Callable[[str], None]) -> SimplePoolResults:
    """All rounds of all pools."""
    results = SimplePoolResults()
    progress("the original's environment")
    python, reason = original_python()
    if python is None:
        results.unavailable["original"] = reason
    bare = [f"https://api-{number}.example.com" for number in range(ENDPOINTS)]
    with ExitStack() as sockets:
        # Nobody accepts: a connection is complete, and idle, once it stands in the listener's queue.
        live = []
        for _ in range(ENDPOINTS):
            listener = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))
            live.append(f"http://127.0.0.1:{listener.getsockname()[1]}")
        for number in range(rounds):
            for threads in THREADS:
                for pool in POOLS:
                    if pool in results.unavailable:
                        continue
                    progress(f"get and return, round {number + 1}/{rounds}: {POOLS[pool]}, {threads} threads")
                    interpreter = python if pool == "original" and python is not None else sys.executable
                    endpoints = live if pool == "ours_live" else bare
                    result = _once(interpreter, pool, threads, seconds, endpoints)
                    if "unavailable" in result:
                        results.unavailable[pool] = str(result["unavailable"])
                    else:
                        results.samples.setdefault((pool, threads), []).append(float(str(result["ns"])))
    return results
