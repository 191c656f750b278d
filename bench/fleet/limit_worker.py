"""One measured process: the same work without and with a limit on its origin, in turn.

    python -m bench.fleet.limit_worker < order

Reads one line of JSON: `work` (see part.py), `seconds` for each of the two, and the peer (`host`, `port`, `ca_file`).
Prints one JSON object: `without` and `limited`, the CPU per call of this process with all its threads (nanoseconds for
pairs, microseconds for requests), or {"unavailable": reason}. Each has a pool of its own. The limit is never reached,
and has a validity, as the agent gives it. There is no agent: its own CPU is another row.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

from bench.common.workload import Peer
from bench.fleet.part import AREQUEST, ORIGIN, PAIR, REQUEST, TRANSPORT
from bench.http.clients import NotAvailable, own_package, through_httpx, through_request
from bench.loops.clients import through_arequest

_LEASES = 1_000
_VALID_FOR = 3_600.0
#: How often the two take turns. An odd number of slices has a middle one.
_SLICES = 21
_AT_ONCE = 10

#: Does so many calls.
Work = Callable[[int], None]


def limit(pool: Any, origin: str) -> None:
    pool.set_max_leases(origin, _LEASES, valid_for=_VALID_FOR)


def _pairs(pool: Any, origin: str) -> Work:
    """Leases that connect on first use, and are not used: ten are taken, then returned."""
    get, give = pool.get_connection, pool.return_connection

    def work(calls: int) -> None:
        for _ in range(calls // _AT_ONCE):
            leases = [get(origin) for _ in range(_AT_ONCE)]
            for lease in leases:
                give(lease)

    return work


def _repeated(call: Callable[[], None]) -> Work:
    def work(calls: int) -> None:
        for _ in range(calls):
            call()

    return work


def _in_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], Coroutine[Any, Any, Any]]) -> Work:
    async def repeat(calls: int) -> None:
        for _ in range(calls):
            await call()

    return lambda calls: loop.run_until_complete(repeat(calls))


def _transport(name: str, peer: Peer, limited: bool) -> Work:
    httpx = importlib.import_module("httpx")
    pool = own_package("SimpleConnectionPool")(name)
    if limited:
        limit(pool, peer.origin)
    client = httpx.Client(transport=own_package("HTTPTransport")(pool=name))
    return _repeated(through_httpx(client, peer.url).for_thread())


def open_work(work: str, peer: Peer, limited: bool, loop: asyncio.AbstractEventLoop) -> Work:
    name = "bench-limited" if limited else "bench-free"
    if work == TRANSPORT.name:
        return _transport(name, peer, limited)
    pool = own_package("SimpleConnectionPool")(name)
    origin = ORIGIN if work == PAIR.name else peer.origin
    if limited:
        limit(pool, origin)
    if work == PAIR.name:
        return _pairs(pool, origin)
    if work == REQUEST.name:
        return _repeated(through_request(pool, peer).for_thread())
    if work == AREQUEST.name:
        return _in_loop(loop, through_arequest(pool, peer).calls["post"])
    raise SystemExit(f"no work: {work}")


def _cpu_of(work: Work, calls: int) -> float:
    begin = time.process_time()
    work(calls)
    return (time.process_time() - begin) / calls


def alternate(free: Work, limited: Work, seconds: float) -> tuple[float, float]:
    """CPU seconds per call of each: the medians of slices that take turns."""
    calls, taken = _AT_ONCE, 0.0
    while taken < seconds / _SLICES:  # as many calls as fill a slice
        calls *= 2
        begin = time.perf_counter()
        free(calls)
        taken = time.perf_counter() - begin
    limited(calls)
    gc.collect()
    gc.disable()
    slices: dict[Work, list[float]] = {free: [], limited: []}
    for number in range(_SLICES):
        for work in (free, limited) if number % 2 else (limited, free):
            slices[work].append(_cpu_of(work, calls))
    return statistics.median(slices[free]), statistics.median(slices[limited])


def measure(order: dict[str, Any]) -> dict[str, Any]:
    peer = Peer(order["port"], order["ca_file"], order["host"])
    loop = asyncio.new_event_loop()
    try:
        free, limited = (open_work(order["work"], peer, each, loop) for each in (False, True))
        without, with_limit = alternate(free, limited, order["seconds"])
    finally:
        loop.close()
    scale = 1e9 if order["work"] == PAIR.name else 1e6
    return {"without": without * scale, "limited": with_limit * scale}


def main() -> None:
    # What a package prints does not belong beside the answer.
    answer, sys.stdout = sys.stdout, sys.stderr
    try:
        result = measure(json.loads(sys.stdin.readline()))
    except NotAvailable as reason:
        result = {"unavailable": str(reason)}
    print(json.dumps(result), file=answer, flush=True)


if __name__ == "__main__":
    main()
