"""One interface for every kind of transport, so that one test covers them all: `caller.request(...)` blocks,
whatever is underneath."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import httpx

import fast_litellm
from fast_litellm import HTTPTransport


class Caller(Protocol):
    """A client on one of this package's transports."""

    def request(self, method: str, url: str, **options: Any) -> httpx.Response: ...
    def get(self, url: str, **options: Any) -> httpx.Response: ...
    def open_leases(self) -> int: ...
    def close(self) -> None: ...


class BlockingCaller:
    def __init__(self, *, timeout: Any = 20.0, **arguments: Any) -> None:
        self._transport = HTTPTransport(**arguments)
        self._client = httpx.Client(transport=self._transport, timeout=timeout)

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        return self._client.request(method, url, **options)

    def get(self, url: str, **options: Any) -> httpx.Response:
        return self.request("GET", url, **options)

    def open_leases(self) -> int:
        return len(self._transport._pool.connections)

    def close(self) -> None:
        self._client.close()


class AsyncCaller:
    """Each request in a task of the caller's own event loop, which runs as long as a request does."""

    def __init__(self, *, timeout: Any = 20.0, **arguments: Any) -> None:
        transport_class: Any = fast_litellm.AsyncHTTPTransport  # type: ignore[attr-defined,unused-ignore]
        self._loop = asyncio.new_event_loop()
        self._transport = transport_class(**arguments)
        self._client = httpx.AsyncClient(transport=self._transport, timeout=timeout)

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        return self._loop.run_until_complete(self._client.request(method, url, **options))

    def get(self, url: str, **options: Any) -> httpx.Response:
        return self.request("GET", url, **options)

    def open_leases(self) -> int:
        return len(self._transport._pool.connections)

    def close(self) -> None:
        self._loop.run_until_complete(self._client.aclose())
        self._loop.close()


MakeCaller = Callable[..., Caller]

#: By name, for parametrized fixtures.
CALLERS: dict[str, MakeCaller] = {"blocking": BlockingCaller}
if hasattr(fast_litellm, "AsyncHTTPTransport"):
    CALLERS["async"] = AsyncCaller
