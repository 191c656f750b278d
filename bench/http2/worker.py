"""One measured process: one Python client over one protocol, warmed up, then timed.

    python -m bench.http2.worker < order

Reads one line of JSON: `client`, `http2`, `loop` ("asyncio" or "uvloop"), `kind` (see part.py), `width`, `warm`,
`seconds`, and the peer (`host`, `port`, `ca_file`). Prints one JSON object: requests, seconds, cpu_us (user and system
time of this process over the measured calls, all its threads), p50_us, and megabytes_per_second of the downloads beside
them; or {"unavailable": reason}. With `seconds` 0 it makes one call.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from contextlib import suppress
from typing import Any

from bench.common.workload import Peer
from bench.http.clients import NotAvailable
from bench.http.worker import measure
from bench.http2.clients import Streaming, open_blocking, open_in_tasks
from bench.http2.part import ALONE, DOWNLOAD, IN_TASKS, STALL, STALLED
from bench.loops.clients import Call, Opened
from bench.loops.worker import Measured, for_a_time, new_loop

_TASK_KINDS = {kind.name for kind in (IN_TASKS, ALONE, DOWNLOAD, STALL)}


def _clocked(call: Call) -> Call:
    """The call, which returns the nanoseconds it took."""
    now = time.perf_counter_ns

    async def clocked() -> int:
        begin = now()
        await call()
        return now() - begin

    return clocked


class Downloads:
    """Downloads one after the other, from `with` to its end. An error in one is raised there."""

    def __init__(self, client: Streaming) -> None:
        self._client = client
        self._read = 0

    def _count(self, size: int) -> None:
        self._read += size

    def megabytes_per_second(self) -> float:
        """Since the begin."""
        return self._read / 1e6 / (time.perf_counter() - self._begin)

    async def _repeat(self) -> None:
        while True:
            await self._client.download(self._count)

    async def __aenter__(self) -> Downloads:
        self._begin = time.perf_counter()
        self._task = asyncio.create_task(self._repeat())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


async def _measured(opened: Opened, order: dict[str, Any]) -> dict[str, Any]:
    call, width = _clocked(opened.calls["post"]), order["width"]
    delays: list[int] = []
    await call()
    if order["seconds"] == 0:
        return {"requests": 1}
    await asyncio.gather(*(call() for _ in range(width)))
    await for_a_time(call, width, order["warm"], [])
    with Measured() as measured:
        calls = await for_a_time(call, width, order["seconds"], delays)
    figures = measured.figures(calls)
    figures["requests"] = figures.pop("calls")
    return {**figures, "p50_us": statistics.median(delays) / 1e3}


async def _in_tasks(peer: Peer, order: dict[str, Any]) -> dict[str, Any]:
    opened = await open_in_tasks(order["client"], peer, order["http2"])
    try:
        if order["kind"] == DOWNLOAD.name:
            assert isinstance(opened, Streaming)
            async with Downloads(opened) as downloads:
                figures = await _measured(opened, order)
                return {**figures, "megabytes_per_second": downloads.megabytes_per_second()}
        if order["kind"] == STALL.name:
            assert isinstance(opened, Streaming)
            for _ in range(STALLED):
                await opened.stall()
        return await _measured(opened, order)
    finally:
        await opened.close()


def run(order: dict[str, Any]) -> dict[str, Any]:
    peer = Peer(order["port"], order["ca_file"], order["host"])
    if order["kind"] in _TASK_KINDS:
        loop = new_loop(order["loop"])
        try:
            return loop.run_until_complete(_in_tasks(peer, order))
        finally:
            loop.close()
    return measure(
        open_blocking(order["client"], peer, order["http2"]), order["width"], order["warm"], order["seconds"]
    )


def main() -> None:
    # What a package prints does not belong beside the answer.
    answer, sys.stdout = sys.stdout, sys.stderr
    try:
        result = run(json.loads(sys.stdin.readline()))
    except NotAvailable as reason:
        result = {"unavailable": str(reason)}
    print(json.dumps(result), file=answer, flush=True)
    # Threads of pyqwest and of pyreqwest sometimes abort the process while the interpreter ends.
    os._exit(0)


if __name__ == "__main__":
    main()
