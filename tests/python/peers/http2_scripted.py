"""HTTP/2 frame by frame: a scripted server (scripted.py) of which the test decides every frame.

    async def script(connection):
        peer = await Http2Peer.begin(connection)
        request = await peer.request()
        await peer.respond(request, b"ok")

Frames are built and read here, not by the h2 package, which would refuse to build most of those that the tests need.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

import hpack

from support.certificates import Identity

from .scripted import Connection, Request, server_context

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: A stream's and the connection's window before SETTINGS and WINDOW_UPDATE change it.
FIRST_WINDOW = 65_535


class Type(IntEnum):
    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Flag(IntFlag):
    NONE = 0
    END_STREAM = 1
    ACK = 1
    END_HEADERS = 4
    PADDED = 8
    PRIORITY = 32


class Setting(IntEnum):
    HEADER_TABLE_SIZE = 1
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5


class Code(IntEnum):
    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    REFUSED_STREAM = 7
    CANCEL = 8
    ENHANCE_YOUR_CALM = 11


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literals(*fields: tuple[str, str]) -> bytes:
    """A header block that neither needs nor changes the dynamic table, and is not checked: "literal, never indexed"."""
    return b"".join(b"\x10" + _text(name) + _text(value) for name, value in fields)


def _text(text: str) -> bytes:
    data = text.encode("latin-1")
    size = len(data)
    if size < 127:
        return bytes([size]) + data
    size -= 127
    prefix = b"\x7f"
    while size >= 128:
        prefix += bytes([size % 128 + 128])
        size //= 128
    return prefix + bytes([size]) + data


def headers(stream: int, *fields: tuple[str, str], end: bool = False) -> bytes:
    flags = Flag.END_HEADERS | (Flag.END_STREAM if end else Flag.NONE)
    return frame(Type.HEADERS, flags, stream, literals(*fields))


def data(stream: int, payload: bytes = b"", *, end: bool = False) -> bytes:
    return frame(Type.DATA, Flag.END_STREAM if end else 0, stream, payload)


def settings(values: dict[int, int]) -> bytes:
    return frame(Type.SETTINGS, payload=b"".join(struct.pack(">HI", name, value) for name, value in values.items()))


def window_update(stream: int, increment: int) -> bytes:
    return frame(Type.WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def rst_stream(stream: int, code: int) -> bytes:
    return frame(Type.RST_STREAM, 0, stream, struct.pack(">I", code))


def ping(payload: bytes = b"12345678") -> bytes:
    return frame(Type.PING, payload=payload)


def goaway(last: int, code: int = Code.NO_ERROR, text: bytes = b"") -> bytes:
    return frame(Type.GOAWAY, payload=struct.pack(">II", last, code) + text)


@dataclass(frozen=True)
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def number(self) -> int:
        """The error code of RST_STREAM, the increment of WINDOW_UPDATE."""
        found: int = struct.unpack(">I", self.payload[:4])[0]
        return found


@dataclass
class Http2Request:
    """One stream's request as far as it is there."""

    stream: int
    fields: list[tuple[str, str]]
    body: bytearray = field(default_factory=bytearray)
    complete: bool = False

    def field(self, name: str) -> str:
        return next((value for key, value in self.fields if key == name), "")

    @property
    def path(self) -> str:
        return self.field(":path")


class ClientLeft(ConnectionError):
    """The client closed the connection. Scripts end with it."""


class Http2Peer:
    """The server's side of one connection; used by its script only."""

    def __init__(self, connection: Connection, *, credit: bool) -> None:
        self._connection = connection
        #: Whether received DATA is given back as window.
        self.credit = credit
        self._buffer = b""
        self._decoder = hpack.Decoder()
        self._heads: list[Http2Request] = []
        self.streams: dict[int, Http2Request] = {}
        #: The codes of the client's RST_STREAM, by stream, and of its GOAWAY.
        self.resets: dict[int, int] = {}
        self.goaway_code: int | None = None
        self.settings: dict[int, int] = {}
        #: The payloads of the client's answers to PING.
        self.pongs: list[bytes] = []
        self.settings_acks = 0
        #: Window that the client gave by WINDOW_UPDATE, and that DATA used up: by stream, 0 for the connection.
        self._granted: dict[int, int] = {}
        self._spent: dict[int, int] = {}

    @classmethod
    async def begin(
        cls, connection: Connection, values: dict[int, int] | None = None, *, credit: bool = True, more: bytes = b""
    ) -> Http2Peer:
        """Sends SETTINGS and `more`, and reads the client's preface. `credit`: whether received DATA is given back as
        window."""
        peer = cls(connection, credit=credit)
        await peer.send(settings(values or {}), more)
        if await peer._bytes(len(PREFACE)) != PREFACE:
            raise AssertionError("the client does not speak HTTP/2")
        return peer

    async def send(self, *frames: bytes) -> None:
        try:
            await self._connection.send(b"".join(frames))
        except ConnectionError:
            raise ClientLeft from None

    async def frame(self) -> Frame:
        """The client's next frame, of which the usual account was taken: SETTINGS and PING answered, requests put
        together."""
        head = await self._bytes(9)
        size = int.from_bytes(head[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        found = Frame(kind, flags, stream & 0x7FFFFFFF, await self._bytes(size))
        await self._account(found)
        return found

    async def head(self) -> Http2Request:
        """The next request, as soon as its header block is there."""
        while not self._heads:
            await self.frame()
        return self._heads.pop(0)

    async def request(self) -> Http2Request:
        """The next request, once all of it is there."""
        request = await self.head()
        return await self.rest_of(request)

    async def rest_of(self, request: Http2Request) -> Http2Request:
        while not request.complete and request.stream not in self.resets:
            await self.frame()
        return request

    async def respond(
        self, request: Http2Request, body: bytes = b"", *fields: tuple[str, str], status: int = 200
    ) -> None:
        head = headers(request.stream, (":status", str(status)), *fields, end=not body)
        await self.send(head, data(request.stream, body, end=True) if body else b"")

    async def send_data(self, request: Http2Request, payload: bytes, *, padding: int = 0, end: bool = False) -> None:
        """One DATA frame, once the client's windows have room for it; `padding` bytes go with it."""
        size = len(payload) + (1 + padding if padding else 0)
        while self.room(request.stream) < size:
            await self.frame()
        for stream in (0, request.stream):
            self._spent[stream] = self._spent.get(stream, 0) + size
        flags = (Flag.END_STREAM if end else Flag.NONE) | (Flag.PADDED if padding else Flag.NONE)
        padded = bytes([padding]) + payload + bytes(padding) if padding else payload
        await self.send(frame(Type.DATA, flags, request.stream, padded))

    def room(self, stream: int) -> int:
        """How much DATA the client allows now."""
        first = {0: FIRST_WINDOW, stream: self.settings.get(Setting.INITIAL_WINDOW_SIZE, FIRST_WINDOW)}
        return min(first[each] + self._granted.get(each, 0) - self._spent.get(each, 0) for each in first)

    async def serve(self) -> None:
        """Answers every further request with its own path and body."""
        while True:
            request = await self.request()
            self.processed(request)
            await self.respond(request, answer_to(request.path, bytes(request.body)))

    def processed(self, request: Http2Request) -> None:
        """Counts the request among the server's `requests`."""
        seen = Request(request.field(":method"), request.path, request.fields, bytes(request.body), b"")
        self._connection._server._saw(seen)

    async def round_trip(self) -> None:
        """Sends a PING and reads until the client has answered it."""
        expected = len(self.pongs) + 1
        await self.send(ping())
        while len(self.pongs) < expected:
            await self.frame()

    async def client_closed(self) -> None:
        """Reads frames until the client has closed."""
        with contextlib.suppress(ClientLeft):
            while True:
                await self.frame()

    async def _account(self, found: Frame) -> None:
        if found.kind == Type.SETTINGS:
            if found.flags & Flag.ACK:
                self.settings_acks += 1
            else:
                pairs = struct.iter_unpack(">HI", found.payload)
                self.settings.update(dict(pairs))  # type: ignore[arg-type]
                await self.send(frame(Type.SETTINGS, Flag.ACK))
        elif found.kind == Type.PING:
            if found.flags & Flag.ACK:
                self.pongs.append(found.payload)
            else:
                await self.send(frame(Type.PING, Flag.ACK, payload=found.payload))
        elif found.kind == Type.HEADERS:
            await self._begun(found)
        elif found.kind == Type.DATA:
            await self._received(found)
        elif found.kind == Type.WINDOW_UPDATE:
            self._granted[found.stream] = self._granted.get(found.stream, 0) + found.number
        elif found.kind == Type.RST_STREAM:
            self.resets[found.stream] = found.number
        elif found.kind == Type.GOAWAY:
            self.goaway_code = struct.unpack(">II", found.payload[:8])[1]

    async def _begun(self, found: Frame) -> None:
        block, last = found.payload, found.flags & Flag.END_HEADERS
        if found.flags & Flag.PADDED:
            block = block[1 : len(block) - block[0]]
        if found.flags & Flag.PRIORITY:
            block = block[5:]
        while not last:
            more = await self.frame()
            assert more.kind == Type.CONTINUATION
            block, last = block + more.payload, more.flags & Flag.END_HEADERS
        fields = [(name, value) for name, value in self._decoder.decode(block)]
        request = Http2Request(found.stream, fields, complete=bool(found.flags & Flag.END_STREAM))
        self.streams[found.stream] = request
        self._heads.append(request)

    async def _received(self, found: Frame) -> None:
        request = self.streams[found.stream]
        padded = found.flags & Flag.PADDED
        request.body += found.payload[1 : len(found.payload) - found.payload[0]] if padded else found.payload
        request.complete = bool(found.flags & Flag.END_STREAM)
        if self.credit and found.payload:
            each = [window_update(0, len(found.payload))]
            if not request.complete:
                each.append(window_update(found.stream, len(found.payload)))
            await self.send(*each)

    async def _bytes(self, size: int) -> bytes:
        while len(self._buffer) < size:
            try:
                piece = await self._connection.receive()
            except (ConnectionError, ssl.SSLError):
                piece = b""
            if not piece:
                raise ClientLeft
            self._buffer += piece
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken


def answer_to(path: str, body: bytes = b"") -> bytes:
    """What `Http2Peer.serve` answers: no two requests of a test have the same."""
    return b"answer to " + path.encode() + b" " + body


def http2_context(identity: Identity) -> ssl.SSLContext:
    context = server_context(identity)
    context.set_alpn_protocols(["h2"])
    return context


async def serve_http2(connection: Connection) -> None:
    """A script: serves HTTP/2 as it ought to be."""
    with contextlib.suppress(ClientLeft, asyncio.IncompleteReadError):
        peer = await Http2Peer.begin(connection, {Setting.MAX_CONCURRENT_STREAMS: 100})
        await peer.serve()
