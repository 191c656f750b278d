"""Bodies that stream, up and down, and what happens to the connection when the caller stops halfway."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import httpx
import pytest

from peers.asgi import AsgiServer
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]


def _pieces() -> Iterator[bytes]:
    yield b"one "
    yield b""
    yield b"two "
    yield b"three"


def test_an_iterator_goes_out_chunked(client: httpx.Client, serve: Serve) -> None:
    server = serve(serve_ok)
    for _ in range(2):
        client.post(server.url, content=_pieces())
    for request in server.requests:
        assert request.header("transfer-encoding") == "chunked"
        assert request.body == b"one two three"
    assert server.connections == 1


def test_an_iterator_with_a_content_length_goes_out_plain(client: httpx.Client, serve: Serve) -> None:
    server = serve(serve_ok)
    for _ in range(2):
        client.post(server.url, content=_pieces(), headers={"content-length": "13"})
    for request in server.requests:
        assert request.header("transfer-encoding") is None
        assert request.body == b"one two three"
    assert server.connections == 1


def test_an_empty_iterator_is_an_empty_body(client: httpx.Client, serve: Serve) -> None:
    server = serve(serve_ok)
    client.post(server.url, content=iter(()))
    assert server.requests[0].body == b""


def test_files_and_forms_go_out(client: httpx.Client, asgi: AsgiServer) -> None:
    import io

    response = client.post(f"{asgi.url}/digest", files={"file": ("name", io.BytesIO(b"x" * 200_000))}, data={"a": "b"})
    assert response.json()["length"] > 200_000


def test_an_exception_of_the_bodys_iterator_propagates_unchanged(client: httpx.Client, serve: Serve) -> None:
    class Broken(Exception):
        pass

    broken = Broken("halfway")

    def body() -> Iterator[bytes]:
        yield b"some"
        raise broken

    server = serve(serve_ok)
    with pytest.raises(Broken) as caught:
        client.post(server.url, content=body())
    assert caught.value is broken
    # The server never got the whole request, and its connection is not used again.
    assert client.get(f"{server.url}/next").text == "GET /next"
    assert [request.target for request in server.requests] == ["/next"]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("then", ["closes", "reads on"])
@pytest.mark.parametrize("form", ["whole", "endless"])
def test_a_response_before_the_end_of_the_request_body_is_returned(
    client: httpx.Client, serve: Serve, certificates: Certificates, form: str, then: str, tls: bool
) -> None:
    async def script(connection: Connection) -> None:
        await connection.request_head()
        await connection.respond(b"too much", "413 Content Too Large", "connection: close")
        if then == "reads on":
            await connection.client_closed()

    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 65536

    server = serve(script, tls=certificates.server if tls else None)
    response = client.post(server.url, content=endless() if form == "endless" else b"x" * 20_000_000)
    assert (response.status_code, response.text) == (413, "too much")


def test_a_response_streams_as_it_arrives(client: httpx.Client, serve: Serve) -> None:
    gates = [Gate() for _ in range(3)]

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for number, gate in enumerate(gates):
            await gate.passed()
            await connection.send(b"5\r\ndata%d\r\n" % number)
        await connection.send(b"0\r\n\r\n")

    with client.stream("GET", serve(script).url) as response:
        seen = []
        gates[0].open()
        for piece in response.iter_raw():
            seen.append(piece)
            if len(seen) < len(gates):
                gates[len(seen)].open()
    assert seen == [b"data0", b"data1", b"data2"]


def test_a_stream_read_to_its_end_returns_the_connection(client: httpx.Client, asgi: AsgiServer) -> None:
    ports = set()
    for _ in range(3):
        with client.stream("GET", f"{asgi.url}/bytes/300000") as response:
            ports.add(response.extensions["network_stream"].get_extra_info("client_addr"))
            assert sum(map(len, response.iter_bytes())) == 300_000
    assert len(ports) == 1


def test_a_stream_left_early_closes_its_connection_and_the_next_request_gets_its_own_answer(
    client: httpx.Client, serve: Serve
) -> None:
    async def script(connection: Connection) -> None:
        request = await connection.request()
        if request.target == "/long":
            await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 500_000)
            await connection.client_closed()
        else:
            await connection.respond(b"mine")

    server = serve(script)
    with client.stream("GET", f"{server.url}/long") as response:
        next(response.iter_raw())
    server.wait_until(lambda counts: counts.open == 0, "the client close")
    assert client.get(f"{server.url}/short").text == "mine"
    assert server.connections == 2


def test_a_short_unread_rest_that_has_arrived_does_not_cost_the_connection(client: httpx.Client, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.respond(b"x" * 5000)

    server = serve(script)
    for _ in range(3):
        with client.stream("GET", server.url) as response:
            assert response.status_code == 200
    assert server.connections == 1


def test_a_response_that_is_dropped_unread_closes_its_connection(client: httpx.Client, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        await connection.client_closed()

    server = serve(script)
    response = client.send(client.build_request("GET", server.url), stream=True)
    assert response.status_code == 200
    del response
    gc.collect()
    server.wait_until(lambda counts: counts.open == 0, "the client close")


def test_an_iteration_that_is_dropped_closes_the_connection_at_once(client: httpx.Client, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nsome")
        await connection.client_closed()

    server = serve(script)
    response = client.send(client.build_request("GET", server.url), stream=True)
    pieces = response.iter_raw()
    assert next(pieces) == b"some"
    pieces.close()  # type: ignore[attr-defined]
    gc.collect()
    server.wait_until(lambda counts: counts.open == 0, "the client close")
    response.close()


def test_reading_a_closed_response_raises_httpxs_error(client: httpx.Client, serve: Serve) -> None:
    response = client.send(client.build_request("GET", serve(serve_ok).url), stream=True)
    response.close()
    with pytest.raises(httpx.StreamClosed):
        response.read()
