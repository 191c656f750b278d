"""Requests of the pool itself, without httpx: `await pool.arequest(...)`, and `async with pool.lease(...)`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
import httpx
import pytest

from async_transport.conftest import STOCK
from fast_litellm import SimpleConnectionPool
from fast_litellm.exceptions import StaleLease
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok
from support.backends import run, until
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]
NewPool = Callable[..., SimpleConnectionPool]

pytestmark = pytest.mark.skipif(STOCK, reason="case: httpx has no such thing")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_request_is_answered_as_the_sync_one(
    new_pool: NewPool, serve: Serve, certificates: Certificates, tls: bool
) -> None:
    async def script(connection: Connection) -> None:
        while True:
            request = await connection.request()
            await connection.respond(request.raw_head + request.body, "201 Made", "X-A: caf\u00e9")

    pool = new_pool()
    server = serve(script, tls=certificates.server if tls else None)
    arguments = {"headers": [("X-One", "1"), ("x-two", "2")], "content": b"body"}
    ours = await pool.arequest(server.url, "POST", "/x?y", **arguments)
    theirs = pool.request(server.url, "POST", "/x?y", **arguments)
    assert ours.content == theirs.content
    for name in ("status_code", "reason_phrase", "http_version", "headers", "raw_headers", "text"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert (ours.status_code, ours.reason_phrase) == (201, "Made")
    assert server.connections == 1


async def test_many_requests_at_once_share_the_connections(new_pool: NewPool, serve: Serve) -> None:
    pool = new_pool(max_connections_per_endpoint=4)
    server = serve(serve_ok)
    texts: dict[int, str] = {}

    async def get(number: int) -> None:
        texts[number] = (await pool.arequest(server.url, "GET", f"/{number}")).text

    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(get, number)
    assert texts == {number: f"GET /{number}" for number in range(100)}
    assert server.connections <= 4


async def test_a_large_body_is_whole(new_pool: NewPool, serve: Serve, certificates: Certificates) -> None:
    body = bytes(range(256)) * 20_000

    async def script(connection: Connection) -> None:
        request = await connection.request()
        await connection.respond(request.body)

    pool = new_pool()
    server = serve(script, tls=certificates.server)
    assert (await pool.arequest(server.url, "PUT", "/", content=body)).content == body


async def test_a_lease_serves_one_request_after_the_other(new_pool: NewPool, serve: Serve) -> None:
    pool = new_pool()
    server = serve(serve_ok)
    async with pool.lease(server.url) as connection:
        for number in range(3):
            response = await connection.request("GET", f"/{number}")
            assert response.text == f"GET /{number}"
        assert pool.open_leases() == 1
    assert pool.open_leases() == 0
    assert server.connections == 1
    with pytest.raises(StaleLease):
        _ = connection.id


async def test_a_lease_by_its_id_may_be_used_too(new_pool: NewPool, serve: Serve) -> None:
    pool = new_pool()
    server = serve(serve_ok)
    held = pool.get_connection(server.url)
    assert held is not None
    assert (await pool.arequest(held, "GET", "/x")).text == "GET /x"
    assert pool.return_connection(held)
    with pytest.raises(StaleLease):
        await pool.arequest(held, "GET", "/x")


async def test_a_lease_waits_for_its_turn(new_pool: NewPool, serve: Serve) -> None:
    pool = new_pool(max_connections_per_endpoint=1)
    server = serve(serve_ok)
    order: list[str] = []

    async def use(name: str) -> None:
        async with pool.lease(server.url) as connection:
            order.append((await connection.request("GET", f"/{name}")).text)

    async with anyio.create_task_group() as group, pool.lease(server.url):
        for number, name in enumerate("abc"):
            group.start_soon(use, name)
            await until(lambda: pool.get_stats()["waiters"] == number + 1)  # noqa: B023
        with pytest.raises(httpx.PoolTimeout):
            async with pool.lease(server.url, timeout=0.05):
                pass
    assert order == ["GET /a", "GET /b", "GET /c"]


@pytest.mark.parametrize("place", ["queue", "head", "body", "lease"])
async def test_a_cancelled_request_holds_no_connection(new_pool: NewPool, serve: Serve, place: str) -> None:
    end = Gate()

    async def script(connection: Connection) -> None:
        await connection.request()
        if place == "body":
            await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome")
        await end.passed()

    pool = new_pool(max_connections_per_endpoint=1)
    server = serve(script)

    async def request() -> None:
        if place == "lease":
            async with pool.lease(server.url) as connection:
                await connection.request("GET", "/", timeout=None)
        else:
            await pool.arequest(server.url, "GET", "/", timeout=None)

    held = pool.get_connection(server.url) if place == "queue" else None
    async with anyio.create_task_group() as group:
        group.start_soon(request)
        await until(lambda: pool.get_stats()["waiters"] == 1 if held else bool(server.requests))
        group.cancel_scope.cancel()
    if held:
        assert pool.return_connection(held)
    assert pool.open_leases() == 0
    assert pool.get_stats()["waiters"] == 0
    end.open()


@pytest.mark.parametrize(
    ("error", "timeout"),
    [(httpx.ReadTimeout, (None, 0.05, None, None)), (httpx.ReadTimeout, 0.05)],
    ids=["one of four", "for all"],
)
async def test_a_timeout_is_httpxs_exception(
    new_pool: NewPool, serve: Serve, error: type[Exception], timeout: object
) -> None:
    async def script(connection: Connection) -> None:
        await connection.client_closed()

    pool = new_pool()
    server = serve(script)
    with pytest.raises(error):
        await pool.arequest(server.url, "GET", "/", timeout=timeout)
    assert pool.open_leases() == 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("nonsense", "GET", "/"), ValueError),
        (("http://h", 5, "/"), TypeError),
        (("http://h", "GET", "/a b\r\n"), Exception),
        (("http://localhost:1", "GET", "/"), httpx.ConnectError),
    ],
    ids=["endpoint", "method", "target", "refused"],
)
async def test_the_error_says_what_is_wrong(
    new_pool: NewPool, arguments: tuple[object, ...], error: type[Exception]
) -> None:
    pool = new_pool()
    with pytest.raises(error):
        await pool.arequest(*arguments)
    assert pool.open_leases() == 0


@pytest.mark.parametrize("backend", ["asyncio"])
async def test_requests_may_be_gathered(new_pool: NewPool, serve: Serve, backend: str) -> None:
    pool = new_pool()
    server = serve(serve_ok)
    responses = await asyncio.gather(*(pool.arequest(server.url, "GET", f"/{number}") for number in range(20)))
    assert [response.text for response in responses] == [f"GET /{number}" for number in range(20)]


def test_two_hundred_loops_take_one_handshake(new_pool: NewPool, serve: Serve, certificates: Certificates) -> None:
    pool = new_pool()
    server = serve(serve_ok, tls=certificates.server)

    async def get() -> str:
        return (await pool.arequest(server.url, "GET", "/")).text

    for number in range(200):
        assert run(("asyncio", "uvloop", "trio")[number % 3], get, collect=False) == "GET /"
    assert server.connections == 1
