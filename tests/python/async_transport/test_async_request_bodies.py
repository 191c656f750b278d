"""Bodies of requests that come from async iterators: sent only as fast, and only as long, as the server reads."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from io import BytesIO
from socket import SO_RCVBUF, SO_SNDBUF, SOL_SOCKET

import anyio
import httpx
import pytest

from async_transport.conftest import STOCK, MakeAsyncClient, leases
from peers.asgi import AsgiServer
from peers.nginx import Nginx
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok
from support.backends import until
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]
PIECE = b"x" * 65536


async def _pieces() -> AsyncIterator[bytes]:
    yield b"one "
    yield b""
    await anyio.sleep(0)
    yield b"two "
    yield b"three"


async def _endless() -> AsyncIterator[bytes]:
    while True:
        yield PIECE


@pytest.mark.parametrize("length", [None, "13"], ids=["chunked", "content-length"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_an_iterator_is_sent_with_the_framing_of_the_headers(
    async_client: httpx.AsyncClient, serve: Serve, certificates: Certificates, length: str | None, tls: bool
) -> None:
    server = serve(serve_ok, tls=certificates.server if tls else None)
    for _ in range(2):
        await async_client.post(server.url, content=_pieces(), headers={"content-length": length} if length else {})
    for request in server.requests:
        assert request.header("transfer-encoding") == (None if length else "chunked")
        assert request.body == b"one two three"
    assert server.connections == 1


async def test_an_empty_iterator_is_an_empty_body(async_client: httpx.AsyncClient, serve: Serve) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        return
        yield b""

    server = serve(serve_ok)
    await async_client.post(server.url, content=nothing())
    assert server.requests[0].body == b""


async def test_each_piece_is_sent_before_the_next_is_requested(async_client: httpx.AsyncClient, serve: Serve) -> None:
    arrived: list[bytes] = []

    async def script(connection: Connection) -> None:
        await connection.request_head()
        while b"".join(arrived)[-5:] != b"0\r\n\r\n":
            arrived.append(await connection.receive())
        await connection.respond(b"all of it")

    async def body() -> AsyncIterator[bytes]:
        for piece in (b"first", b"second"):
            yield piece
            await until(lambda: piece in b"".join(arrived), "the piece arrive")  # noqa: B023

    server = serve(script)
    assert (await async_client.post(server.url, content=body())).text == "all of it"


async def test_files_and_forms_go_out(async_client: httpx.AsyncClient, asgi: AsgiServer) -> None:
    files = {"file": ("name", BytesIO(b"x" * 200_000))}
    response = await async_client.post(f"{asgi.url}/digest", files=files, data={"a": "b"})
    assert response.json()["length"] > 200_000


async def test_every_byte_of_a_large_body_arrives(
    async_client: httpx.AsyncClient, asgi_tls: AsgiServer, nginx: Nginx
) -> None:
    body = bytes(range(256)) * 40_000

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 100_001):
            yield body[start : start + 100_001]

    for content in (body, pieces()):
        answer = (await async_client.post(f"{asgi_tls.url}/digest", content=content)).json()
        assert answer == {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    assert (await async_client.put(f"{nginx.urls.tls13}/uploads/async", content=pieces())).status_code in (201, 204)
    assert nginx.uploaded("async").read_bytes() == body


async def test_no_more_pieces_are_requested_than_the_server_reads(
    make_async_client: MakeAsyncClient, serve: Serve
) -> None:
    asked = 0
    done = Gate()

    async def script(connection: Connection) -> None:
        connection.socket.setsockopt(SOL_SOCKET, SO_RCVBUF, len(PIECE))
        connection.pause()
        await done.passed()

    async def body() -> AsyncIterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield PIECE

    client = make_async_client(socket_options=[(SOL_SOCKET, SO_SNDBUF, len(PIECE))])
    server = serve(script)
    with pytest.raises(httpx.WriteTimeout):
        await client.post(server.url, content=body(), timeout=httpx.Timeout(None, write=0.1))
    done.open()
    assert asked * len(PIECE) < 8 * 1024 * 1024
    assert leases(client) == 0


@pytest.mark.parametrize("first", [True, False], ids=["at once", "halfway"])
async def test_an_exception_of_the_bodys_iterator_propagates_unchanged(
    async_client: httpx.AsyncClient, serve: Serve, first: bool
) -> None:
    class Broken(Exception):
        pass

    broken = Broken("halfway")

    async def body() -> AsyncIterator[bytes]:
        if not first:
            yield b"some"
            await anyio.sleep(0)
        raise broken

    server = serve(serve_ok)
    with pytest.raises(Broken) as caught:
        await async_client.post(server.url, content=body())
    assert caught.value is broken
    assert leases(async_client) == 0
    # The server never got the whole request, and its connection is not used again.
    assert (await async_client.get(f"{server.url}/next")).text == "GET /next"
    assert [request.target for request in server.requests] == ["/next"]


@pytest.mark.parametrize("error", [TimeoutError("mine"), httpx.ReadTimeout("mine"), OSError(32, "mine")], ids=repr)
async def test_an_error_of_the_body_that_looks_like_a_transport_error_propagates_unchanged(
    async_client: httpx.AsyncClient, serve: Serve, error: Exception
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"some"
        raise error

    with pytest.raises(type(error)) as caught:
        await async_client.post(serve(serve_ok).url, content=body())
    assert caught.value is error


async def test_a_body_that_differs_from_its_content_length_is_refused(
    async_client: httpx.AsyncClient, serve: Serve
) -> None:
    async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    server = serve(serve_ok)
    for content in (b"four", pieces(b"fo", b"ur"), pieces(b"f")):
        with pytest.raises(httpx.LocalProtocolError):
            await async_client.post(server.url, content=content, headers={"content-length": "3"})
    assert (await async_client.get(f"{server.url}/next")).text == "GET /next"


@pytest.mark.parametrize(
    "then", ["closes", pytest.param("drains", marks=pytest.mark.skipif(STOCK, reason="case: see name"))]
)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("form", ["whole", "endless"])
async def test_a_response_before_the_end_of_the_request_body_is_returned(
    async_client: httpx.AsyncClient, serve: Serve, certificates: Certificates, form: str, tls: bool, then: str
) -> None:
    """Stock httpx continues an endless upload for as long as the server reads it."""

    async def script(connection: Connection) -> None:
        await connection.request_head()
        await connection.respond(b"too much", "413 Content Too Large", "connection: close")
        if then == "drains":
            await connection.client_closed()

    server = serve(script, tls=certificates.server if tls else None)
    content = _endless() if form == "endless" else b"x" * 20_000_000
    response = await async_client.post(server.url, content=content)
    assert (response.status_code, response.text) == (413, "too much")
    assert leases(async_client) == 0


async def test_a_connection_whose_request_was_cut_short_by_its_answer_is_not_used_again(
    async_client: httpx.AsyncClient, serve: Serve
) -> None:
    async def script(connection: Connection) -> None:
        head = await connection.request_head()
        if head.method == "POST":  # an answer that would allow another request
            await connection.respond(b"too much", "413 Content Too Large")
            if connection.number == 1:
                connection.pause()  # so that the client notices
                await connection.client_closed()
        await connection.respond(b"mine")

    async def body() -> AsyncIterator[bytes]:
        yield PIECE
        for _ in range(400):
            yield PIECE

    server = serve(script)
    try:
        response = await async_client.post(server.url, content=body(), timeout=httpx.Timeout(20, write=0.5))
        assert response.status_code == 413
    except httpx.WriteTimeout:
        assert STOCK
    assert (await async_client.get(server.url)).text == "mine"
    assert server.connections == 2


async def test_a_sync_iterator_is_refused_with_httpxs_error(async_client: httpx.AsyncClient, serve: Serve) -> None:
    server = serve(serve_ok)
    with pytest.raises(RuntimeError, match="sync request with an AsyncClient"):
        await async_client.post(server.url, content=iter([b"x"]))
    assert server.connections == 0
