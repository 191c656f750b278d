"""Waiting for a socket that the caller reads and writes itself: `poll` for threads, anyio for event loops."""

from __future__ import annotations

import select
import socket
import time


class Deadline:
    """Of one operation of a thread."""

    __slots__ = ("_end",)

    def __init__(self, timeout: float | None) -> None:
        self._end = None if timeout is None else time.monotonic() + timeout

    def left(self) -> float | None:
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def wait(self, waitable: socket.socket, events: int) -> bool:
        """Until the socket is ready. False: it was not in time."""
        return wait(waitable.fileno(), events, self.left())


def wait(descriptor: int, events: int, timeout: float | None) -> bool:
    poller = select.poll()
    poller.register(descriptor, events)
    return bool(poller.poll(None if timeout is None else timeout * 1000))


async def await_ready(waitable: socket.socket, events: int) -> None:
    import anyio

    which = "writable" if events == select.POLLOUT else "readable"
    # Before 4.7 under its longer name alone.
    await (getattr(anyio, f"wait_{which}", None) or getattr(anyio, f"wait_socket_{which}"))(waitable)
