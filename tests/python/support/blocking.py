"""An async transport as a sync one: what tests of `httpx.Client` need to try the async transport as well."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
from anyio.from_thread import BlockingPortal


class BlockingTransport(httpx.BaseTransport):
    """Sends through an async transport, on the loop of a portal. Any thread may use it, as a sync transport."""

    def __init__(self, portal: BlockingPortal, transport: httpx.AsyncBaseTransport) -> None:
        self._portal = portal
        self._transport = transport

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        stream = request.stream
        if not isinstance(stream, httpx.AsyncByteStream):
            assert isinstance(stream, httpx.SyncByteStream)
            request.stream = _Body(stream)
        try:
            response = self._portal.call(self._transport.handle_async_request, request)
        finally:
            request.stream = stream
        assert isinstance(response.stream, httpx.AsyncByteStream)
        return httpx.Response(
            response.status_code,
            headers=response.headers.raw,
            stream=_BlockingStream(self._portal, response.stream),
            extensions=response.extensions,
        )

    def close(self) -> None:
        self._portal.call(self._transport.aclose)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Body(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._stream:
            yield piece


class _BlockingStream(httpx.SyncByteStream):
    def __init__(self, portal: BlockingPortal, stream: httpx.AsyncByteStream) -> None:
        self._portal = portal
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        pieces = self._stream.__aiter__()

        async def next_piece() -> bytes | None:
            return await anext(pieces, None)

        async def close() -> None:
            if hasattr(pieces, "aclose"):
                await pieces.aclose()

        try:
            while (piece := self._portal.call(next_piece)) is not None:
                yield piece
        finally:
            self._portal.call(close)

    def close(self) -> None:
        self._portal.call(self._stream.aclose)
