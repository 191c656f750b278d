"""The places where an async request can wait. Each wait lasts for ever, so that a test can end the request there."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import httpx

from peers.scripted import Connection, Gate, ScriptedServer
from support.certificates import Certificates
from support.sockets import SYN_SENT, sockets_to

PIECE = b"x" * 65536


@dataclass
class Wait:
    """A request that waits at one place."""

    server: ScriptedServer
    #: Makes the request with this client; never comes back by itself.
    request: Callable[[httpx.AsyncClient], Awaitable[None]]
    #: Whether the request waits where it shall.
    reached: Callable[[], bool]
    #: Lets the server's side continue.
    end: Callable[[], None]
    #: Whether bytes of the request were sent, so that its connection must not be used again.
    sent: bool = True
    pieces: list[bytes] = field(default_factory=list)
    #: What the server had seen when the last request began: connections, requests.
    before: tuple[int, int] = (0, 0)
    #: The numbers of the connections that carried a request to wait for, and of the last that carried /next.
    carried: set[int] = field(default_factory=set)
    next_on: int = 0

    def __call__(self, client: httpx.AsyncClient) -> Awaitable[None]:
        self.pieces.clear()
        self.before = (self.server.connections, len(self.server.requests))
        return self.request(client)


#: Those in which a connection has been made; each "plain" and "tls".
WAITS_ON_A_CONNECTION = ("write", "write of an iterator", "head", "body")
WAITS = (
    "handshake",
    *(f"{name}, {how}" for name in WAITS_ON_A_CONNECTION for how in ("plain", "tls")),
)


@contextmanager
def a_wait(name: str, certificates: Certificates) -> Iterator[Wait]:
    """One of WAITS, at a server of its own, which answers every other request that ends in /next."""
    place, _, how = name.partition(", ")
    end = Gate()

    async def script(connection: Connection) -> None:
        if place == "handshake":
            await end.passed()
            return
        head = await connection.request_head()
        if head.target == "/next":
            wait.next_on = connection.number
            await connection.respond(b"next")
            await connection.client_closed()
            return
        wait.carried.add(connection.number)
        if place.startswith("write"):
            connection.pause()
            await end.passed()
            connection.hang_up()
        else:
            connection._server._saw(head)
            if place == "body":
                await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
            await connection.client_closed()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield PIECE

    async def request(client: httpx.AsyncClient) -> None:
        url = server.url.replace("http:", "https:") if place == "handshake" else server.url
        if place == "write":
            await client.post(url, content=PIECE * 512)
        elif place == "write of an iterator":
            await client.post(url, content=endless())
        elif place == "body":
            async with client.stream("GET", url) as response:
                async for piece in response.aiter_raw():
                    wait.pieces.append(piece)
        else:
            await client.get(url)
        raise AssertionError(f"the request was to wait: {name}")

    def reached() -> bool:
        if place == "handshake":  # which continues when its request is cancelled
            return server.counts.open > 0
        connections, requests = wait.before
        if place.startswith("write"):
            mine = [one for one in sockets_to(server.port) if one.inode]
            # More than a handshake leaves unacknowledged: that much only a request that is stuck has written.
            return server.connections > connections and any(one.unsent > 2**16 for one in mine)
        if place == "head":
            return len(server.requests) > requests
        return wait.pieces == [b"half"]

    with ScriptedServer(script, tls=certificates.server if how == "tls" else None) as server:
        wait = Wait(server, request, reached, end.open, sent=place != "handshake")
        try:
            yield wait
        finally:
            end.open()


@contextmanager
def an_address_that_does_not_answer() -> Iterator[tuple[str, Callable[[], bool]]]:
    """Its URL, and whether a client is connecting to it: the kernel drops what does not fit into a listener's queue."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = listener.getsockname()[1]
        for _ in range(4):
            one = sockets.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))

        def connecting() -> int:
            return sum(1 for found in sockets_to(port) if found.state == SYN_SENT)

        before = connecting()
        yield f"http://127.0.0.1:{port}", lambda: connecting() > before
