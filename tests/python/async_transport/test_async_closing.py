"""Closing a client without requests, with open streams, and with requests in flight."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import httpx
import pytest

from async_transport.conftest import STOCK, MakeAsyncClient, MakeAsyncTransport, leases, waiters
from async_transport.waits import WAITS, a_wait, an_address_that_does_not_answer
from fast_litellm import SimpleConnectionPool
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok
from support.backends import until
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]
NewPool = Callable[..., SimpleConnectionPool]

#: What a request may end with whose client is closed.
ENDED = (httpx.TransportError, RuntimeError)
refuses = pytest.mark.skipif(STOCK, reason="case: httpx refuses to close a pool with requests in flight")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_closing_a_client_closes_its_idle_connections(
    make_async_client: MakeAsyncClient, serve: Serve, certificates: Certificates, tls: bool
) -> None:
    client = make_async_client()
    server = serve(serve_ok, tls=certificates.server if tls else None)
    await client.get(server.url)
    assert server.counts.open == 1
    await client.aclose()
    await until(lambda: server.counts.open == 0, "the connection close")


async def test_a_client_may_be_closed_unused_and_twice(make_async_client: MakeAsyncClient) -> None:
    client = make_async_client()
    await client.aclose()
    await client.aclose()


async def test_a_client_is_closed_by_its_block(make_async_client: MakeAsyncClient, serve: Serve) -> None:
    server = serve(serve_ok)
    async with make_async_client() as client:
        assert (await client.get(server.url)).status_code == 200
    await until(lambda: server.counts.open == 0, "the connection close")
    with pytest.raises(RuntimeError, match="closed"):
        await client.get(server.url)


async def test_a_request_on_a_closed_transport_reports_that_it_is_closed(
    make_async_transport: MakeAsyncTransport, serve: Serve
) -> None:
    server = serve(serve_ok)
    async with make_async_transport() as transport:
        response = await transport.handle_async_request(httpx.Request("GET", server.url))
        assert await response.aread() == b"GET /"
        await response.aclose()
    if not STOCK:
        with pytest.raises(RuntimeError, match="closed"):
            await transport.handle_async_request(httpx.Request("GET", server.url))


@refuses
@pytest.mark.parametrize("name", WAITS)
async def test_closing_a_client_ends_a_request_that_waits(
    make_async_client: MakeAsyncClient, certificates: Certificates, name: str
) -> None:
    client = make_async_client(timeout=None)
    ends: list[Exception] = []
    with a_wait(name, certificates) as wait:

        async def request() -> None:
            try:
                await wait(client)
            except ENDED as error:
                ends.append(error)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(request)
                await until(wait.reached)
                await client.aclose()
        assert len(ends) == 1
        assert leases(client) == 0
        wait.end()
        await until(lambda: wait.server.counts.open == 0, "the connection close")


@refuses
async def test_closing_a_client_ends_its_queued_requests(make_async_client: MakeAsyncClient, serve: Serve) -> None:
    client = make_async_client(timeout=None, limits=httpx.Limits(max_connections=1))
    server = serve(serve_ok)
    ends: list[Exception] = []

    async def request() -> None:
        try:
            await client.get(server.url)
        except ENDED as error:
            ends.append(error)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group, client.stream("GET", server.url):
            for _ in range(3):
                group.start_soon(request)
            await until(lambda: waiters(client) == 3)
            await client.aclose()
    assert len(ends) == 3
    assert leases(client) == 0


@refuses
async def test_closing_a_client_ends_a_request_that_connects(make_async_client: MakeAsyncClient) -> None:
    client = make_async_client(timeout=None)
    ends: list[Exception] = []
    with an_address_that_does_not_answer() as (url, connecting), anyio.fail_after(20):

        async def request() -> None:
            try:
                await client.get(url)
            except ENDED as error:
                ends.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(request)
            await until(connecting)
            await client.aclose()
    assert len(ends) == 1


async def test_closing_a_client_on_a_shared_pool_breaks_no_stream_of_others(
    make_async_client: MakeAsyncClient, serve: Serve, new_pool: NewPool
) -> None:
    rest = Gate()

    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha")
            await rest.passed()
            await connection.send(b"lf")

    pool = new_pool()
    closing, other = make_async_client(pool=pool), make_async_client(pool=pool)
    server = serve(script)
    async with other.stream("GET", server.url) as response:
        await closing.aclose()
        rest.open()
        assert await response.aread() == b"half"
    assert (await other.get(server.url)).content == b"half"
    assert server.connections == 1


async def test_a_pool_that_drains_lets_async_requests_end(
    make_async_client: MakeAsyncClient, serve: Serve, new_pool: NewPool
) -> None:
    answer = Gate()

    async def script(connection: Connection) -> None:
        await connection.request()
        await answer.passed()
        await connection.respond(b"in the end")

    pool = new_pool()
    client = make_async_client(pool=pool)
    server = serve(script)
    texts: list[str] = []

    async def get() -> None:
        texts.append((await client.get(server.url)).text)

    async with anyio.create_task_group() as group:
        group.start_soon(get)
        await until(lambda: bool(server.requests))
        drained = []

        async def drain() -> None:
            drained.append(await anyio.to_thread.run_sync(pool.drain))

        group.start_soon(drain)
        await until(lambda: pool.get_stats()["draining"])
        answer.open()
    assert (texts, drained) == (["in the end"], [True])
