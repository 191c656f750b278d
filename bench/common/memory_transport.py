"""httpx's own cost: a transport that only hands over a response, with its body in a stream as a real one has it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx

from bench.common.workload import (
    BURST,
    EVENT,
    EVENTS,
    LAST_EVENT,
    PACED,
    RESPONSE_BODY,
    RESPONSE_HEADERS,
    STREAM_HEADERS,
)

_PACED = [EVENT] * EVENTS + [LAST_EVENT]
#: The burst is one piece, as it arrives in one read; the paced stream is a piece per event, without a wait.
_STREAMS = {BURST: [b"".join(_PACED)], PACED: _PACED}
_WHOLE = [RESPONSE_BODY]


class MemoryStream(httpx.AsyncByteStream):
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece

    async def aclose(self) -> None:
        pass


class MemoryTransport(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        pieces = _STREAMS.get(request.url.path)
        return httpx.Response(
            200,
            headers=RESPONSE_HEADERS if pieces is None else STREAM_HEADERS,
            stream=MemoryStream(_WHOLE if pieces is None else pieces),
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": b"OK"},
        )
