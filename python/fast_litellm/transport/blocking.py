"""The synchronous transport, for whichever library. A request costs a few attribute reads here and one call into the
core, which leases a connection, writes, and reads the head of the response with the GIL released."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from .. import _core
from .base import CONTENT, Transport


class SyncTransport(Transport):
    _by_socket: ClassVar[bool] = True

    def handle_request(self, request: Any) -> Any:
        if len(request.extensions) > 1 and request.extensions.get("trace") is not None:
            return self._send_traced(request)
        arguments = self._arguments(request)
        exchange = self._send(*arguments)
        if arguments[CONTENT] is None:
            _send_pieces(exchange, request.stream, self._library.SyncByteStream)
        return self._response(exchange)

    def close(self) -> None:
        """Lets go of the handle; without `pool=`, closes the connections too. Calling it again is harmless."""
        self._close()


class SyncResponseBody:
    """The body of a response, as it comes. Closing it, or dropping it, ends the exchange."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: _core.Exchange) -> None:
        self._exchange = exchange

    def __iter__(self) -> Iterator[bytes]:
        exchange = self._exchange
        return exchange if exchange.arrived else _pieces(exchange)

    def take_arrived(self) -> bytes | None:
        """All of the body, if it has arrived; None, with nothing changed, if not."""
        return self._exchange.take_arrived()

    def close(self) -> None:
        self._exchange.close()


def _pieces(exchange: _core.Exchange) -> Iterator[bytes]:
    read = exchange.read
    try:
        while piece := read():
            yield piece
    finally:  # the end, an error, or a caller who stops here
        exchange.close()


def _send_pieces(exchange: _core.Exchange, stream: Any, kind: type) -> None:
    """Sends a body that comes in pieces; what its iterator raises goes to the caller as it is."""
    if not isinstance(stream, kind):
        exchange.close()
        raise RuntimeError("Attempted to send an async request with a sync transport.")
    try:
        for piece in stream:  # type: ignore[attr-defined]
            if piece and not exchange.write(piece):
                break  # the server has answered already
        exchange.finish()
    except BaseException:
        exchange.close()
        raise
