"""What idle connections cost: memory each, and what a request costs beside many of them.

The connections are real and the server is another process: 10,000 of ours, 300 of stock httpx (whose requests slow down
with every idle connection, so that more would take minutes).
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from bench.common.environment import MEMORY_PROGRAM, ROOT, child_environment, running_server, worker

FEW = 10
MANY = 10_000
MANY_HTTPX = 300
#: client, idle connections
REQUESTS = (("ours", FEW), ("ours", MANY), ("httpx", FEW), ("httpx", MANY_HTTPX))


@dataclass
class IdleResults:
    """Bytes per idle connection, and the time of a request: (client, idle connections) -> one figure per round."""

    connections: int = 0
    heap: list[float] = field(default_factory=list)
    resident: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    request_us: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    slot: int = 0

    def median_us(self, client: str, connections: int) -> float | None:
        values = self.request_us.get((client, connections))
        return statistics.median(values) if values else None

    def as_json(self) -> dict[str, object]:
        data = asdict(self)
        for name in ("resident", "request_us"):
            rows = getattr(self, name).items()
            data[name] = [{"client": client, "idle": idle, "rounds": values} for (client, idle), values in rows]
        return data


def allow_descriptors() -> int:
    """Raises this process's limit as far as it goes, and with it that of the processes it starts. Returns it."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most == resource.RLIM_INFINITY:
        most = 1_000_000
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return most


def _run(command: list[str]) -> dict[str, object]:
    done = subprocess.run(
        command, capture_output=True, text=True, env=child_environment(), cwd=ROOT, timeout=300, check=False
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return {"unavailable": lines[-1]}
    result: dict[str, object] = json.loads(done.stdout)
    return result


def measure(
    server_core: int, descriptors: int, rounds: int, seconds: float, progress: Callable[[str], None]
) -> IdleResults:
    """`descriptors`: how many each process may have, the server's included."""
    results = IdleResults(connections=min(MANY, descriptors - 200))
    progress(f"memory of {results.connections} idle connections")
    # A server of its own each time: ports that were in use lately cannot be had for a while, for the same address.
    with running_server(server_core) as server:
        memory = _run([str(MEMORY_PROGRAM), str(server.plain.port), str(results.connections)])
    if "unavailable" in memory:
        results.unavailable["memory"] = str(memory["unavailable"])
    else:
        results.heap.append(float(str(memory["heap"])))
        results.resident[("core", results.connections)] = [float(str(memory["resident"]))]
        results.slot = int(str(memory["slot"]))
    for number in range(rounds):
        for client, wanted in REQUESTS:
            idle = results.connections if wanted == MANY else wanted
            if client in results.unavailable:
                continue
            progress(f"requests, round {number + 1}/{rounds}: {client} with {idle} idle connections")
            with running_server(server_core) as server:
                command = [*worker("pool.idle_worker"), client, str(server.plain.port), str(idle), str(seconds)]
                told = _run(command)
            if "unavailable" in told:
                results.unavailable[client] = str(told["unavailable"])
                continue
            results.request_us.setdefault((client, idle), []).append(float(str(told["us"])))
            if told["resident"] is not None:
                results.resident.setdefault((client, idle), []).append(float(str(told["resident"])))
    return results
