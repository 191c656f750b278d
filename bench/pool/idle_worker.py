"""One measured process of `idle.py`: a client with many idle connections.

    python -m bench.pool.idle_worker CLIENT PORT CONNECTIONS SECONDS

Prints one JSON object: resident (bytes of resident memory per idle connection), us (median wall time of a request with
that many idle connections); or {"unavailable": reason}.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

_FEW = 10


def _resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def _ours(origin: str) -> tuple[Callable[[int], None], Callable[[], object]]:
    module: Any = importlib.import_module("fast_litellm")
    pool = module.SimpleConnectionPool("bench", max_connections=None, max_connections_per_endpoint=None)

    def idle(count: int) -> None:
        warmed = pool.warm(origin, count)
        pool.warm(origin, 0)  # from now on none is dialed to keep them warm
        stats = pool.get_stats()
        if warmed != count or not count <= stats["idle_connections"] <= 1.05 * count:
            raise SystemExit(f"{warmed} of {count} connections: {stats}")

    return idle, lambda: pool.request(origin, "GET", "/").content


def _httpx(origin: str) -> tuple[Callable[[int], None], Callable[[], object]]:
    httpx: Any = importlib.import_module("httpx")
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=None)
    client = httpx.Client(limits=limits, timeout=60, trust_env=False)

    def idle(count: int) -> None:
        # All at once, or they would share one connection.
        responses = [client.send(client.build_request("GET", origin), stream=True) for _ in range(count)]
        for response in responses:
            response.read()
            response.close()

    return idle, lambda: client.get(origin).content


def _median_us(request: Callable[[], object], seconds: float) -> float:
    samples: list[float] = []
    end = time.perf_counter() + seconds
    while not samples or time.perf_counter() < end:
        begin = time.perf_counter()
        request()
        samples.append(time.perf_counter() - begin)
    return statistics.median(samples) * 1e6


def main(arguments: list[str]) -> None:
    client, origin = arguments[0], f"http://127.0.0.1:{arguments[1]}"
    count, seconds = int(arguments[2]), float(arguments[3])
    try:
        idle, request = {"ours": _ours, "httpx": _httpx}[client](origin)
    except (ImportError, AttributeError) as error:
        print(json.dumps({"unavailable": f"{type(error).__name__}: {error}"}))
        return
    idle(_FEW)
    for _ in range(20):
        request()
    before = _resident()
    if count > _FEW:
        idle(count)
    resident = (_resident() - before) / (count - _FEW) if count > _FEW else None
    print(json.dumps({"resident": resident, "us": _median_us(request, seconds)}))


if __name__ == "__main__":
    main(sys.argv[1:])
