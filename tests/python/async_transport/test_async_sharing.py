"""Sync and async clients, threads and loops, on one pool: one set of connections."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import anyio
import httpx
import pytest

from async_transport.conftest import MakeAsyncClient, leases, waiters
from fast_litellm import HTTPTransport, SimpleConnectionPool
from peers.nginx import Nginx
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok
from support.backends import until
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]
NewPool = Callable[..., SimpleConnectionPool]


@pytest.fixture
def make_sync_client(certificates: Certificates) -> Callable[[SimpleConnectionPool], httpx.Client]:
    def make(pool: SimpleConnectionPool) -> httpx.Client:
        return httpx.Client(transport=HTTPTransport(verify=str(certificates.ca_file), pool=pool), timeout=20)

    return make


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_sync_and_an_async_client_share_one_connection(
    make_async_client: MakeAsyncClient,
    make_sync_client: Callable[[SimpleConnectionPool], httpx.Client],
    new_pool: NewPool,
    serve: Serve,
    certificates: Certificates,
    tls: bool,
) -> None:
    pool = new_pool()
    asynchronous, synchronous = make_async_client(pool=pool), make_sync_client(pool)
    server = serve(serve_ok, tls=certificates.server if tls else None)
    for number in range(10):
        assert (await asynchronous.get(f"{server.url}/{number}")).text == f"GET /{number}"
        assert synchronous.post(f"{server.url}/{number}", content=b"x" * 300_000).text == f"POST /{number}"
        other = await anyio.to_thread.run_sync(synchronous.get, f"{server.url}/{number}")
        assert other.text == f"GET /{number}"
        response = await asynchronous.put(f"{server.url}/{number}", content=b"x" * 300_000)
        assert response.text == f"PUT /{number}"
    assert server.connections == 1
    assert pool.get_stats()["idle_connections"] == 1
    synchronous.close()


async def test_a_sync_and_an_async_request_wait_in_one_queue(
    make_async_client: MakeAsyncClient,
    make_sync_client: Callable[[SimpleConnectionPool], httpx.Client],
    new_pool: NewPool,
    serve: Serve,
) -> None:
    pool = new_pool(max_connections_per_endpoint=1)
    asynchronous, synchronous = make_async_client(pool=pool), make_sync_client(pool)
    server = serve(serve_ok)

    async def get(path: str) -> None:
        await asynchronous.get(server.url + path)

    with ThreadPoolExecutor(2) as threads:
        async with anyio.create_task_group() as group, asynchronous.stream("GET", f"{server.url}/held"):
            for number in range(4):
                if number % 2:
                    threads.submit(synchronous.get, f"{server.url}/{number}")
                else:
                    group.start_soon(get, f"/{number}")
                await until(lambda: waiters(asynchronous) == number + 1)  # noqa: B023
    assert [request.target for request in server.requests] == ["/held", "/0", "/1", "/2", "/3"]
    assert server.connections == 1
    synchronous.close()


async def test_threads_and_tasks_at_once_get_their_own_answers(
    make_async_client: MakeAsyncClient,
    make_sync_client: Callable[[SimpleConnectionPool], httpx.Client],
    new_pool: NewPool,
    nginx: Nginx,
) -> None:
    limit = 4
    pool = new_pool(max_connections_per_endpoint=limit)
    asynchronous, synchronous = make_async_client(pool=pool), make_sync_client(pool)
    before = nginx.accepted()
    wrong: list[str] = []

    def check(path: str, text: str) -> None:
        if text != f"GET {path}":
            wrong.append(f"{path}: {text}")

    def work(thread: int) -> None:
        for number in range(100):
            path = f"/thread/{thread}/{number}"
            check(path, synchronous.get(nginx.urls.tls13 + path).text)

    async def get(task: int) -> None:
        for number in range(30):
            path = f"/task/{task}/{number}"
            check(path, (await asynchronous.get(nginx.urls.tls13 + path)).text)

    threads = [threading.Thread(target=work, args=[number]) for number in range(3)]
    for thread in threads:
        thread.start()
    async with anyio.create_task_group() as group:
        for task in range(10):
            group.start_soon(get, task)
    for thread in threads:
        await anyio.to_thread.run_sync(thread.join)
    assert wrong == []
    assert nginx.accepted() - before <= limit
    synchronous.close()


async def test_a_lease_taken_by_hand_is_awaited_by_async_requests(
    make_async_client: MakeAsyncClient, new_pool: NewPool, serve: Serve
) -> None:
    pool = new_pool(max_connections_per_endpoint=1)
    client = make_async_client(pool=pool)
    server = serve(serve_ok)
    held = pool.get_connection(server.url)
    assert held is not None
    texts: list[str] = []

    async def get() -> None:
        texts.append((await client.get(f"{server.url}/async")).text)

    async with anyio.create_task_group() as group:
        group.start_soon(get)
        await until(lambda: waiters(client) == 1)
        assert pool.request(held, "GET", "/by/hand").text == "GET /by/hand"
        assert pool.return_connection(held)
    assert texts == ["GET /async"]
    assert server.connections == 1


async def test_an_async_response_dropped_in_another_thread_gives_its_lease_back(
    make_async_client: MakeAsyncClient, new_pool: NewPool, serve: Serve
) -> None:
    end = Gate()

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nsome")
        await connection.client_closed()
        end.open()

    pool = new_pool()
    client = make_async_client(pool=pool)
    server = serve(script)
    held = [await client.send(client.build_request("GET", server.url), stream=True)]
    await anext(held[0].aiter_raw())
    assert leases(client) == 1

    def drop() -> None:
        held.clear()
        gc.collect()

    await anyio.to_thread.run_sync(drop)
    await until(lambda: pool.open_leases() == 0)
    await until(lambda: server.counts.open == 0, "the client close")
