"""Many requests at once over few HTTP/2 connections: each gets its own answer."""

from __future__ import annotations

import functools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import anyio
import httpx
import pytest

from peers.http2_application import HELLO
from support.backends import BACKENDS, nothing_unraisable, run
from support.certificates import Certificates
from support.http2 import OURS_ALONE, new_transport, over

every_application = over("nginx", "hypercorn", "go", "node")
on_every_loop = pytest.mark.parametrize("backend", BACKENDS)
AsyncTest = Callable[[httpx.AsyncClient], Awaitable[None]]


@pytest.fixture
def run_with_client(engine: str, origin: Any, certificates: Certificates) -> Callable[[str, AsyncTest], None]:
    """run_with_client(backend, test) runs the test on a loop of its own, with a client for the origin."""

    def start(backend: str, test: AsyncTest) -> None:
        async def with_client() -> None:
            transport = new_transport(engine, "async", verify=str(certificates.ca_file), **origin.arguments)
            async with httpx.AsyncClient(transport=transport, timeout=60) as client:
                await test(client)

        with nothing_unraisable():
            run(backend, with_client)

    return start


def _body(number: int) -> bytes:
    """Of another length for each: from a few bytes to several frames."""
    return f"body of {number} ".encode() * (1 + number * 37 % 3000)


async def _echo(client: httpx.AsyncClient, origin: Any, number: int) -> None:
    body = _body(number)
    response = await client.post(f"{origin.url}/echo", content=body, headers={"x-id": str(number)})
    assert response.http_version == "HTTP/2"
    assert response.headers["x-id"] == str(number)
    assert response.content == body


@on_every_loop
@every_application
def test_200_tasks_get_their_own_answers(run_with_client: Any, origin: Any, backend: str, engine: str) -> None:
    """Twice, as the second round finds the connections of the first. (httpx's transport, the oracle, takes seconds.)"""

    async def test(client: httpx.AsyncClient) -> None:
        for first in (0, 200) if engine == "ours" else (0,):
            async with anyio.create_task_group() as group:
                for number in range(first, first + 200):
                    group.start_soon(_echo, client, origin, number)

    run_with_client(backend, test)


@OURS_ALONE
@on_every_loop
@every_application
def test_cancelled_tasks_do_not_disturb_others(run_with_client: Any, origin: Any, backend: str) -> None:
    """20 tasks wait for answers that never come, and are cancelled, while others get theirs. (Over httpx's transport,
    tasks beside waiting ones race for stream ids, a LocalProtocolError, or wait for ever.)"""

    async def test(client: httpx.AsyncClient) -> None:
        async with anyio.create_task_group() as group:
            async with anyio.create_task_group() as waiting:
                for _ in range(20):
                    waiting.start_soon(functools.partial(client.get, f"{origin.url}/never", timeout=None))
                async with anyio.create_task_group() as served:
                    for number in range(50):
                        served.start_soon(_echo, client, origin, number)
                waiting.cancel_scope.cancel()
            for number in range(50, 100):
                group.start_soon(_echo, client, origin, number)

    run_with_client(backend, test)


@on_every_loop
@every_application
def test_async_iterators_are_uploaded_side_by_side(run_with_client: Any, origin: Any, backend: str) -> None:
    async def pieces(number: int) -> AsyncIterator[bytes]:
        for piece in range(20):
            await anyio.lowlevel.checkpoint()
            yield f"{number}/{piece} ".encode() * 400

    async def upload(client: httpx.AsyncClient, number: int) -> None:
        response = await client.post(f"{origin.url}/echo", content=pieces(number), headers={"x-id": str(number)})
        assert response.headers["x-id"] == str(number)
        assert response.content == b"".join([f"{number}/{piece} ".encode() * 400 for piece in range(20)])

    async def test(client: httpx.AsyncClient) -> None:
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(upload, client, number)

    run_with_client(backend, test)


def _skip_threads_that_race(engine: str, mode: str) -> None:
    if (engine, mode) == ("stock", "sync"):
        pytest.skip("case: threads of httpx's transport race for stream ids, which h2 refuses out of order")


@every_application
def test_8_threads_get_their_own_answers(client: httpx.Client, origin: Any, engine: str, mode: str) -> None:
    _skip_threads_that_race(engine, mode)
    wrong: list[str] = []
    turns = 25 if engine == "ours" else 10

    def work(thread: int) -> None:
        for turn in range(turns):
            number = thread * turns + turn
            body = _body(number)
            try:
                response = client.post(f"{origin.url}/echo", content=body, headers={"x-id": str(number)})
                if (response.headers["x-id"], response.content) != (str(number), body):
                    wrong.append(f"{number} got the answer to {response.headers['x-id']}")
            except Exception as error:
                wrong.append(f"{number}: {error!r}")

    threads = [threading.Thread(target=work, args=(thread,), daemon=True) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
        assert not thread.is_alive(), "a thread still waits for its answer"
    assert wrong == []


@over("nginx", "hypercorn", "go")
def test_threads_read_large_responses_side_by_side(client: httpx.Client, origin: Any, engine: str, mode: str) -> None:
    """Together more than a connection's window. (Over node, httpx's transport has one stream at a time.)"""
    _skip_threads_that_race(engine, mode)
    lengths: dict[int, int] = {}
    assert client.get(f"{origin.url}/hello").content == HELLO

    def work(thread: int) -> None:
        size = 3_000_000 + thread
        with client.stream("GET", f"{origin.url}/big?bytes={size}") as response:
            lengths[thread] = sum(map(len, response.iter_raw())) - size

    threads = [threading.Thread(target=work, args=(thread,), daemon=True) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
        assert not thread.is_alive(), "a thread still waits for the rest of its response"
    assert lengths == dict.fromkeys(range(8), 0)


@every_application
def test_uploads_and_responses_cross(client: httpx.Client, origin: Any) -> None:
    """The body of the answer is read while the request's body is still being made, if the server sends it so early."""

    def pieces() -> Iterator[bytes]:
        for number in range(200):
            yield b"%d " % number * 1000

    with client.stream("POST", f"{origin.url}/echo", content=pieces(), headers={"x-id": "1"}) as response:
        assert response.read() == b"".join(pieces())
