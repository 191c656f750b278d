"""`CountedPool`: a pool of nothing but leases, with what the agent needs of one.

It counts as the pool of the package does, so that tests of agents can hold leases without a server.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fast_litellm.fleet.clock import boot_time


class CountedPool:
    """Any thread may call any method. First come, first served."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._most: dict[str, tuple[int | None, float]] = {}
        self._leased: dict[str, int] = {}
        self._queues: dict[str, list[object]] = {}
        self.closed = False
        self.calls: list[tuple[str, int | None]] = []

    def set_max_leases(self, origin: str, n: int | None, *, valid_until: float | None = None) -> None:
        with self._changed:
            self._most[origin] = (n, float("inf") if valid_until is None else valid_until)
            self.calls.append((origin, n))
            self._changed.notify_all()

    def usage(self, origin: str) -> tuple[int, int]:
        with self._changed:
            return self._leased.get(origin, 0), len(self._queues.get(origin, ()))

    def cap(self, origin: str) -> int | None:
        with self._changed:
            most, until = self._most.get(origin, (None, float("inf")))
            return most if boot_time() < until else 0

    @contextmanager
    def lease(self, origin: str, patience: float = 60.0) -> Iterator[None]:
        self.take(origin, patience)
        try:
            yield
        finally:
            self.give_back(origin)

    def take(self, origin: str, patience: float = 60.0) -> None:
        mine = object()
        with self._changed:
            queue = self._queues.setdefault(origin, [])
            queue.append(mine)
            try:
                if not self._changed.wait_for(lambda: queue[0] is mine and self._has_room(origin), patience):
                    raise TimeoutError(f"no lease of {origin} within {patience} s")
            finally:
                queue.remove(mine)
                self._changed.notify_all()
            self._leased[origin] = self._leased.get(origin, 0) + 1

    def give_back(self, origin: str) -> None:
        with self._changed:
            self._leased[origin] -= 1
            self._changed.notify_all()

    def forked(self) -> None:
        """In the child of a fork: the parent's leases are the parent's."""
        self._changed = threading.Condition()
        self._leased.clear()
        self._queues.clear()

    def _has_room(self, origin: str) -> bool:
        most, until = self._most.get(origin, (None, float("inf")))
        return most is None or (self._leased.get(origin, 0) < most and boot_time() < until)
