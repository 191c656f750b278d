"""The C++ part of the benchmark: which clients do which works, where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.common.environment import BUILD_DIR, RAW_CLIENT, RAW_LOOP
from bench.common.placement import PLACEMENTS, cores_of
from bench.common.workload import (
    BURST,
    BURST_SIZE,
    EVENTS,
    LARGE,
    LARGE_SIZE,
    RESPONSE_BODY,
    TARGET,
    burst_bytes,
    large_response_bytes,
    response_bytes,
)

_BIN = BUILD_DIR / "bin"
OWN, ASIO, BEAST, CURL, HTTPLIB = (
    _BIN / f"fastpool_bench_cpp{name}" for name in ("", "_asio", "_beast", "_curl", "_httplib")
)
#: What CMake builds: the library's program, and those of the peers that are installed.
TARGETS = (RAW_CLIENT.name, RAW_LOOP.name, OWN.name, "fastpool_bench_cpp_peers")
#: What a program needs that may be absent.
NEEDS = {CURL: "libcurl (Debian: libcurl4-openssl-dev)", HTTPLIB: "cpp-httplib (Debian: libcpp-httplib-dev)"}


@dataclass(frozen=True)
class Client:
    """A column of the report; `name` is the program's word for it."""

    name: str
    title: str
    program: Path


RAW = Client("raw", "raw calls", RAW_CLIENT)
SEND = Client("send", "`send`", OWN)
REUSE = Client("reuse", "`send`, reuse", OWN)
STREAM = Client("stream", "`open`, `read`", OWN)
LEASE = Client("lease", "`Lease`", OWN)
EASY = Client("easy", "libcurl easy", CURL)
BEAST_SYNC = Client("beast", "Beast", BEAST)
BLOCKING = (RAW, SEND, REUSE, STREAM, LEASE, BEAST_SYNC, EASY, Client("httplib", "cpp-httplib", HTTPLIB))

RAW_EPOLL = Client("raw_loop", "bare epoll", RAW_LOOP)
LOOP = Client("loop", "`Loop`", OWN)
COROUTINE = Client("coroutine", "`co_await`", OWN)
ASIO_HANDLER = Client("asio", "Asio, handler", ASIO)
ASIO_AWAITABLE = Client("asio_awaitable", "Asio, `co_await`", ASIO)
MULTI = Client("multi", "libcurl multi", CURL)
BEAST_ASYNC = Client("beast_async", "Beast, `co_await`", BEAST)
LOOPING = (RAW_EPOLL, LOOP, COROUTINE, ASIO_HANDLER, ASIO_AWAITABLE, BEAST_ASYNC, MULTI)


@dataclass(frozen=True)
class Work:
    """A response that is requested again and again: its body's bytes decoded, and all its bytes on the wire."""

    title: str
    target: str
    body_size: int
    wire_size: int


SMALL = Work("300 B", TARGET, len(RESPONSE_BODY), len(response_bytes()))
MEGABYTE = Work("1 MB", LARGE, LARGE_SIZE, len(large_response_bytes()))
STREAMED = Work(f"{EVENTS} events", BURST, BURST_SIZE, len(burst_bytes()))
WORKS = (SMALL, MEGABYTE, STREAMED)

THREADS = (1, 8)
AT_ONCE = (64, 500)


@dataclass(frozen=True)
class Scenario:
    """A work, how many at once (threads, or requests of a loop), and where."""

    work: Work
    loop: bool
    width: int
    tls: bool
    placement: str

    @property
    def count(self) -> str:
        if self.loop:
            return f"{self.width} at once"
        return "1 thread" if self.width == 1 else f"{self.width} threads"

    @property
    def title(self) -> str:
        return f"{self.work.title}, {self.count}, {'TLS' if self.tls else 'plain'}, {PLACEMENTS[self.placement]}"

    @property
    def share(self) -> float:
        """How much longer than others it is measured: large responses of a loop progress together and end together."""
        return 2.0 if self.loop and self.work is MEGABYTE else 1.0

    @property
    def cores(self) -> set[int] | None:
        return cores_of(self.placement)

    @property
    def clients(self) -> tuple[Client, ...]:
        if not self.loop:
            return BLOCKING
        # The bare loop speaks no TLS.
        return LOOPING[1:] if self.tls else LOOPING


def _of(work: Work, loop: bool) -> list[tuple[int, tuple[str, ...]]]:
    """Of one work: how many at once, and where."""
    pinned = ("same", "cross")
    if work is not SMALL:
        return [(AT_ONCE[0] if loop else THREADS[0], pinned)]
    if loop:
        return [(width, pinned) for width in AT_ONCE]
    return [(THREADS[0], pinned), (THREADS[1], (*pinned, "free"))]


def scenarios(cores: int, tls: bool = True) -> list[Scenario]:
    """All of them. On one core there is one placement."""
    return [
        Scenario(work, loop, width, secured, placement)
        for secured in ((False, True) if tls else (False,))
        for loop in (False, True)
        for work in WORKS
        for width, placements in _of(work, loop)
        for placement in placements
        if cores > 1 or placement == "same"
    ]
