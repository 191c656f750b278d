"""Requests with the `trace` extension: the same exchange, step by step, and each step reported (see `trace_events`)."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

from .. import _core
from ..exceptions import Forked
from ..runtime.event_loops import event_loop
from . import trace_events
from .asynchronous import Pieces, again, write_pieces
from .base import RequestArguments, Transport, extensions_of
from .blocking import SyncResponseBody
from .network_stream import NetworkStream


def send_traced(transport: Transport, request: Any) -> Any:
    """For a blocking transport."""
    steps = _SyncSteps(transport, request)
    trace_events.send(steps.function, steps, steps.place, steps.told_request)
    return _response(transport, steps)


async def asend_traced(transport: Transport, request: Any) -> Any:
    """For an asynchronous transport."""
    steps = _AsyncSteps(transport, request)
    await trace_events.asend(steps.function, steps, steps.place, steps.told_request)
    return _response(transport, steps)


def _response(transport: Transport, steps: _Steps) -> Any:
    exchange = steps.exchange
    return transport._library.Response(
        exchange.status,
        headers=exchange.headers,
        stream=transport._traced_stream(steps),
        extensions=extensions_of(exchange, steps.network_stream),
    )


class _Steps:
    """What the two kinds have in common. One exchange; only its request and response have it."""

    exchange: Any = None

    def __init__(self, transport: Transport, request: Any) -> None:
        self.transport = transport
        self.request = request
        self.function = request.extensions["trace"]
        scheme, host, port, method, target, headers, _, timeouts, server_name = transport._arguments(request)
        # The body goes as a step of its own, so it is never sent whole with the head.
        self.arguments: RequestArguments = (
            scheme,
            host,
            port,
            method,
            target,
            headers,
            None,
            timeouts,
            server_name,
        )
        secure = scheme == b"https"
        port = port or (443 if secure else 80)
        core = importlib.import_module("httpcore" + transport._library.module.__name__.removeprefix("httpx"))
        proxy = transport._place["proxy"]
        forwarding = tunnel = None
        if proxy is not None and not proxy.socks:
            forwarding = None if secure else proxy
            tunnel = trace_events.tunnel_request(core, request, proxy, host, port) if secure else None
        self.place = trace_events.Place(
            host.decode("ascii"),
            port,
            secure,
            timeouts[0],
            server_name,
            tunnel_request=tunnel,
            **transport._place,
        )
        self.told_request = trace_events.httpcore_request(core, request, forwarding)

    @property
    def fresh(self) -> bool:
        fresh: bool = self.exchange.fresh
        return fresh

    @property
    def over_http2(self) -> bool:
        http2: bool = self.exchange.over_http2
        return http2

    @property
    def stream_id(self) -> int:
        stream: int = self.exchange.stream_id
        return stream

    @property
    def tunnel_answer(self) -> trace_events.Head | None:
        answer: trace_events.Head | None = self.exchange.tunnel_answer
        return answer

    @property
    def network_stream(self) -> NetworkStream:
        return self.transport._network_stream(self.exchange)

    def _head(self) -> trace_events.Head:
        exchange = self.exchange
        if exchange.over_http2:
            return exchange.status, exchange.headers
        return exchange.http_version, exchange.status, exchange.reason, exchange.headers

    def close(self) -> None:
        if self.exchange is not None:
            self.exchange.close()


class _SyncSteps(_Steps):
    exchange: _core.Exchange

    def obtain(self) -> None:
        self.exchange = self.transport._send(*self.arguments)

    def send_head(self) -> None:
        """Over HTTP/1.1 it goes out with the body's first piece."""
        if self.exchange.over_http2:
            self.exchange.write(b"")

    def send_body(self) -> None:
        for piece in self.request.stream:
            if piece and not self.exchange.write(piece):
                break

    def read_head(self) -> trace_events.Head:
        self.exchange.finish()
        return self._head()


class _AsyncSteps(_Steps):
    exchange: _core.AsyncExchange

    async def obtain(self) -> None:
        try:
            exchange = self.transport._start(event_loop(self.transport._library.cannot_start), *self.arguments)
            await exchange
        except Forked as error:
            exchange = await again(self.transport, self.arguments, error)
        self.exchange = exchange

    async def send_head(self) -> None:
        """As `_SyncSteps.send_head`."""
        if self.exchange.over_http2:
            await self.exchange.write(event_loop(self.transport._library.cannot_write), b"")

    async def send_body(self) -> None:
        await write_pieces(self.exchange, self.request.stream, self.transport._library.cannot_write)

    async def read_head(self) -> trace_events.Head:
        await self.exchange.finish(event_loop(self.transport._library.cannot_write))
        return self._head()


class TracedSyncBody:
    """As SyncResponseBody."""

    def __init__(self, steps: _SyncSteps) -> None:
        self._steps = steps
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        steps = self._steps
        return trace_events.body(
            steps.function, steps, iter(SyncResponseBody(steps.exchange)), steps.told_request, self.close
        )

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            trace_events.closed(self._steps.function, self._steps)


class TracedAsyncBody:
    """As AsyncResponseBody."""

    def __init__(self, steps: _AsyncSteps) -> None:
        self._steps = steps
        self._closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        steps = self._steps
        pieces = Pieces(steps.exchange, steps.transport._library.cannot_read)
        return trace_events.abody(steps.function, steps, pieces, steps.told_request, self.aclose)

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            await trace_events.aclosed(self._steps.function, self._steps)
