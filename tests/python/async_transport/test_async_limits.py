"""Limits, as the server sees them, and the order of the requests that wait at them."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import httpx
import pytest

from async_transport.conftest import STOCK, MakeAsyncClient, leases, waiters
from fast_litellm import SimpleConnectionPool
from peers.scripted import Crowd, ScriptedServer, serve_ok
from support.backends import until
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]
NewPool = Callable[..., SimpleConnectionPool]


async def _get_all(client: httpx.AsyncClient, server: ScriptedServer, count: int) -> None:
    answers: dict[int, str] = {}

    async def get(number: int) -> None:
        answers[number] = (await client.get(f"{server.url}/{number}")).text

    async with anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(get, number)
    assert answers == {number: f"/{number}" for number in range(count)}


@pytest.mark.parametrize("limit", [1, 3])
async def test_no_more_connections_are_opened_than_max_connections(
    make_async_client: MakeAsyncClient, serve: Serve, limit: int
) -> None:
    client = make_async_client(limits=httpx.Limits(max_connections=limit))
    server = serve(Crowd(limit))
    await _get_all(client, server, 12)
    assert server.counts.most_open == limit
    assert server.connections == limit


async def test_a_hundred_tasks_may_have_a_hundred_connections(
    make_async_client: MakeAsyncClient, serve: Serve, certificates: Certificates
) -> None:
    client = make_async_client(limits=httpx.Limits(max_connections=None))
    server = serve(Crowd(100), tls=certificates.server)
    await _get_all(client, server, 100)
    assert server.counts.most_open == 100


async def test_no_more_than_max_keepalive_connections_stay_open(
    make_async_client: MakeAsyncClient, serve: Serve
) -> None:
    client = make_async_client(limits=httpx.Limits(max_connections=5, max_keepalive_connections=2))
    server = serve(Crowd(5))
    await _get_all(client, server, 5)
    await until(lambda: server.counts.open == 2, "all but two connections close")


@pytest.mark.skipif(STOCK, reason="case: httpx closes what has expired at the next request")
async def test_an_idle_connection_is_closed_when_its_keepalive_expires(
    make_async_client: MakeAsyncClient, serve: Serve
) -> None:
    client = make_async_client(limits=httpx.Limits(keepalive_expiry=0.05))
    server = serve(serve_ok)
    await client.get(server.url)
    await until(lambda: server.counts.open == 0, "the idle connection close")


async def test_requests_are_served_in_the_order_in_which_they_were_made(
    make_async_client: MakeAsyncClient, serve: Serve
) -> None:
    """Also against a request that is made in the moment in which its task returns a connection."""
    client = make_async_client(limits=httpx.Limits(max_connections=1))
    server = serve(serve_ok)
    asked: list[str] = []

    async def ask(task: int) -> None:
        for number in range(10):
            path = f"/{task}/{number}"
            asked.append(path)
            await client.get(server.url + path)

    async with anyio.create_task_group() as group:
        for task in range(5):
            group.start_soon(ask, task)
    assert [request.target for request in server.requests] == asked


async def test_a_request_that_gives_up_waiting_keeps_the_order_of_the_others(
    make_async_client: MakeAsyncClient, serve: Serve
) -> None:
    client = make_async_client(limits=httpx.Limits(max_connections=1))
    server = serve(serve_ok)
    gave_up = []

    async def get(number: int) -> None:
        impatient = number % 2 == 1
        try:
            await client.get(f"{server.url}/{number}", timeout=httpx.Timeout(20, pool=0.05 if impatient else 20))
        except httpx.PoolTimeout:
            gave_up.append(number)

    async with anyio.create_task_group() as group, client.stream("GET", f"{server.url}/held"):
        for number in range(10):
            group.start_soon(get, number)
            await until(lambda: waiters(client) + len(gave_up) > number)  # noqa: B023
        await until(lambda: len(gave_up) == 5)
    assert [request.target for request in server.requests] == ["/held", "/0", "/2", "/4", "/6", "/8"]
    assert sorted(gave_up) == [1, 3, 5, 7, 9]  # trio runs the tasks of one turn in any order


async def test_a_request_to_another_server_does_not_wait_behind_a_full_one(
    make_async_client: MakeAsyncClient, serve: Serve, new_pool: NewPool
) -> None:
    client = make_async_client(pool=new_pool(max_connections_per_endpoint=1))
    full, other = serve(serve_ok), serve(serve_ok)
    async with anyio.create_task_group() as group, client.stream("GET", full.url):
        group.start_soon(client.get, full.url)
        await until(lambda: waiters(client) == 1)
        assert (await client.get(other.url)).status_code == 200


async def test_limits_on_a_shared_pool_bind_this_transport_alone(
    make_async_client: MakeAsyncClient, serve: Serve, new_pool: NewPool
) -> None:
    pool = new_pool()
    bound = make_async_client(pool=pool, limits=httpx.Limits(max_connections=1))
    free = make_async_client(pool=pool)
    server = serve(serve_ok)
    async with bound.stream("GET", server.url):
        with pytest.raises(httpx.PoolTimeout):
            await bound.get(server.url, timeout=httpx.Timeout(20, pool=0.05))
        assert (await free.get(server.url)).status_code == 200
    assert (await bound.get(server.url)).status_code == 200


@pytest.mark.parametrize(
    "limits",
    [
        httpx.Limits(max_connections=100, max_keepalive_connections=20),
        httpx.Limits(max_connections=1000, max_keepalive_connections=100),
    ],
    ids=["httpx's", "the SDKs'"],
)
async def test_default_limits_of_a_library_have_no_effect_on_a_shared_pool(
    make_async_client: MakeAsyncClient, serve: Serve, new_pool: NewPool, limits: httpx.Limits
) -> None:
    pool = new_pool()
    client = make_async_client(pool=pool, limits=limits)
    server = serve(Crowd(101))
    await _get_all(client, server, 101)
    assert server.counts.most_open == 101
    assert pool.get_stats()["idle_connections"] == 101


async def test_requests_queued_at_the_limit_of_a_transport_are_served_in_order(
    make_async_client: MakeAsyncClient, serve: Serve, new_pool: NewPool
) -> None:
    client = make_async_client(pool=new_pool(), limits=httpx.Limits(max_connections=1))
    server = serve(serve_ok)
    asked: list[str] = []

    async def ask(task: int) -> None:
        for number in range(5):
            asked.append(f"/{task}/{number}")
            await client.get(f"{server.url}/{task}/{number}")

    async with anyio.create_task_group() as group:
        for task in range(4):
            group.start_soon(ask, task)
    assert [request.target for request in server.requests] == asked


async def test_open_leases_are_listed_for_this_transport_alone(
    make_async_client: MakeAsyncClient, serve: Serve, new_pool: NewPool
) -> None:
    pool = new_pool()
    one, other = make_async_client(pool=pool), make_async_client(pool=pool)
    server = serve(serve_ok)
    async with one.stream("GET", server.url):
        [connection] = one._transport._pool.connections  # type: ignore[attr-defined]
        assert not connection.is_idle()
        assert leases(other) == 0
    assert leases(one) == 0
