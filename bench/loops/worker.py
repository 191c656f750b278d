"""One measured process: one asynchronous client, which does the work that it is told, again and again.

    python -m bench.loops.worker < orders

Takes one line of JSON with its settings (`client`, `loop`: "asyncio" or "uvloop", and the peer: `host`, `port`,
`stats_port`, `ca_file`) and makes one call; then one line per work (see `Work` in rounds.py). Answers each with
one line of JSON. First {"ready": true, "handshakes": number} or {"unavailable": reason}, then figures: calls, seconds,
cpu_us (user and system time of this process over the measured calls, all its threads), delays_us (of the first events),
and what the server counted meanwhile: connections, handshakes. Between two orders its loop stands still.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import resource
import sys
import time
from collections.abc import Iterator
from itertools import count, cycle
from typing import Any

from bench.common.environment import Counter
from bench.common.workload import EVENTS, INTERVAL_US, Peer
from bench.http.clients import NotAvailable
from bench.loops.clients import Call, open_client
from bench.loops.litellm import KINDS, Litellm

TENANTS = 50


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Measured:
    """The clocks around the measured calls."""

    def __enter__(self) -> Measured:
        gc.collect()
        self._cpu, self._begin = _cpu_seconds(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._begin
        self.cpu_us = (_cpu_seconds() - self._cpu) * 1e6

    def figures(self, calls: int) -> dict[str, Any]:
        return {"calls": calls, "seconds": self.seconds, "cpu_us": self.cpu_us}


def new_loop(name: str) -> asyncio.AbstractEventLoop:
    if name == "asyncio":
        return asyncio.new_event_loop()
    try:
        loop: asyncio.AbstractEventLoop = importlib.import_module("uvloop").new_event_loop()
    except ModuleNotFoundError as error:
        raise NotAvailable("uvloop is not installed") from error
    return loop


async def for_a_time(call: Call, tasks: int, seconds: float, delays: list[int], gap: float = 0) -> int:
    """Every task makes call after call until the time is over; the calls they made together. Each task begins `gap`
    seconds after the one before it."""
    now = time.perf_counter
    end = now() + seconds

    async def run(turn: int) -> int:
        if gap > 0:
            await asyncio.sleep(turn * gap)
        calls = 0
        while now() < end:
            delay = await call()
            if delay is not None:
                delays.append(delay)
            calls += 1
        return calls

    return sum(await asyncio.gather(*(run(turn) for turn in range(tasks))))


async def _timed(call: Call, opening: Call, work: dict[str, Any]) -> dict[str, Any]:
    """The work by time: warm first, every task at least one `opening` call, so that all connections are there."""
    tasks = work["tasks"]
    await asyncio.gather(*(opening() for _ in range(tasks)))
    await for_a_time(opening, tasks, work["warm"], [])
    await call()
    # Streams that begin all at once would go on in step: each is to have a time of its own.
    gap = EVENTS * INTERVAL_US / 1e6 / tasks if work["kind"] == "paced" else 0.0
    delays: list[int] = []
    with Measured() as measured:
        calls = await for_a_time(call, tasks, work["seconds"], delays, gap)
    return {**measured.figures(calls), "delays_us": [delay // 1_000 for delay in delays]}


async def _counted(calls: Iterator[Call], tasks: int) -> None:
    """Every task takes the next call until there are no more."""

    async def run() -> None:
        for call in calls:
            await call()

    await asyncio.gather(*(run() for _ in range(tasks)))


class LitellmWorks:
    """The works that are counted in calls: of one litellm, with one key and many."""

    def __init__(self, litellm: Litellm, loop: asyncio.AbstractEventLoop) -> None:
        self._litellm = litellm
        self._call = litellm.call()
        self._loop = loop
        self._tenant = count()

    def steady(self, work: dict[str, Any]) -> dict[str, Any]:
        """One call after the other in one loop."""
        return self._in_loop([self._call] * work["calls"], 1)

    def single(self, work: dict[str, Any]) -> dict[str, Any]:
        """Several at once, all with one key."""
        return self._in_loop([self._call] * work["calls"], work["tasks"])

    def tenants(self, work: dict[str, Any]) -> dict[str, Any]:
        """As many calls, with the keys of tenants in turn that have not called before."""
        keys = [self._litellm.call(f"sk-tenant-{next(self._tenant):08}") for _ in range(TENANTS)]
        turns = cycle(keys)
        return self._in_loop([next(turns) for _ in range(work["calls"])], work["tasks"])

    def again(self, work: dict[str, Any]) -> dict[str, Any]:
        """`asyncio.run` for every call."""
        asyncio.run(self._call())
        with Measured() as measured:
            for _ in range(work["calls"]):
                asyncio.run(self._call())
        return measured.figures(work["calls"])

    def empty(self, work: dict[str, Any]) -> dict[str, Any]:
        """What `asyncio.run` costs by itself."""

        async def nothing() -> None:
            pass

        with Measured() as measured:
            for _ in range(work["calls"]):
                asyncio.run(nothing())
        return measured.figures(work["calls"])

    def _in_loop(self, calls: list[Call], tasks: int) -> dict[str, Any]:
        async def run() -> dict[str, Any]:
            await self._call()  # what the end of another loop has taken away is not this work's
            with Measured() as measured:
                await _counted(iter(calls), tasks)
            return measured.figures(len(calls))

        return self._loop.run_until_complete(run())


class Worker:
    def __init__(self, settings: dict[str, Any]) -> None:
        peer = Peer(settings["port"], settings["ca_file"], settings["host"])
        client = settings["client"]
        self._counter = Counter(settings["host"], settings["stats_port"])
        before = self._counter.counts()
        self._loop = new_loop(settings["loop"])
        self._close: Any = None
        self._works: LitellmWorks | None = None
        if client in KINDS:
            litellm = Litellm(client, peer)
            self._works = LitellmWorks(litellm, self._loop)
            self._calls: dict[str, Call] = {"acompletion": litellm.call()}
            self._loop.run_until_complete(litellm.call()())
            litellm.check_carried()
        else:
            opened = self._loop.run_until_complete(open_client(client, peer))
            self._calls, self._close = opened.calls, opened.close
            self._loop.run_until_complete(opened.calls["post"]())
        self.handshakes = self._counter.counts().since(before).handshakes

    def do(self, work: dict[str, Any]) -> dict[str, Any]:
        before = self._counter.counts()
        kind = work["kind"]
        if kind in self._calls:
            opening = self._calls.get("post", self._calls[kind])
            figures = self._loop.run_until_complete(_timed(self._calls[kind], opening, work))
        else:
            figures = getattr(self._works, kind)(work)
        served = self._counter.counts().since(before)
        return {
            **figures,
            "connections": served.connections,
            "handshakes": served.handshakes,
        }

    def close(self) -> None:
        if self._close is not None:
            self._loop.run_until_complete(self._close())
        self._loop.close()


def main() -> None:
    # What a package prints does not belong among the answers.
    answers, sys.stdout = sys.stdout, sys.stderr

    def say(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=answers, flush=True)

    try:
        worker = Worker(json.loads(sys.stdin.readline()))
    except NotAvailable as reason:
        say({"unavailable": str(reason)})
        return
    say({"ready": True, "handshakes": worker.handshakes})
    for line in sys.stdin:
        say(worker.do(json.loads(line)))
    worker.close()


if __name__ == "__main__":
    main()
