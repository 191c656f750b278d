"""Connections are reused, as the server counts them, unless reuse would be wrong."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from blocking_transport.conftest import MakeClient
from fast_litellm import SimpleConnectionPool
from peers.nginx import SHORT_LIFE, Nginx
from peers.scripted import Connection, Gate, ScriptedServer, until
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]


@pytest.mark.parametrize("url", ["plain", "tls13", "tls12"])
def test_a_hundred_requests_take_one_connection(client: httpx.Client, nginx: Nginx, url: str) -> None:
    before = nginx.accepted()
    target = getattr(nginx.urls, url)
    counts = [client.get(target).headers["x-connection-requests"] for _ in range(100)]
    assert counts == [str(number) for number in range(1, 101)]
    assert nginx.accepted() - before == 1


def test_transports_on_one_pool_share_connections(
    make_client: MakeClient, nginx: Nginx, new_pool: Callable[..., SimpleConnectionPool]
) -> None:
    pool = new_pool()
    before = nginx.accepted()
    for _ in range(10):
        make_client(pool=pool).get(nginx.urls.tls13)
    assert nginx.accepted() - before == 1
    stats = pool.get_stats()
    assert (stats["handshakes"], stats["reused"]) == (1, 9)


def test_a_server_that_closes_connections_after_some_requests_causes_no_error(
    client: httpx.Client, nginx: Nginx
) -> None:
    before = nginx.accepted()
    responses = [client.post(nginx.urls.short_lived, content=b"x") for _ in range(4 * SHORT_LIFE)]
    assert [response.status_code for response in responses] == [200] * (4 * SHORT_LIFE)
    assert nginx.accepted() - before == 4


@pytest.mark.parametrize("url", ["plain", "tls13", "tls12"])
def test_connections_that_the_server_closed_while_idle_cause_no_error(
    client: httpx.Client, nginx: Nginx, url: str
) -> None:
    target = getattr(nginx.urls, url)
    for _ in range(3):
        assert client.post(target, content=b"paid for").status_code == 200
        nginx.drop_idle_connections()


@pytest.mark.parametrize("how", ["goodbye", "close", "reset"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_connection_that_the_server_closes_is_noticed_while_idle(
    make_client: MakeClient,
    serve: Serve,
    certificates: Certificates,
    new_pool: Callable[..., SimpleConnectionPool],
    tls: bool,
    how: str,
) -> None:
    leave = Gate()

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.respond(b"ok")
        if connection.number == 1:
            await leave.passed()
            if how == "reset":
                connection.reset()
            elif how == "close":
                connection.hang_up()
        else:
            await connection.client_closed()

    pool = new_pool()
    client = make_client(pool=pool)
    server = serve(script, tls=certificates.server if tls else None)
    client.post(server.url, content=b"one")
    assert pool.get_stats()["idle_connections"] == 1
    leave.open()
    server.wait_until(lambda counts: counts.open == 0, "its own close")
    if how != "goodbye":  # of TLS, which the pool looks for when the connection is to be used
        until(lambda: pool.get_stats()["idle_connections"] == 0)
    assert client.post(server.url, content=b"two").text == "ok"
    assert [request.body for request in server.requests] == [b"one", b"two"]


def test_a_post_whose_fate_is_unknown_is_not_sent_again(client: httpx.Client, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        if connection.number == 1:
            await connection.respond(b"first")
            await connection.request()  # read, and never answered

    server = serve(script)
    client.post(server.url, content=b"one")
    with pytest.raises(httpx.ReadError):
        client.post(server.url, content=b"two")
    assert [request.body for request in server.requests] == [b"one", b"two"]


def test_a_get_on_a_connection_that_dies_is_sent_again_on_another(client: httpx.Client, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        if connection.number == 1:
            await connection.respond(b"first")
            await connection.request()
        else:
            await connection.respond(b"again")

    server = serve(script)
    client.get(server.url)
    assert client.get(server.url).text == "again"
    assert server.connections == 2
    assert len(server.requests) == 3


def test_a_post_with_an_idempotency_key_may_be_sent_again(client: httpx.Client, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        if connection.number == 1:
            await connection.respond(b"first")
            await connection.request()
        else:
            await connection.respond(b"again")

    server = serve(script)
    client.get(server.url)
    assert client.post(server.url, content=b"x", headers={"Idempotency-Key": "k"}).text == "again"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n\r\nok",
    ],
    ids=["connection: close", "HTTP/1.0", "until close"],
)
def test_a_connection_that_may_not_be_reused_is_closed(client: httpx.Client, serve: Serve, answer: bytes) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(answer)
        if b"length" not in answer:
            return
        await connection.client_closed()

    server = serve(script)
    for number in range(1, 4):
        assert client.get(server.url).text == "ok"
        assert server.connections == number
    server.wait_until(lambda counts: counts.open == 0, "the connections close")


def test_http_1_0_with_keep_alive_is_reused(client: httpx.Client, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.send(b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok")

    server = serve(script)
    for _ in range(3):
        client.get(server.url)
    assert server.connections == 1


def test_a_request_that_asks_for_close_closes(client: httpx.Client, nginx: Nginx) -> None:
    before = nginx.accepted()
    for _ in range(3):
        client.get(nginx.urls.plain, headers={"connection": "close"})
    assert nginx.accepted() - before == 3


def test_a_body_that_cannot_be_sent_twice_is_not_sent_twice(client: httpx.Client, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        if connection.number == 1:
            await connection.respond(b"first")
            await connection.request()
        else:
            await connection.respond(b"again")

    server = serve(script)
    client.get(server.url)
    with pytest.raises(httpx.ReadError):
        client.put(server.url, content=iter([b"once"]))
    assert [request.body for request in server.requests] == [b"", b"once"]
