"""Bodies of responses: as they arrive, no faster than they are read, and what happens to the connection when the caller
stops halfway."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable
from socket import SO_RCVBUF, SO_SNDBUF, SOL_SOCKET

import anyio
import httpx
import pytest

from async_transport.conftest import STOCK, MakeAsyncClient, leases
from peers.asgi import AsgiServer
from peers.nginx import BIG_FILE_BYTES, Nginx
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok
from support.backends import until
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]
MIB = 1024 * 1024
SMALL = 64 * 1024  # bytes; what the tests ask for as a socket's buffer

#: Response heads for a body of SSE events.
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_response_streams_as_it_arrives(
    async_client: httpx.AsyncClient, serve: Serve, certificates: Certificates, tls: bool
) -> None:
    gates = [Gate() for _ in range(4)]

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(CHUNKED)
        for number, gate in enumerate(gates):
            await gate.passed()
            await connection.send(_chunk(b"data%d" % number))
        await connection.send(b"0\r\n\r\n")

    server = serve(script, tls=certificates.server if tls else None)
    async with async_client.stream("GET", server.url) as response:
        seen = []
        gates[0].open()
        async for piece in response.aiter_raw():
            seen.append(piece)
            if len(seen) < len(gates):
                gates[len(seen)].open()
    assert seen == [b"data0", b"data1", b"data2", b"data3"]


@pytest.mark.skipif(STOCK, reason="case: httpx hands over each chunk for itself")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_chunks_that_arrived_together_are_returned_together(
    async_client: httpx.AsyncClient, serve: Serve, certificates: Certificates, tls: bool
) -> None:
    events = [b"data: event number %d\n\n" % number for number in range(100)]

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(CHUNKED + b"".join(_chunk(event) for event in events) + b"0\r\n\r\n")

    server = serve(script, tls=certificates.server if tls else None)
    async with async_client.stream("GET", server.url) as response:
        pieces = [piece async for piece in response.aiter_raw()]
    assert pieces == [b"".join(events)]


async def test_lines_and_text_are_whole_wherever_the_chunks_end(async_client: httpx.AsyncClient, serve: Serve) -> None:
    text = "data: gr\u00fc\u00dfe\n\ndata: \u4f60\u597d\n\n"

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(CHUNKED.replace(b"event-stream", b"event-stream; charset=utf-8"))
        for byte in text.encode():
            await connection.send(_chunk(bytes([byte])))
        await connection.send(b"0\r\n\r\n")

    async with async_client.stream("GET", serve(script).url) as response:
        assert [line async for line in response.aiter_lines()] == text.splitlines()


class Flood:
    """A script that sends as much as the client takes, and counts it."""

    def __init__(self, size: int) -> None:
        self._size = size
        #: Bytes that the kernel has taken from the server.
        self.sent = 0

    async def __call__(self, connection: Connection) -> None:
        await connection.request()
        connection.socket.setsockopt(SOL_SOCKET, SO_SNDBUF, SMALL)
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % self._size)
        writer = connection._writer
        piece = b"x" * SMALL
        for given in range(len(piece), self._size + 1, len(piece)):
            await connection.send(piece)
            self.sent = given - writer.transport.get_write_buffer_size()
        await connection.client_closed()


async def _stands_still(count: Callable[[], int]) -> int:
    """What it counts once it counts no further for 50 ms in which the loop turns. A machine so slow that this is too
    early can only hide a fault, not make one up."""
    last, since = -1, anyio.current_time()
    while anyio.current_time() - since < 0.05:
        if count() != last:
            last, since = count(), anyio.current_time()
        await anyio.sleep(0.001)
    return last


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_server_can_send_only_so_much_ahead_of_the_reader(
    make_async_client: MakeAsyncClient, serve: Serve, certificates: Certificates, tls: bool
) -> None:
    size, bound = 32 * MIB, 2 * MIB
    flood = Flood(size)
    client = make_async_client(socket_options=[(SOL_SOCKET, SO_RCVBUF, SMALL)])
    server = serve(flood, tls=certificates.server if tls else None)
    async with client.stream("GET", server.url) as response:
        assert await _stands_still(lambda: flood.sent) < bound
        pieces = response.aiter_raw()
        read = 0
        for _ in range(5):
            read += len(await anext(pieces))
            assert await _stands_still(lambda: flood.sent) < read + bound
        async for piece in pieces:  # and now it continues to the end
            read += len(piece)
    assert read == size


async def test_a_reader_that_pauses_again_and_again_gets_every_byte(
    async_client: httpx.AsyncClient, nginx: Nginx
) -> None:
    read = 0
    async with async_client.stream("GET", f"{nginx.urls.tls13}/files/big") as response:
        async for piece in response.aiter_raw():
            read += len(piece)
            if read % 7 == 0:
                await anyio.sleep(0)
    assert read == BIG_FILE_BYTES


async def test_a_waiting_reader_does_not_block_others(
    make_async_client: MakeAsyncClient, serve: Serve, nginx: Nginx
) -> None:
    client = make_async_client(socket_options=[(SOL_SOCKET, SO_RCVBUF, SMALL)])
    async with client.stream("GET", serve(Flood(8 * MIB)).url) as response:
        for number in range(50):
            assert (await client.get(f"{nginx.urls.plain}/{number}")).text == f"GET /{number}"
        assert len(await response.aread()) == 8 * MIB


async def test_many_streams_at_once_are_each_whole(async_client: httpx.AsyncClient, asgi: AsgiServer) -> None:
    sizes: dict[int, int] = {}

    async def read(number: int) -> None:
        async with async_client.stream("GET", f"{asgi.url}/bytes/{100_000 + number}") as response:
            sizes[number] = sum([len(piece) async for piece in response.aiter_bytes()])

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(read, number)
    assert sizes == {number: 100_000 + number for number in range(20)}


async def test_a_stream_read_to_its_end_returns_the_connection(
    async_client: httpx.AsyncClient, asgi: AsgiServer
) -> None:
    ports = set()
    for _ in range(3):
        async with async_client.stream("GET", f"{asgi.url}/bytes/300000") as response:
            ports.add(response.extensions["network_stream"].get_extra_info("client_addr"))
            assert sum([len(piece) async for piece in response.aiter_bytes()]) == 300_000
            assert leases(async_client) == 0, "returned only when the response is closed, not when it has been read"
    assert len(ports) == 1


async def test_a_stream_left_early_closes_its_connection_and_the_next_request_gets_its_own_answer(
    async_client: httpx.AsyncClient, serve: Serve
) -> None:
    server = serve(_long_or_mine)
    async with async_client.stream("GET", f"{server.url}/long") as response:
        await anext(response.aiter_raw())
    assert leases(async_client) == 0
    await until(lambda: server.counts.open == 0, "the client close")
    assert (await async_client.get(f"{server.url}/short")).text == "mine"
    assert server.connections == 2


async def _long_or_mine(connection: Connection) -> None:
    request = await connection.request()
    if request.target == "/long":
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 500_000)
        await connection.client_closed()
    else:
        await connection.respond(b"mine")


@pytest.mark.skipif(STOCK, reason="case: httpx closes a connection whose response was not read")
async def test_a_short_unread_rest_that_has_arrived_does_not_cost_the_connection(
    async_client: httpx.AsyncClient, serve: Serve
) -> None:
    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.respond(b"x" * 5000)

    server = serve(script)
    for _ in range(3):
        async with async_client.stream("GET", server.url) as response:
            assert response.status_code == 200
    assert server.connections == 1


@pytest.mark.skipif(STOCK, reason="case: httpx keeps the connection of a dropped response until its pool is closed")
async def test_a_response_that_is_dropped_unread_closes_its_connection(
    make_async_client: MakeAsyncClient, serve: Serve
) -> None:
    client = make_async_client(limits=httpx.Limits(max_connections=1))
    server = serve(_long_or_mine)
    response = await client.send(client.build_request("GET", f"{server.url}/long"), stream=True)
    assert response.status_code == 200
    assert leases(client) == 1
    del response
    gc.collect()
    assert leases(client) == 0
    await until(lambda: server.counts.open == 0, "the client close")
    assert (await client.get(f"{server.url}/short")).text == "mine"


@pytest.mark.skipif(STOCK, reason="case: httpx keeps the connection of a dropped response until its pool is closed")
async def test_an_iteration_that_is_dropped_closes_its_connection(
    make_async_client: MakeAsyncClient, serve: Serve
) -> None:
    client = make_async_client(limits=httpx.Limits(max_connections=1))
    server = serve(_long_or_mine)
    response = await client.send(client.build_request("GET", f"{server.url}/long"), stream=True)
    pieces = response.aiter_raw()
    assert await anext(pieces)
    del response, pieces
    # httpx's response and its stream hold each other: once the loop has ended the iteration, they go with a collection.
    await until(lambda: gc.collect() >= 0 and leases(client) == 0, "the end of the lease")
    await until(lambda: server.counts.open == 0, "the client close")
    assert (await client.get(f"{server.url}/short")).text == "mine"


async def test_an_iteration_that_is_closed_closes_the_connection(async_client: httpx.AsyncClient, serve: Serve) -> None:
    server = serve(_long_or_mine)
    response = await async_client.send(async_client.build_request("GET", f"{server.url}/long"), stream=True)
    pieces: AsyncIterator[bytes] = response.aiter_raw()
    assert await anext(pieces)
    await pieces.aclose()  # type: ignore[attr-defined]
    await response.aclose()
    await until(lambda: server.counts.open == 0, "the client close")


async def test_a_response_may_be_closed_again_and_again(async_client: httpx.AsyncClient, serve: Serve) -> None:
    server = serve(serve_ok)
    response = await async_client.send(async_client.build_request("GET", server.url), stream=True)
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    for _ in range(3):
        await response.aclose()
        await stream.aclose()
    assert leases(async_client) == 0
    with pytest.raises(httpx.StreamClosed):
        await response.aread()
