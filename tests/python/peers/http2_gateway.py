"""Scripts of HTTP/1.1 (scripted.py) behind HTTP/2: each stream is to its script what a connection would be.

    server = ScriptedServer(over_http2(serve_ok))

So a test of a transport that is about neither protocol runs over both. The script reads one request of its connection,
and a second never comes; what it sends is taken apart as a response of HTTP/1.1, whose head goes out as HEADERS and
whose body as DATA. A script that returns too early resets its stream. The server's `open` counts streams.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from support.certificates import Identity

from .http2_scripted import ClientLeft, Code, Http2Peer, Http2Request, Setting, data, headers, http2_context, rst_stream
from .scripted import Connection, Request, Script, ScriptedServer

#: Fields of HTTP/1.1's framing, which HTTP/2 has not.
_FRAMING = ("connection", "keep-alive", "transfer-encoding")


Serve = Callable[..., ScriptedServer]


def serving_http2(serve: Serve) -> Serve:
    """The fixture `serve` for servers of HTTP/2: each script serves streams in place of connections."""

    def start(script: Script, *, tls: Identity | None = None, **options: Any) -> ScriptedServer:
        return serve(over_http2(script), tls=http2_context(tls) if tls else None, **options)

    return start


def over_http2(script: Script) -> Script:
    """A script that serves each stream of its connection by that one."""

    async def serve(connection: Connection) -> None:
        with contextlib.suppress(ClientLeft):
            await _Gateway(connection, script).run()

    return serve


class _Gateway:
    """One connection: reads frames, and starts a script for each request."""

    def __init__(self, connection: Connection, script: Script) -> None:
        self.connection = connection
        self._script = script
        self.over = False
        self._news = asyncio.Condition()
        self._writing = asyncio.Lock()

    async def run(self) -> None:
        self.peer = await Http2Peer.begin(self.connection, {Setting.MAX_CONCURRENT_STREAMS: 100})
        scripts: set[asyncio.Task[None]] = set()
        known = 0
        self._count_open(-1)  # streams count in its place
        try:
            while True:
                await self.peer.frame()
                for request in list(self.peer.streams.values())[known:]:
                    known += 1
                    scripts.add(asyncio.create_task(self._serve(_Stream(self, request))))
                await self._tell()
        finally:
            self._count_open(1)
            self.over = True
            with contextlib.suppress(asyncio.CancelledError):
                await self._tell()
            for error in await asyncio.gather(*scripts, return_exceptions=True):
                if isinstance(error, Exception):
                    self.connection._server.errors.append(error)

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Returns when it is reached, or the client has gone."""
        async with self._news:
            await self._news.wait_for(lambda: self.over or reached())

    async def send(self, *frames: bytes) -> None:
        async with self._writing:
            await self.peer.send(*frames)

    async def _serve(self, stream: _Stream) -> None:
        self._count_open(1)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._script(stream)
                await stream.end()
        finally:
            self._count_open(-1)

    def _count_open(self, more: int) -> None:
        """Adds to the server's count of scripts that run."""
        with self.connection._server._note() as counts:
            counts.open += more


class _Stream(Connection):
    """A stream, as a connection of HTTP/1.1."""

    def __init__(self, gateway: _Gateway, request: Http2Request) -> None:
        self.number = gateway.connection.number
        self._gateway = gateway
        self._request = request
        self._server = gateway.connection._server
        self._asked = False
        self._taken = 0
        self._buffer = b""
        self._left: int | None = None  # of the response's body; None: until the script returns
        self._chunked = False
        self._has_head = False
        self._ended = False

    @property
    def _gone(self) -> bool:
        return self._gateway.over or self._request.stream in self._gateway.peer.resets

    # ---- what the script reads ----

    async def request(self) -> Request:
        head = await self.request_head()
        await self._gateway.until(lambda: self._request.complete or self._gone)
        if not self._request.complete:
            raise asyncio.IncompleteReadError(b"", None)
        request = Request(head.method, head.target, head.headers, bytes(self._request.body), b"")
        self._server._saw(request)
        return request

    async def request_head(self) -> Request:
        if self._asked:  # the next request has a stream of its own
            await self.client_closed()
            raise asyncio.IncompleteReadError(b"", None)
        self._asked = True
        fields = [(name, value) for name, value in self._request.fields if not name.startswith(":")]
        host = ("host", self._request.field(":authority"))
        return Request(self._request.field(":method"), self._request.path, [host, *fields], b"", b"")

    async def receive(self, most: int = 65536) -> bytes:
        await self._gateway.until(lambda: len(self._request.body) > self._taken or self._request.complete or self._gone)
        piece = bytes(self._request.body[self._taken : self._taken + most])
        self._taken += len(piece)
        return piece

    async def client_closed(self) -> None:
        await self._gateway.until(lambda: self._gone or (self._ended and self._request.complete))

    def pause(self) -> None:
        """Gives no more credit."""
        self._gateway.peer.credit = False

    def hang_up(self) -> None:
        self._gateway.connection.hang_up()

    def reset(self) -> None:
        self._gateway.connection.reset()

    # ---- what the script sends ----

    async def send(self, data: bytes) -> None:
        self._buffer += data
        while not self._has_head and b"\r\n\r\n" in self._buffer:
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            await self._send_head(head.decode("latin-1").split("\r\n"))
        if self._has_head:
            await (self._send_chunks() if self._chunked else self._send_body())

    async def _send_head(self, lines: list[str]) -> None:
        status = lines[0].split(" ")[1]
        fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
        kept = [(name, value) for name, value in fields if name not in _FRAMING]
        self._has_head = not status.startswith("1")
        self._chunked = ("transfer-encoding", "chunked") in fields
        length = dict(fields).get("content-length")
        empty = self._request.field(":method") == "HEAD" or status in ("204", "304")
        self._left = 0 if empty else None if length is None else int(length)
        self._ended = self._has_head and self._left == 0
        await self._gateway.send(headers(self._request.stream, (":status", status), *kept, end=self._ended))

    async def _send_body(self) -> None:
        piece, self._buffer = self._buffer, b""
        if self._left is not None:
            piece = piece[: self._left]
            self._left -= len(piece)
        await self._send_data(piece, end=self._left == 0)

    async def _send_chunks(self) -> None:
        while not self._ended and b"\r\n" in self._buffer:
            line, _, rest = self._buffer.partition(b"\r\n")
            size = int(line.split(b";")[0], 16)
            if len(rest) < size + 2:
                return
            self._buffer = rest[size + 2 :]
            await self._send_data(rest[:size], end=size == 0)

    async def _send_data(self, piece: bytes, *, end: bool) -> None:
        peer, stream = self._gateway.peer, self._request.stream
        while not self._ended and (piece or end):
            if piece:
                await self._gateway.until(lambda: peer.room(stream) > 0 or self._gone)
            if self._gone:
                raise ClientLeft
            part = piece[: min(max(peer.room(stream), 0), 16_384)]
            piece = piece[len(part) :]
            for each in (0, stream):
                peer._spent[each] = peer._spent.get(each, 0) + len(part)
            self._ended = end and not piece
            await self._gateway.send(data(stream, part, end=self._ended))

    async def end(self) -> None:
        """The script has returned."""
        if self._ended or self._gone:
            return
        if self._has_head and self._left is None and not self._chunked:
            return await self._send_data(b"", end=True)
        await self._gateway.send(rst_stream(self._request.stream, Code.INTERNAL_ERROR))
