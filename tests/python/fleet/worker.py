"""A process of a fleet: many callers that send requests to one origin, one after the other, within the fleet's limit.

    python -m fleet.worker ENGINE ORIGIN LIMIT TASKS FACTOR POOL

POOL: `counted` takes leases of a `CountedPool` around requests of http.client; `default` sends through the package's
pool "default", from threads; `asyncio` the same from the tasks of one event loop. FACTOR scales the fleet's times.
Prints the agent's status as a line of JSON, ten times a second and with the waits so far: `waits` are seconds from
asking for a request to its answer. Ends when its input ends.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from fast_litellm.fleet.agent import Agent
from fast_litellm.fleet.engines.opening import open_engine
from fast_litellm.fleet.ledger import Pace


class Counted:
    def __init__(self, origin: str) -> None:
        from fleet.counted_pool import CountedPool

        self.pool = CountedPool()
        self._origin = origin
        self._own = threading.local()

    def request(self) -> None:
        with self.pool.lease(self._origin):
            connection = getattr(self._own, "connection", None)
            if connection is None:
                connection = self._own.connection = http.client.HTTPConnection(
                    urlsplit(self._origin).netloc, timeout=60
                )
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"ok"


class Default:
    def __init__(self, origin: str) -> None:
        from fast_litellm import SimpleConnectionPool

        self.pool: Any = SimpleConnectionPool("default")
        self._origin = origin

    def request(self) -> None:
        assert self.pool.request(self._origin, "GET", "/", timeout=60.0).content == b"ok"


class Asyncio:
    def __init__(self, origin: str) -> None:
        from fast_litellm import SimpleConnectionPool

        self.pool: Any = SimpleConnectionPool("default")
        self._origin = origin

    async def request(self) -> None:
        answer = await self.pool.arequest(self._origin, "GET", "/", timeout=60.0)
        assert answer.content == b"ok"


class Tally:
    """What the callers tell. `waits`: seconds from asking for a request to its answer."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.waits: list[float] = []
        self.errors: list[str] = []


class Threads:
    """`tasks` threads that call `request` again and again."""

    def __init__(self, request: Callable[[], None], tasks: int, tally: Tally) -> None:
        self._threads = [threading.Thread(target=self._work, args=(request, tally), daemon=True) for _ in range(tasks)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)

    @staticmethod
    def _work(request: Callable[[], None], tally: Tally) -> None:
        while not tally.done.is_set():
            begin = time.monotonic()
            try:
                request()
            except Exception as error:
                tally.errors.append(repr(error))
                time.sleep(0.05)
            else:
                tally.waits.append(time.monotonic() - begin)


class Tasks:
    """`tasks` asyncio tasks on one event loop, in a thread of its own."""

    def __init__(self, request: Callable[[], Awaitable[None]], tasks: int, tally: Tally) -> None:
        self._thread = threading.Thread(target=asyncio.run, args=(self._all(request, tasks, tally),), daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(60)

    async def _all(self, request: Callable[[], Awaitable[None]], tasks: int, tally: Tally) -> None:
        await asyncio.gather(*(self._work(request, tally) for _ in range(tasks)))

    @staticmethod
    async def _work(request: Callable[[], Awaitable[None]], tally: Tally) -> None:
        while not tally.done.is_set():
            begin = time.monotonic()
            try:
                await request()
            except Exception as error:
                tally.errors.append(repr(error))
                await asyncio.sleep(0.05)
            else:
                tally.waits.append(time.monotonic() - begin)


def main() -> None:
    engine, origin, limit, tasks, factor, kind = sys.argv[1:]
    pace = Pace().scaled(float(factor))
    user: Any = {"counted": Counted, "default": Default, "asyncio": Asyncio}[kind](origin)
    agent = Agent(open_engine(engine, pace), {origin: int(limit)}, pace)
    agent.attach(user.pool)
    tally = Tally()

    def tell() -> None:
        while not tally.done.is_set():
            mine = agent.status()["origins"][origin]
            mine.update(
                requests=len(tally.waits),
                errors=tally.errors[-3:],
                cpu=time.process_time(),
            )
            print(json.dumps(mine), flush=True)
            time.sleep(0.1)

    callers = (Tasks if kind == "asyncio" else Threads)(user.request, int(tasks), tally)
    threading.Thread(target=tell, daemon=True).start()
    sys.stdin.read()
    tally.done.set()
    callers.join()
    agent.stop()
    print(json.dumps({"waits": sorted(tally.waits)}), flush=True)


if __name__ == "__main__":
    main()
