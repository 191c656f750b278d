"""A server of which the test decides every byte.

A script is a coroutine function that gets each accepted connection (after its TLS handshake, if there is one):

    async def script(connection):
        request = await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\nok")

The connection is closed when the script returns. The server counts; a test waits for what it counts with `wait_until`,
and a script for the test with a `Gate`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType

from support.certificates import Identity

_PATIENCE = 60.0  # seconds; only a failing test waits that long


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    raw_head: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class Gate:
    """Closed until the test opens it; scripts wait at it."""

    def __init__(self) -> None:
        self._opened = threading.Event()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._lock = threading.Lock()

    def open(self) -> None:
        with self._lock:
            self._opened.set()
            waiting, self._waiting = self._waiting, []
        for loop, event in waiting:
            with contextlib.suppress(RuntimeError):  # that server has been stopped
                loop.call_soon_threadsafe(event.set)

    async def passed(self) -> None:
        event = asyncio.Event()
        with self._lock:
            if self._opened.is_set():
                return
            self._waiting.append((asyncio.get_running_loop(), event))
        await event.wait()


class Connection:
    """One accepted connection; used by its script only."""

    def __init__(
        self, number: int, server: ScriptedServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        #: 1 for the server's first connection, and so on.
        self.number = number
        self._server = server
        self._reader = reader
        self._writer = writer

    async def request(self) -> Request:
        """The next request with its whole body. Raises IncompleteReadError when the client has closed."""
        head = await self.request_head()
        body = await self._body(head)
        request = Request(head.method, head.target, head.headers, body, head.raw_head)
        self._server._saw(request)
        return request

    async def request_head(self) -> Request:
        raw = await self._reader.readuntil(b"\r\n\r\n")
        lines = raw[:-4].decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        pairs = [line.split(":", 1) for line in lines[1:]]
        return Request(method, target, [(name, value.strip()) for name, value in pairs], b"", raw)

    async def _body(self, head: Request) -> bytes:
        if (head.header("transfer-encoding") or "").lower() != "chunked":
            return await self._reader.readexactly(int(head.header("content-length") or 0))
        pieces = []
        while True:
            size = int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16)
            pieces.append((await self._reader.readexactly(size + 2))[:-2])
            if size == 0:
                return b"".join(pieces)

    async def receive(self, most: int = 65536) -> bytes:
        return await self._reader.read(most)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def respond(self, body: bytes = b"", status: str = "200 OK", *headers: str) -> None:
        lines = [f"HTTP/1.1 {status}", *headers, f"content-length: {len(body)}"]
        await self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def client_closed(self) -> None:
        """Waits until the client closes, by FIN or reset."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(65536):
                pass

    def hang_up(self) -> None:
        """Closes the socket at once. (Otherwise asyncio says TLS's goodbye, and waits for the client's.)"""
        self._writer.transport.abort()

    def pause(self) -> None:
        """Stops reading the socket, so the kernel's buffers fill."""
        transport = self._writer.transport
        assert isinstance(transport, asyncio.ReadTransport)
        transport.pause_reading()

    def reset(self) -> None:
        """Closes with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    @property
    def tls(self) -> ssl.SSLObject:
        found: ssl.SSLObject = self._writer.get_extra_info("ssl_object")
        return found

    @property
    def socket(self) -> socket.socket:
        found: socket.socket = self._writer.get_extra_info("socket")
        return found


Script = Callable[[Connection], Awaitable[None]]


@dataclass
class Counts:
    """What the server saw. `open` counts connections whose script runs."""

    connections: int = 0
    open: int = 0
    most_open: int = 0
    requests: list[Request] = field(default_factory=list)
    failed_handshakes: int = 0


class ScriptedServer:
    """Runs its own event loop in its own thread from `with` to its end."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | Identity | None = None, backlog: int = 512) -> None:
        self._script = script
        self._tls = server_context(tls) if isinstance(tls, Identity) else tls
        self._backlog = backlog
        self._changed = threading.Condition()
        self.counts = Counts()  # guarded by _changed
        #: What a script raised, other than for a client that went away.
        self.errors: list[BaseException] = []
        self.host = "127.0.0.1"
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scripted server", daemon=True)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    def wait_until(self, reached: Callable[[Counts], bool], what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: reached(self.counts), _PATIENCE):
                raise AssertionError(f"the server never saw {what}: {self.counts}")

    @property
    def requests(self) -> list[Request]:
        with self._changed:
            return list(self.counts.requests)

    @property
    def connections(self) -> int:
        with self._changed:
            return self.counts.connections

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        if not self._ready.wait(_PATIENCE):
            raise RuntimeError("the scripted server did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_PATIENCE)
        if kind is None and self.errors:
            raise self.errors[0]

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.set_exception_handler(self._unhandled)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        # asyncio reports failed handshakes here and nowhere else.
        if isinstance(context.get("exception"), (ssl.SSLError, ConnectionError)):
            with self._note() as counts:
                counts.failed_handshakes += 1

    async def _serve(self) -> None:
        tasks: set[asyncio.Task[None]] = set()

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self._stop.is_set():  # no caller waits for its end any more
                writer.transport.abort()
                return
            task = self._loop.create_task(self._converse(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(accepted, self.host, 0, ssl=self._tls, backlog=self._backlog, limit=2**20)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._note() as counts:
            counts.connections += 1
            counts.open += 1
            counts.most_open = max(counts.most_open, counts.open)
            number = counts.connections
        try:
            await self._script(Connection(number, self, reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        except Exception as error:
            self.errors.append(error)
        finally:
            writer.close()
            try:
                await asyncio.sleep(0)  # asyncio closes the socket in the loop's next turn
            finally:
                with self._note() as counts:
                    counts.open -= 1

    def _saw(self, request: Request) -> None:
        with self._note() as counts:
            counts.requests.append(request)

    @contextlib.contextmanager
    def _note(self) -> Iterator[Counts]:
        with self._changed:
            yield self.counts
            self._changed.notify_all()


def server_context(identity: Identity) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate, identity.key)
    return context


def until(reached: Callable[[], bool]) -> None:
    """Waits for an effect of the pool's background work."""
    end = time.monotonic() + _PATIENCE
    while not reached():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


async def serve_ok(connection: Connection) -> None:
    """A script: answers every request with its own request line."""
    while True:
        request = await connection.request()
        await connection.respond(f"{request.method} {request.target}".encode())


class Crowd:
    """A script that answers only once `size` requests are in hand, so that they must all be open at once."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._in_hand = 0
        self._gate = Gate()

    async def __call__(self, connection: Connection) -> None:
        while True:
            request = await connection.request()
            self._in_hand += 1  # scripts run on the server's one thread
            if self._in_hand == self._size:
                self._in_hand = 0
                gate, self._gate = self._gate, Gate()
                gate.open()
            else:
                await self._gate.passed()
            await connection.respond(request.target.encode())
