"""The asynchronous transport, for whichever library and event loop. The caller writes at once; the loop's turn reads
what has come and wakes whom it concerns. No task and no thread of its own."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, ClassVar

from .. import _core
from ..exceptions import Forked
from ..runtime.event_loops import Refusal, event_loop, renewed_event_loop
from .base import CONTENT, RequestArguments, Transport
from .http_library import HTTPLibrary


class AsyncTransport(Transport):
    _shares_engines: ClassVar[bool] = True

    async def handle_async_request(self, request: Any) -> Any:
        if len(request.extensions) > 1 and request.extensions.get("trace") is not None:
            return await self._send_traced(request)
        arguments = self._arguments(request)
        try:
            exchange = self._start(event_loop(self._library.cannot_start), *arguments)
            await exchange
        except Forked as error:
            exchange = await again(self, arguments, error)
        if arguments[CONTENT] is None:
            await _send_pieces(exchange, request.stream, self._library)
        return self._response(exchange)

    async def aclose(self) -> None:
        """Lets go of the handle; without `pool=`, closes the connections too. Calling it again is harmless."""
        self._close()


class AsyncResponseBody:
    """The body of a response, as it comes and no faster than it is asked for. Closing it, or dropping it, ends the
    exchange."""

    __slots__ = ("_exchange",)
    _library: ClassVar[HTTPLibrary]

    def __init__(self, exchange: _core.AsyncExchange) -> None:
        self._exchange = exchange

    def __aiter__(self) -> AsyncIterator[bytes]:
        return Pieces(self._exchange, self._library.cannot_read)

    def take_arrived(self) -> bytes | None:
        """All of the body, if it has arrived; None, with nothing changed, if not."""
        return self._exchange.take_arrived()

    async def aclose(self) -> None:
        self._exchange.end()


class Pieces:
    """Iterates over a body. Not a generator: each of those costs the loop a look at its hooks. As with one, an
    iteration that is dropped before its end ends the exchange; with the body, an error or a cancellation that ends
    itself. `cannot_read`: see `HTTPLibrary`."""

    __slots__ = ("_cannot_read", "_exchange", "_read")

    def __init__(self, exchange: _core.AsyncExchange, cannot_read: Refusal) -> None:
        self._exchange: _core.AsyncExchange | None = exchange
        self._read = exchange.read
        self._cannot_read = cannot_read

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            begun = self._read(event_loop(self._cannot_read))
        except BaseException:
            self._exchange = None  # another reader's
            raise
        piece = await begun
        if not piece:
            self._exchange = None  # a connection that was handed over is not its to end
            raise StopAsyncIteration
        return piece

    def __del__(self) -> None:
        if self._exchange is not None and not self._exchange.closed:
            self._exchange.abandon()


async def again(transport: Transport, arguments: RequestArguments, error: Forked) -> _core.AsyncExchange:
    """A second try after other code has closed the pool's descriptors, if nothing was sent; else raises `error`."""
    if getattr(error, "bytes_sent", 1):
        raise error
    exchange = transport._start(renewed_event_loop(transport._library.cannot_start), *arguments)
    await exchange
    return exchange


async def write_pieces(exchange: _core.AsyncExchange, stream: AsyncIterable[bytes], cannot_write: Refusal) -> None:
    """Sends the pieces until the server has answered, or there are no more."""
    async for piece in stream:
        if not piece:
            continue
        if not await exchange.write(event_loop(cannot_write), piece):
            break


async def _send_pieces(exchange: _core.AsyncExchange, stream: Any, library: HTTPLibrary) -> None:
    """Sends a body that comes in pieces; what its iterator raises goes to the caller as it is."""
    if not isinstance(stream, library.AsyncByteStream):
        exchange.end()
        raise RuntimeError("Attempted to send a sync request with an AsyncClient instance.")
    try:
        await write_pieces(exchange, stream, library.cannot_write)  # type: ignore[arg-type]
        await exchange.finish(event_loop(library.cannot_write))
    except BaseException:
        exchange.end()
        raise
