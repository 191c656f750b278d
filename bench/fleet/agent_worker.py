"""One member of a measured fleet: a process with a pool, its agent, and callers.

    python -m bench.fleet.agent_worker < orders

Reads one line of JSON: `url` of the engine, `origin`, `limit`, `callers`, `hold` (see `Load` in part.py). Answers
{"ready": true} once the engine has answered and the callers have what leases there are, or {"unavailable": reason}.
Each further line, {"seconds": number}, is answered with what happened in that time: seconds, agent_cpu_us (of the
agent's thread alone), cpu_us (of the process), rounds and failed_rounds of the agent, and leases that callers were
given. Ends with its input.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from bench.http.clients import NotAvailable, own_package

_PATIENCE = 30.0
_AGENT = "fast_litellm fleet"


class Callers:
    """Threads that take leases of the pool. Counts those that were given."""

    def __init__(self, pool: Any, origin: str, callers: int, hold: float) -> None:
        self._pool, self._origin, self._hold = pool, origin, hold
        self._over = threading.Event()
        self._given = [0] * callers
        self._threads = [threading.Thread(target=self._run, args=(at,), daemon=True) for at in range(callers)]
        for thread in self._threads:
            thread.start()

    @property
    def given(self) -> int:
        return sum(self._given)

    def _run(self, at: int) -> None:
        while not self._over.is_set():
            lease = self._pool.get_connection(self._origin, timeout=_PATIENCE)
            if lease is None:
                continue
            self._given[at] += 1
            self._over.wait(self._hold or None)
            self._pool.return_connection(lease)

    def close(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(_PATIENCE)


def agent_clock() -> Callable[[], float]:
    """The CPU time of the agent's thread, in seconds: any thread may read it while that thread runs."""
    for thread in threading.enumerate():
        if thread.name == _AGENT and thread.ident is not None:
            clock = time.pthread_getcpuclockid(thread.ident)
            return lambda: time.clock_gettime(clock)
    raise NotAvailable(f"no thread {_AGENT!r}")


def _wait_until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + _PATIENCE
    while not holds():
        if time.monotonic() > end:
            raise NotAvailable(f"not within {_PATIENCE:.0f} s: {what}")
        time.sleep(0.02)


class Member:
    def __init__(self, order: dict[str, Any]) -> None:
        self._fleet: Any = importlib.import_module("fast_litellm.fleet")
        pool = own_package("SimpleConnectionPool")("bench-fleet")
        self._fleet.configure({order["origin"]: order["limit"]}, url=order["url"], pool=pool)
        self._origin = order["origin"]
        # The first member of a new engine waits for its allotment; the others may get none for as long as they live.
        _wait_until(lambda: self._numbers("allotment") > 0 or self._numbers("members") > 1, "an answer of the engine")
        self._callers = Callers(pool, self._origin, order["callers"], order["hold"])
        busy = min(order["callers"], self._numbers("allotment"))
        _wait_until(lambda: self._callers.given >= busy, "leases for the callers")
        self._cpu = agent_clock()

    def measure(self, seconds: float) -> dict[str, Any]:
        gc.collect()
        before = self._now()
        time.sleep(seconds)
        return {name: after - before[name] for name, after in self._now().items()}

    def close(self) -> None:
        self._fleet.configure({})
        self._callers.close()

    def _numbers(self, name: str) -> int:
        return int(self._fleet.get_status()["origins"][self._origin][name])

    def _now(self) -> dict[str, Any]:
        status = self._fleet.get_status()
        return {
            "seconds": time.perf_counter(),
            "agent_cpu_us": self._cpu() * 1e6,
            "cpu_us": time.process_time() * 1e6,
            "rounds": status["rounds"],
            "failed_rounds": status["failed_rounds"],
            "leases": self._callers.given,
        }


def main() -> None:
    # What a package prints does not belong among the answers.
    answers, sys.stdout = sys.stdout, sys.stderr

    def say(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=answers, flush=True)

    try:
        member = Member(json.loads(sys.stdin.readline()))
    except (NotAvailable, ImportError) as reason:
        say({"unavailable": str(reason)})
        return
    say({"ready": True})
    for line in sys.stdin:
        say(member.measure(json.loads(line)["seconds"]))
    member.close()


if __name__ == "__main__":
    main()
