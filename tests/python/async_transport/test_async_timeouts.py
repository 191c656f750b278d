"""Each of the four timeouts ends its own wait, with its own exception, and no other's."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable

import anyio
import httpx
import pytest

from async_transport.conftest import STOCK, MakeAsyncClient, leases, waiters
from async_transport.late_link import late_link
from async_transport.waits import a_wait, an_address_that_does_not_answer
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok
from support.backends import until
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]
SHORT = 0.05  # seconds


def _only(**timeouts: float) -> httpx.Timeout:
    """These timeouts, and no others."""
    return httpx.Timeout(None, **timeouts)


EXPECTED = {
    "handshake": ("connect", httpx.ConnectTimeout),
    "write, plain": ("write", httpx.WriteTimeout),
    "write, tls": ("write", httpx.WriteTimeout),
    "write of an iterator, plain": ("write", httpx.WriteTimeout),
    "write of an iterator, tls": ("write", httpx.WriteTimeout),
    "head, plain": ("read", httpx.ReadTimeout),
    "head, tls": ("read", httpx.ReadTimeout),
    "body, plain": ("read", httpx.ReadTimeout),
    "body, tls": ("read", httpx.ReadTimeout),
}


@pytest.mark.parametrize("place", EXPECTED)
async def test_each_wait_ends_by_its_own_timeout(
    make_async_client: MakeAsyncClient, certificates: Certificates, place: str
) -> None:
    kind, error = EXPECTED[place]
    client = make_async_client(timeout=_only(**{kind: SHORT}))
    with a_wait(place, certificates) as wait:
        with anyio.fail_after(20), pytest.raises(httpx.TimeoutException) as caught:
            await wait(client)
        assert type(caught.value) is error
        assert caught.value.request.url == wait.server.url.replace("http:", "https:" if kind == "connect" else "http:")
        assert leases(client) == 0
        if wait.sent:
            assert (await client.get(f"{wait.server.url}/next", timeout=20)).text == "next"
            assert wait.carried
            assert wait.next_on not in wait.carried, "the connection of the failed request was used again"


@pytest.mark.parametrize("place", EXPECTED)
async def test_no_wait_ends_by_anothers_timeout(
    make_async_client: MakeAsyncClient, certificates: Certificates, place: str
) -> None:
    """Under short timeouts that are not its own, a wait continues until it is cancelled."""
    others = {name: 0.01 for name in ("read", "write", "pool") if name != EXPECTED[place][0]}
    client = make_async_client(timeout=_only(**others))
    with a_wait(place, certificates) as wait, anyio.move_on_after(0.1) as scope:
        await wait(client)
    assert scope.cancelled_caught


async def test_an_address_that_does_not_answer_is_a_connect_timeout(make_async_client: MakeAsyncClient) -> None:
    client = make_async_client()
    with an_address_that_does_not_answer() as (url, _), pytest.raises(httpx.ConnectTimeout) as caught:
        await client.get(url, timeout=_only(connect=SHORT))
    assert caught.value.request.url == url
    assert leases(client) == 0


async def test_a_pool_that_stays_full_is_a_pool_timeout(make_async_client: MakeAsyncClient, serve: Serve) -> None:
    client = make_async_client(limits=httpx.Limits(max_connections=1))
    server = serve(serve_ok)
    async with client.stream("GET", server.url):
        with pytest.raises(httpx.PoolTimeout) as caught:
            await client.get(server.url, timeout=_only(pool=SHORT))
        assert caught.value.request.url == server.url
        assert waiters(client) == 0
    assert (await client.get(server.url)).status_code == 200
    assert STOCK or server.connections == 1


async def test_the_wait_in_the_queue_counts_for_the_pool_timeout_alone(
    make_async_client: MakeAsyncClient, serve: Serve
) -> None:
    client = make_async_client(limits=httpx.Limits(max_connections=1))
    server = serve(serve_ok)
    answers: list[str] = []

    async def get() -> None:
        answers.append((await client.get(server.url, timeout=_only(connect=SHORT, read=2.0, write=SHORT))).text)

    async with anyio.create_task_group() as group, client.stream("GET", server.url):
        group.start_soon(get)
        await until(lambda: waiters(client) == 1)
        await anyio.sleep(3 * SHORT)
    assert answers == ["GET /"]


async def test_the_time_of_a_handshake_does_not_count_for_the_pool_timeout(
    async_client: httpx.AsyncClient, serve: Serve, certificates: Certificates
) -> None:
    """The server's listener is a plain one, which hands the bytes on to the TLS server late."""
    server = serve(serve_ok, tls=certificates.server)
    with late_link(server.port, 4 * SHORT) as port:
        url = server.url.replace(str(server.port), str(port))
        response = await async_client.get(url, timeout=_only(connect=20.0, pool=SHORT))
    assert response.status_code == 200


async def test_the_read_timeout_is_for_each_read_not_for_the_whole_body(
    async_client: httpx.AsyncClient, serve: Serve
) -> None:
    turns = [Gate() for _ in range(4)]

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")
        for turn in turns:
            await turn.passed()
            await connection.send(b"x")

    for number, turn in enumerate(turns):
        threading.Timer(0.6 * (number + 1), turn.open).start()
    # The whole takes 2.4 s.
    assert (await async_client.get(serve(script).url, timeout=_only(read=2.0))).content == b"xxxx"


async def test_a_timeout_of_one_request_does_not_apply_to_the_next_on_the_connection(
    async_client: httpx.AsyncClient, serve: Serve
) -> None:
    answer = Gate()

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.respond(b"first")
        await connection.request()
        await answer.passed()
        await connection.respond(b"second")

    server = serve(script)
    assert (await async_client.get(server.url, timeout=_only(read=1.0))).text == "first"
    threading.Timer(1.5, answer.open).start()
    assert (await async_client.get(server.url, timeout=_only(read=20.0))).text == "second"
    assert server.connections == 1


@pytest.mark.skipif(STOCK, reason="case: httpx may give up what has arrived")
async def test_a_response_that_arrived_in_time_is_no_timeout_even_if_the_loop_was_blocked(
    async_client: httpx.AsyncClient, serve: Serve
) -> None:
    answer = Gate()
    sent = threading.Event()

    async def script(connection: Connection) -> None:
        await connection.request()
        await answer.passed()
        await connection.respond(b"in time")
        sent.set()

    server = serve(script)
    answers: list[str] = []

    async def get() -> None:
        answers.append((await async_client.get(server.url, timeout=_only(read=1.0))).text)

    async with anyio.create_task_group() as group:
        group.start_soon(get)
        await until(lambda: bool(server.requests))
        answer.open()
        assert sent.wait(20)
        time.sleep(1.3)  # a task that computes, beyond the timeout
    assert answers == ["in time"]


async def test_a_slow_request_body_is_no_write_timeout(async_client: httpx.AsyncClient, serve: Serve) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            await anyio.sleep(6 * SHORT)
            yield b"x"

    server = serve(serve_ok)
    timeout = _only(write=4 * SHORT, connect=20.0, read=20.0)
    response = await async_client.post(server.url, content=body(), timeout=timeout)
    assert response.status_code == 200
    assert server.requests[0].body == b"xxx"


async def test_without_timeouts_a_request_waits(make_async_client: MakeAsyncClient, serve: Serve) -> None:
    answer = Gate()

    async def script(connection: Connection) -> None:
        await connection.request()
        await answer.passed()
        await connection.respond(b"at last")

    server = serve(script)
    client = make_async_client(timeout=None)
    threading.Timer(0.2, answer.open).start()
    assert (await client.get(server.url)).text == "at last"


async def test_many_timeouts_at_once_each_end_their_own_request(
    make_async_client: MakeAsyncClient, serve: Serve
) -> None:
    async def script(connection: Connection) -> None:
        while True:
            request = await connection.request()
            if request.target.startswith("/never"):
                await connection.client_closed()
                return
            await connection.respond(request.target.encode())

    server = serve(script)
    client = make_async_client()
    ends: dict[str, str] = {}

    async def get(path: str) -> None:
        try:
            ends[path] = (await client.get(server.url + path, timeout=_only(read=2.0))).text
        except httpx.ReadTimeout:
            ends[path] = "timeout"

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(get, f"/never/{number}")
            group.start_soon(get, f"/ever/{number}")
    assert len(ends) == 40
    assert {path for path, text in ends.items() if text == "timeout"} == {f"/never/{number}" for number in range(20)}
    assert leases(client) == 0
