"""Connections that are handed over: after 101 Switching Protocols, or 2xx to CONNECT, `network_stream` reads and writes
what the caller likes, as httpcore's streams do."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import httpcore
import httpx
import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_websockets
from websockets.uri import parse_uri

from blocking_transport.conftest import MakeClient
from fast_litellm import SimpleConnectionPool, accelerate
from peers.scripted import Connection, ScriptedServer
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]

UPGRADE = {"Connection": "Upgrade", "Upgrade": "shout"}
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n"


async def shout(connection: Connection) -> None:
    """Agrees to another protocol, in which it says "hello" first and then everything twice as loud."""
    await connection.request()
    await connection.send(SWITCHING + b"hello")
    while heard := await connection.receive():
        await connection.send(heard.upper())


class Blocking:
    """A network stream of either kind, called from the test's thread."""

    def __init__(self, stream: Any, request: pytest.FixtureRequest) -> None:
        self.stream = stream
        self._call = request.getfixturevalue("portal").call if hasattr(stream, "aclose") else None

    def _do(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self._call(function, *arguments) if self._call else function(*arguments)

    def read(self, most: int = 65536, timeout: float | None = 20) -> bytes:
        data: bytes = self._do(self.stream.read, most, timeout)
        return data

    def read_exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += (piece := self.read(size - len(data)))
            assert piece, f"the end after {len(data)} of {size} bytes"
        return data

    def write(self, data: Any, timeout: float | None = 20) -> None:
        self._do(self.stream.write, data, timeout)

    def close(self) -> None:
        self._do(self.stream.aclose if self._call else self.stream.close)

    def start_tls(self, context: ssl.SSLContext, name: str, request: pytest.FixtureRequest) -> Blocking:
        return Blocking(self._do(self.stream.start_tls, context, name, 20), request)


HandOver = Callable[[httpx.Response], Blocking]


@pytest.fixture
def hand_over(request: pytest.FixtureRequest) -> HandOver:
    return lambda response: Blocking(response.extensions["network_stream"], request)


def test_bytes_that_arrived_with_the_head_are_read_first_and_then_both_sides_talk(
    client: httpx.Client, serve: Serve, hand_over: HandOver
) -> None:
    with client.stream("GET", serve(shout).url, headers=UPGRADE) as response:
        assert response.status_code == 101
        stream = hand_over(response)
        assert stream.read(3) == b"hel"
        assert stream.read() == b"lo"
        for words in (b"one", bytearray(b"two"), memoryview(b"three")):
            stream.write(words)
            assert stream.read_exactly(len(words)) == bytes(words).upper()
        stream.write(b"")


def test_reading_continues_after_a_read_timeout(client: httpx.Client, serve: Serve, hand_over: HandOver) -> None:
    with client.stream("GET", serve(shout).url, headers=UPGRADE) as response:
        stream = hand_over(response)
        assert stream.read_exactly(5) == b"hello"
        assert stream.stream.get_extra_info("is_readable") is False
        for seconds in (0.01, 0, -1):
            with pytest.raises(httpcore.ReadTimeout):
                stream.read(timeout=seconds)
        stream.write(b"more")
        assert stream.read_exactly(4) == b"MORE"


def test_a_peer_that_reads_nothing_causes_a_write_timeout(
    client: httpx.Client, serve: Serve, hand_over: HandOver
) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(SWITCHING)
        connection.pause()
        await connection.client_closed()

    with client.stream("GET", serve(script).url, headers=UPGRADE) as response, pytest.raises(httpcore.WriteTimeout):
        hand_over(response).write(b"x" * (1 << 26), timeout=0.05)


def test_the_peers_end_is_read_as_empty_bytes_and_a_reset_is_an_error(
    client: httpx.Client, serve: Serve, hand_over: HandOver
) -> None:
    async def script(connection: Connection) -> None:
        request = await connection.request()
        await connection.send(SWITCHING)
        if request.target == "/reset":
            await connection.receive()
            connection.reset()

    server = serve(script)
    with client.stream("GET", server.url, headers=UPGRADE) as response:
        stream = hand_over(response)
        assert stream.read() == b""
        assert stream.read() == b""
        assert stream.stream.get_extra_info("is_readable") is True
    with client.stream("GET", f"{server.url}/reset", headers=UPGRADE) as response:
        stream = hand_over(response)
        stream.write(b"x")
        with pytest.raises(httpcore.ReadError):
            stream.read()


@pytest.mark.parametrize("closes", ["stream", "response"])
def test_close_wakes_a_reader_and_the_connection_never_returns_to_the_pool(
    client: httpx.Client, serve: Serve, hand_over: HandOver, closes: str
) -> None:
    server = serve(shout)
    with client.stream("GET", server.url, headers=UPGRADE) as response, ThreadPoolExecutor(1) as executor:
        stream = hand_over(response)
        assert stream.read_exactly(5) == b"hello"
        reading = executor.submit(stream.read)
        stream.write(b"x")
        assert reading.result(20) == b"X"
        reading = executor.submit(stream.read)
        stream.close() if closes == "stream" else response.close()
        with contextlib.suppress(httpcore.ReadError):
            assert reading.result(20) == b""  # the end may be seen before the close
        with pytest.raises(httpcore.ReadError):
            stream.read()
        with pytest.raises(httpcore.WriteError):
            stream.write(b"x")
        stream.close()
    server.wait_until(lambda counts: counts.open == 0, "the client close")
    with client.stream("GET", server.url, headers=UPGRADE):
        pass
    assert server.connections == 2


def test_one_thread_reads_while_another_writes(client: httpx.Client, serve: Serve, hand_over: HandOver) -> None:
    data = bytes(range(256)) * 40_000  # more than the buffers on the way hold
    with client.stream("GET", serve(shout).url, headers=UPGRADE) as response, ThreadPoolExecutor(1) as executor:
        stream = hand_over(response)
        assert stream.read_exactly(5) == b"hello"
        writing = executor.submit(stream.write, data, None)
        assert stream.read_exactly(len(data)) == data.upper()
        writing.result(20)


def test_a_response_that_is_read_whole_has_no_body_and_closes_its_connection(
    client: httpx.Client, serve: Serve
) -> None:
    server = serve(shout)
    response = client.get(server.url, headers=UPGRADE)
    assert (response.status_code, response.content) == (101, b"")
    server.wait_until(lambda counts: counts.open == 0, "the client close")


def test_a_response_that_is_dropped_closes_its_connection(client: httpx.Client, serve: Serve) -> None:
    server = serve(shout)
    request = client.build_request("GET", server.url, headers=UPGRADE)
    client.send(request, stream=True)
    gc.collect()
    server.wait_until(lambda counts: counts.open == 0, "the client close")


def test_switching_without_being_asked_is_refused(client: httpx.Client, serve: Serve) -> None:
    server = serve(shout)
    for headers in ({}, {"Upgrade": ""}):
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(server.url, headers=headers)


def test_a_request_for_another_protocol_may_get_an_ordinary_response(client: httpx.Client, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.respond(b"no")

    server = serve(script)
    for _ in range(2):
        assert client.get(server.url, headers=UPGRADE).text == "no"
    assert server.connections == 1


def test_the_connection_of_an_ordinary_response_belongs_to_the_pool(
    client: httpx.Client, serve: Serve, hand_over: HandOver
) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        await connection.client_closed()

    with client.stream("GET", serve(script).url) as response:
        stream = hand_over(response)
        with pytest.raises(RuntimeError, match="101"):
            stream.read()
        with pytest.raises(RuntimeError, match="101"):
            stream.write(b"x")


def test_a_connection_that_was_handed_over_counts_until_it_is_closed(make_client: MakeClient, serve: Serve) -> None:
    server = serve(shout)
    client = make_client(limits=httpx.Limits(max_connections=1))
    with client.stream("GET", server.url, headers=UPGRADE), pytest.raises(httpx.PoolTimeout):
        client.get(server.url, headers=UPGRADE, timeout=httpx.Timeout(20, pool=0.01))
    assert client.get(server.url, headers=UPGRADE).status_code == 101


def test_accelerated_clients_hand_over_too_and_a_pool_gives_the_head(
    serve: Serve, new_pool: Callable[..., SimpleConnectionPool]
) -> None:
    server = serve(shout)
    with accelerate(httpx.Client(timeout=20)) as client:
        response = client.send(client.build_request("GET", server.url, headers=UPGRADE), stream=True)
        assert response.extensions["network_stream"].read(100, 20) == b"hello"
        response.close()

    async def talk() -> bytes:
        async with accelerate(httpx.AsyncClient(timeout=20)) as client:
            response = await client.send(client.build_request("GET", server.url, headers=UPGRADE), stream=True)
            data: bytes = await response.extensions["network_stream"].read(100, 20)
            await response.aclose()
            return data

    assert asyncio.run(talk()) == b"hello"
    response = new_pool().request(server.url, "GET", "/", headers=UPGRADE)
    assert (response.status_code, response.content) == (101, b"")
    server.wait_until(lambda counts: counts.open == 0, "the clients close")


# Tunnels.


@pytest.fixture
def tunnel(certificates: Certificates, serve: Serve) -> ScriptedServer:
    """A proxy that has one destination: a TLS server, whatever it is asked for."""
    inside = serve(shout_in_tls, tls=certificates.server)

    async def script(connection: Connection) -> None:
        request = await connection.request_head()
        assert request.method == "CONNECT"
        reader, writer = await asyncio.open_connection(inside.host, inside.port)
        await connection.send(b"HTTP/1.1 200 Connection established\r\nContent-Length: 5\r\n\r\n")

        async def back() -> None:
            while data := await reader.read(65536):
                await connection.send(data)

        going_back = asyncio.ensure_future(back())
        try:
            while data := await connection.receive():
                writer.write(data)
                await writer.drain()
        finally:
            going_back.cancel()
            writer.close()

    return serve(script)


async def shout_in_tls(connection: Connection) -> None:
    while heard := await connection.receive():
        await connection.send(heard.upper())


def test_a_tunnel_carries_tls_of_the_callers_own(
    client: httpx.Client,
    tunnel: ScriptedServer,
    certificates: Certificates,
    hand_over: HandOver,
    request: pytest.FixtureRequest,
) -> None:
    context = ssl.create_default_context(cafile=str(certificates.ca_file))
    asked: Any = {"extensions": {"target": "localhost:443"}}
    with client.stream("CONNECT", tunnel.url, **asked) as response:
        assert response.status_code == 200
        stream = hand_over(response).start_tls(context, "localhost", request)
        data = b"secret" * 20_000
        with ThreadPoolExecutor(1) as executor:
            writing = executor.submit(stream.write, data)
            assert stream.read_exactly(len(data)) == data.upper()
            writing.result(20)
        assert stream.stream.get_extra_info("ssl_object").version() == "TLSv1.3"
        with pytest.raises(httpcore.ReadTimeout):
            stream.read(timeout=0.01)
        stream.close()
    with client.stream("CONNECT", tunnel.url, **asked) as response:
        with pytest.raises(httpcore.ConnectError):
            hand_over(response).start_tls(context, "another.name", request)
        with pytest.raises(httpcore.WriteError):
            hand_over(response).write(b"x")


def test_a_tunnel_that_is_refused_is_a_response(client: httpx.Client, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.respond(b"who are you?", "407 Proxy Authentication Required")

    server = serve(script)
    for _ in range(2):
        response = client.request("CONNECT", server.url, extensions={"target": "example.com:443"})
        assert (response.status_code, response.text) == (407, "who are you?")
    assert server.connections == 1


# WebSockets, with a server that others wrote.


@pytest.fixture
def websocket_server(certificates: Certificates, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of one that says everything back."""

    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    context = None
    if request.param != "plain":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.server.certificate, certificates.server.key)
    with serve_websockets(echo, "127.0.0.1", 0, ssl=context, max_size=None, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join(20)


class WebSocket:
    """A client's side over a network stream."""

    HEADERS: ClassVar[dict[str, str]] = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }

    def __init__(self, stream: Blocking) -> None:
        self._stream = stream
        self._protocol = ClientProtocol(parse_uri("ws://localhost/"), state=State.OPEN, max_size=None)
        self._events: list[Any] = []

    def send(self, what: str, data: bytes = b"") -> None:
        {
            "text": self._protocol.send_text,
            "binary": self._protocol.send_binary,
            "ping": self._protocol.send_ping,
            "close": lambda _: self._protocol.send_close(1000),
        }[what](data)
        for piece in self._protocol.data_to_send():
            if piece:
                self._stream.write(piece)

    def next_frame(self) -> Frame:
        while not self._events:
            data = self._stream.read(4096)
            assert data, "the end of the stream"
            self._protocol.receive_data(data)
            self._events += self._protocol.events_received()
        frame: Frame = self._events.pop(0)
        return frame


@pytest.mark.parametrize("websocket_server", ["plain", "tls", "context"], indirect=True)
def test_a_websocket_works_until_its_close(
    make_client: MakeClient,
    certificates: Certificates,
    websocket_server: str,
    hand_over: HandOver,
    request: pytest.FixtureRequest,
) -> None:
    """`tls`: the pool's engine; `context`: that of an `ssl.SSLContext`."""
    arguments: Any = {}
    if request.node.callspec.params["websocket_server"] == "context":
        arguments["verify"] = ssl.create_default_context(cafile=str(certificates.ca_file))
    client = make_client(**arguments)
    for _ in range(2):
        with client.stream("GET", websocket_server, headers=WebSocket.HEADERS) as response:
            assert response.status_code == 101
            socket_ = WebSocket(hand_over(response))
            socket_.send("text", b"hello")
            assert (frame := socket_.next_frame()).opcode is Opcode.TEXT
            assert bytes(frame.data) == b"hello"
            large = bytes(range(256)) * 4096
            with ThreadPoolExecutor(1) as executor:  # more than the buffers on the way hold
                sending = executor.submit(socket_.send, "binary", large)
                assert bytes(socket_.next_frame().data) == large
                sending.result(20)
            socket_.send("ping", b"there?")
            assert (frame := socket_.next_frame()).opcode is Opcode.PONG
            assert bytes(frame.data) == b"there?"
            socket_.send("close")
            assert socket_.next_frame().opcode is Opcode.CLOSE


def test_a_stream_leaves_no_descriptor_open(client: httpx.Client, serve: Serve, hand_over: HandOver) -> None:
    server = serve(shout)
    with client.stream("GET", server.url, headers=UPGRADE) as response:
        stream = hand_over(response)
        assert stream.read_exactly(5) == b"hello"
        with pytest.raises(httpcore.ReadTimeout):
            stream.read(timeout=0.01)  # it has waited, so it has a descriptor to wait with
        waited_with = stream.stream._socket
        assert waited_with.fileno() >= 0
    del response, stream
    gc.collect()
    assert waited_with.fileno() == -1
