"""Loops start and end; connections belong to none of them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier

import anyio
import httpx
import pytest

import fast_litellm
from async_transport.conftest import STOCK, MakeAsyncClient, leases, waiters
from peers.nginx import Nginx
from peers.scripted import Connection, ScriptedServer, serve_ok
from support.backends import ASYNCIO_BACKENDS, BACKENDS, complaints_of, end, new_loop, run, until
from support.certificates import Certificates
from support.sockets import open_descriptors

Serve = Callable[..., ScriptedServer]

pytestmark = pytest.mark.skipif(STOCK, reason="case: httpx's connections belong to a loop")


@pytest.fixture
def client(make_async_client: MakeAsyncClient, nginx: Nginx) -> httpx.AsyncClient:
    return make_async_client()


def _get(client: httpx.AsyncClient, url: str) -> Callable[[], Awaitable[str]]:
    async def get() -> str:
        return (await client.get(url)).text

    return get


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("url", ["tls13", "plain"])
def test_two_hundred_loops_one_after_the_other_take_one_handshake(
    client: httpx.AsyncClient, nginx: Nginx, backend: str, url: str
) -> None:
    before = nginx.accepted()
    target = getattr(nginx.urls, url)
    for number in range(200):
        assert run(backend, _get(client, f"{target}/{number}"), collect=number == 199) == f"GET /{number}"
    assert nginx.accepted() - before == 1
    run(backend, client.aclose)


def test_two_hundred_runs_of_asyncio_run_with_a_stream_each_take_one_connection(
    client: httpx.AsyncClient, serve: Serve, certificates: Certificates
) -> None:
    server = serve(serve_ok, tls=certificates.server)

    async def stream() -> bytes:
        async with client.stream("POST", server.url, content=b"x") as response:
            return await response.aread()

    for _ in range(200):
        assert asyncio.run(stream()) == b"POST /"
    assert server.connections == 1
    asyncio.run(client.aclose())


def test_loops_of_every_kind_share_a_connection(client: httpx.AsyncClient, nginx: Nginx) -> None:
    before = nginx.accepted()
    for number in range(12):
        path = f"/{number}"
        assert run(BACKENDS[number % len(BACKENDS)], _get(client, nginx.urls.tls13 + path)) == f"GET {path}"
    assert nginx.accepted() - before == 1
    asyncio.run(client.aclose())


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loop_that_ended_leaves_no_descriptor(client: httpx.AsyncClient, nginx: Nginx, backend: str) -> None:
    run(backend, _get(client, nginx.urls.plain))
    gc.collect()
    before = open_descriptors()
    for _ in range(20):
        run(backend, _get(client, nginx.urls.plain), collect=False)
    gc.collect()
    assert sorted(open_descriptors().values()) == sorted(before.values())
    asyncio.run(client.aclose())


@pytest.mark.parametrize("kinds", [("asyncio",), ("uvloop",), BACKENDS], ids="-".join)
def test_eight_loops_in_eight_threads_use_one_client(
    make_async_client: MakeAsyncClient, nginx: Nginx, kinds: tuple[str, ...]
) -> None:
    limit = 5
    client = make_async_client(limits=httpx.Limits(max_connections=limit))
    before = nginx.accepted()
    begin = Barrier(8)

    def work(thread: int) -> list[str]:
        wrong: list[str] = []

        async def get(task: int) -> None:
            for number in range(20):
                path = f"/{thread}/{task}/{number}"
                text = (await client.get(nginx.urls.tls13 + path)).text
                if text != f"GET {path}":
                    wrong.append(f"{path}: {text}")

        async def work_on_the_loop() -> None:
            async with anyio.create_task_group() as group:
                for task in range(3):
                    group.start_soon(get, task)

        begin.wait()
        for _ in range(2):  # loops, one after the other
            run(kinds[thread % len(kinds)], work_on_the_loop, collect=False)
        return wrong

    with ThreadPoolExecutor(8) as threads:
        assert [wrong for part in threads.map(work, range(8)) for wrong in part] == []
    assert nginx.accepted() - before <= limit
    assert leases(client) == 0
    asyncio.run(client.aclose())


@pytest.mark.parametrize("backend", ASYNCIO_BACKENDS)
def test_a_loop_closed_with_open_streams_ends_only_these_streams(
    client: httpx.AsyncClient, serve: Serve, backend: str
) -> None:
    async def script(connection: Connection) -> None:
        while True:
            request = await connection.request()
            if request.target == "/open":
                await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nsome")
                await connection.client_closed()
                return
            await connection.respond(request.target.encode())

    server = serve(script)

    async def open_some() -> list[httpx.Response]:
        responses = []
        await client.get(f"{server.url}/idle")
        for _ in range(3):
            request = client.build_request("GET", f"{server.url}/open")
            responses.append(await client.send(request, stream=True))
        await client.get(f"{server.url}/idle")
        return responses

    with complaints_of(new_loop(backend)) as loop:
        responses = loop.run_until_complete(open_some())
        loop.close()
    assert leases(client) == 3
    del responses
    gc.collect()
    assert leases(client) == 0
    server.wait_until(lambda counts: counts.open == 1, "the streams' connections close, and the idle one stay")
    assert run(backend, _get(client, f"{server.url}/after")) == "/after"
    assert server.connections == 4
    run(backend, client.aclose)


@pytest.mark.parametrize("backend", ASYNCIO_BACKENDS)
@pytest.mark.parametrize("place", ["head", "body", "queue"])
@pytest.mark.parametrize("kept", [False, True], ids=["tasks dropped", "tasks kept"])
def test_a_loop_closed_with_requests_in_flight_closes_their_connections(
    make_async_client: MakeAsyncClient, serve: Serve, backend: str, place: str, kept: bool
) -> None:
    async def script(connection: Connection) -> None:
        request = await connection.request()
        if request.target == "/after":
            await connection.respond(b"after")
        elif place == "body":
            await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nsome")
        await connection.client_closed()

    client = make_async_client(limits=httpx.Limits(max_connections=1), timeout=None)
    server = serve(script)
    queued = int(place == "queue")

    with complaints_of(new_loop(backend), expected="Task was destroyed but it is pending") as loop:
        tasks = [loop.create_task(client.get(server.url)) for _ in range(1 + queued)]
        loop.run_until_complete(until(lambda: bool(server.requests) and waiters(client) == queued))
        assert leases(client) >= 1
        loop.close()
        if not kept:
            tasks.clear()
            gc.collect()
        assert leases(client) == waiters(client) == 0
    server.wait_until(lambda counts: counts.open == 0, "the client close")
    assert run(backend, _get(client, f"{server.url}/after")) == "after"
    assert server.connections == 2, "no connection was made for a queued request"
    run(backend, client.aclose)


@pytest.mark.parametrize("backend", ASYNCIO_BACKENDS)
@pytest.mark.parametrize("call", ["arequest", "stream", "lease"])
def test_a_thread_gets_the_place_of_a_request_whose_loop_was_closed(serve: Serve, backend: str, call: str) -> None:
    """Without any other request on a loop; it may be queued already."""

    async def script(connection: Connection) -> None:
        while True:
            request = await connection.request()
            if request.target == "/wait":
                if call == "stream":
                    await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nsome")
                await connection.client_closed()
                return
            await connection.respond(b"done")

    server = serve(script)
    url = f"{server.url}/wait"
    with closing(fast_litellm.SimpleConnectionPool("closed loops", max_connections_per_endpoint=1)) as pool:
        client = httpx.AsyncClient(transport=fast_litellm.AsyncHTTPTransport(pool=pool), timeout=None)

        async def wait() -> None:
            if call == "arequest":
                await pool.arequest(server.url, "GET", "/wait", timeout=None)
            elif call == "stream":
                await client.get(url)
            else:
                async with pool.lease(server.url) as lease:
                    await lease.request("GET", "/wait", timeout=None)

        with complaints_of(new_loop(backend), expected="Task was destroyed but it is pending") as loop:
            loop.create_task(wait())
            loop.run_until_complete(until(lambda: len(server.requests) == 1))
            with ThreadPoolExecutor(1) as threads:
                queued = threads.submit(pool.request, server.url, "GET", "/", timeout=None)
                loop.run_until_complete(until(lambda: pool.get_stats()["waiters"] == 1))
                loop.close()
                gc.collect()
                assert queued.result(20).content == b"done"
        assert pool.open_leases() == 0


@pytest.mark.parametrize("first", BACKENDS)
@pytest.mark.parametrize("second", BACKENDS)
def test_a_response_may_be_closed_on_another_loop(
    client: httpx.AsyncClient, serve: Serve, first: str, second: str
) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nsome")
        await connection.client_closed()

    server = serve(script)

    async def begin() -> httpx.Response:
        return await client.send(client.build_request("GET", server.url), stream=True)

    response = run(first, begin)
    assert leases(client) == 1
    run(second, response.aclose)
    assert leases(client) == 0
    server.wait_until(lambda counts: counts.open == 0, "the client close")
    run(second, client.aclose)


@pytest.mark.parametrize("first", BACKENDS)
@pytest.mark.parametrize("second", BACKENDS)
def test_reading_a_response_on_another_loop_always_ends(
    client: httpx.AsyncClient, serve: Serve, first: str, second: str
) -> None:
    """The read ends with the whole body, or with an error that says why not; it never waits for ever."""
    answered = []

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf")
        while not answered:
            await asyncio.sleep(0.001)
        await connection.send(b"more")
        await connection.client_closed()

    server = serve(script)

    async def begin() -> httpx.Response:
        response = await client.send(client.build_request("GET", server.url), stream=True)
        return response

    async def go_on() -> bytes | None:
        answered.append(True)
        with anyio.fail_after(20):
            try:
                return await response.aread()
            except RuntimeError as error:
                return None if "loop" in str(error) else str(error).encode()

    response = run(first, begin)
    assert run(second, go_on) in (b"halfmore", None)
    run(second, response.aclose)
    assert leases(client) == 0
    run(second, client.aclose)


@pytest.mark.parametrize("backend", ASYNCIO_BACKENDS)
def test_two_loops_taking_turns_in_one_thread_share_a_connection(
    client: httpx.AsyncClient, nginx: Nginx, backend: str
) -> None:
    before = nginx.accepted()
    with complaints_of(new_loop(backend)) as one, complaints_of(new_loop("asyncio")) as other:
        for number in range(10):
            for loop in (one, other):
                text = loop.run_until_complete(_get(client, f"{nginx.urls.tls13}/{number}")())  # type: ignore[arg-type]
                assert text == f"GET /{number}"
        other.run_until_complete(client.aclose())
        end(one)
        end(other)
    assert nginx.accepted() - before == 1


def test_a_request_outside_of_any_loop_fails_and_holds_no_connection(client: httpx.AsyncClient, serve: Serve) -> None:
    server = serve(serve_ok)
    coroutine = client.get(server.url)
    with pytest.raises((RuntimeError, LookupError)):
        coroutine.send(None)
    assert leases(client) == 0
    asyncio.run(client.aclose())
