"""One measured process of `simple_pool.py`: one pool, one workload.

    python -m bench.pool.simple_pool_worker POOL THREADS SECONDS ENDPOINT...

Prints one JSON object: ns (per get and return), pairs; or {"unavailable": reason}. Runs also under the Python of the
original's own environment, so it imports nothing but the standard library and the pool it measures.
"""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

Get = Callable[[str], Any]
Return = Callable[[Any], Any]


def _floor() -> tuple[Get, Return]:
    """Two calls of C functions that take one argument and do nothing with it."""
    return callable, callable


def _lock() -> tuple[Get, Return]:
    from bench.pool.lock_pool import LockPool

    pool = LockPool()
    return pool.get_connection, pool.return_connection


def _module(endpoints: list[str]) -> tuple[Get, Return]:
    module: Any = importlib.import_module("fast_litellm")
    get, give = module.get_connection, module.return_connection
    lease = get(endpoints[0])
    if not isinstance(lease, str):
        raise SystemExit(f"get_connection() gave {lease!r}")
    give(lease)
    return get, give


def _open(pool: str, endpoints: list[str], threads: int) -> tuple[Get, Return]:
    if pool == "floor":
        return _floor()
    if pool == "lock":
        return _lock()
    if pool in ("ours_live", "ours_bare"):
        module: Any = importlib.import_module("fast_litellm")
        if pool == "ours_live":
            default = module.SimpleConnectionPool("default")
            for endpoint in endpoints:
                warmed = default.warm(endpoint, threads)
                if warmed != threads:
                    raise SystemExit(f"{warmed} of {threads} connections to {endpoint}")
                default.warm(endpoint, 0)  # from now on none is dialed to keep them warm
    return _module(endpoints)


def _check(pool: str, endpoints: list[str], threads: int) -> None:
    """What was measured is what is said: with live connections none was dialed later, and none was lost."""
    if not pool.startswith("ours"):
        return
    stats = importlib.import_module("fast_litellm").get_connection_pool_stats()
    live = threads * len(endpoints) if pool == "ours_live" else 0
    if stats["idle_connections"] != live or stats["total_connections"] != live or stats["dials"] != live:
        raise SystemExit(f"{live} idle connections expected: {stats}")


def _batches(get: Get, give: Return, endpoints: list[str], seconds: float) -> tuple[int, float]:
    """One thread: all endpoints' connections are taken, then all given back. In seconds of the thread's CPU time, which
    leaves out what other processes took."""
    pairs, begin = 0, time.thread_time()
    while True:
        for _ in range(100):
            leases = [get(endpoint) for endpoint in endpoints]
            for lease in leases:
                give(lease)
        pairs += 100 * len(endpoints)
        taken = time.thread_time() - begin
        if taken >= seconds:
            return pairs, taken


def _single(get: Get, give: Return, endpoints: list[str], seconds: float) -> float:
    _batches(get, give, endpoints, seconds / 5)
    pairs, taken = _batches(get, give, endpoints, seconds)
    return taken / pairs * 1e9


def _threaded(get: Get, give: Return, endpoints: list[str], threads: int, seconds: float) -> float:
    """Each thread: get, hash, return, one endpoint after the other."""
    # About as many pairs as fill the time, if a pair takes what one thread needs.
    alone = _single(get, give, endpoints, seconds / 5)
    rounds = max(1, int(seconds * 1e9 / alone / threads / len(endpoints)))
    gate = threading.Barrier(threads + 1)

    def run() -> None:
        gate.wait()
        for _ in range(rounds):
            for endpoint in endpoints:
                lease = get(endpoint)
                hash(lease)
                give(lease)

    workers = [threading.Thread(target=run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    gate.wait()
    begin = time.perf_counter()
    for worker in workers:
        worker.join()
    taken = time.perf_counter() - begin
    return taken / (rounds * threads * len(endpoints)) * 1e9


def main(arguments: list[str]) -> None:
    pool, threads, seconds, endpoints = arguments[0], int(arguments[1]), float(arguments[2]), arguments[3:]
    try:
        get, give = _open(pool, endpoints, threads)
    except (ImportError, AttributeError) as error:
        print(json.dumps({"unavailable": f"{type(error).__name__}: {error}"}))
        return
    if threads == 1:
        nanoseconds = _single(get, give, endpoints, seconds)
    else:
        nanoseconds = _threaded(get, give, endpoints, threads, seconds)
    _check(pool, endpoints, threads)
    print(json.dumps({"ns": nanoseconds}))


if __name__ == "__main__":
    main(sys.argv[1:])
