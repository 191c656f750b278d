"""An HTTP server that counts its concurrent requests, and keeps the largest count."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class CountingServer:
    """In a thread of its own. Each request takes `seconds`, and counts from its head until its answer is written."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        # Written by the loop's thread.
        self._now = 0
        self._most = 0
        self._served = 0
        self._busy = 0.0
        self._since = time.monotonic()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def most(self) -> int:
        """The largest number of requests at once since the last `forget`."""
        return self._most

    @property
    def served(self) -> int:
        return self._served

    def forget(self) -> None:
        self._most = self._now

    def busy_seconds(self) -> float:
        """The sum over all requests of their time, up to now."""
        return self._busy + self._now * (time.monotonic() - self._since)

    def answer(self, body: bytes) -> tuple[bytes, bytes]:
        """What is written at once, and what ends the answer."""
        return b"", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self._count(1)
                try:
                    body = await reader.readexactly(_length_of(head))
                    first, last = self.answer(body)
                    writer.write(first)
                    await asyncio.sleep(self.seconds)
                    self._served += 1
                finally:
                    # Before the last bytes: the client's next request may follow them at once.
                    self._count(-1)
                writer.write(last)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def _count(self, change: int) -> None:
        now = time.monotonic()
        self._busy += self._now * (now - self._since)
        self._since = now
        self._now += change
        self._most = max(self._most, self._now)


def _length_of(head: bytes) -> int:
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return int(found.group(1)) if found else 0
