"""No task and no thread per request or per loop: only the caller's own task waits."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import anyio
import httpx
import pytest

from async_transport.conftest import STOCK
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok
from support.backends import ASYNCIO_BACKENDS, complaints_of, new_loop, until
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


async def _silent(connection: Connection) -> None:
    await connection.client_closed()


async def test_a_hundred_requests_at_once_start_no_thread(async_client: httpx.AsyncClient, serve: Serve) -> None:
    answer = Gate()

    async def script(connection: Connection) -> None:
        while True:
            request = await connection.request()
            if request.target == "/wait":
                await answer.passed()
            await connection.respond(b"x" * 100)

    server = serve(script)
    await async_client.get(server.url)  # the pool's own thread starts with its first dial
    before = _threads()
    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(async_client.get, f"{server.url}/wait")
        await until(lambda: len(server.requests) == 101)
        assert _threads() - before <= 2  # a helper or two that dial in bursts; for ever, not for each request
        answer.open()


@pytest.mark.parametrize("backend", ASYNCIO_BACKENDS)
async def test_a_request_makes_no_task(
    async_client: httpx.AsyncClient, serve: Serve, certificates: Certificates, backend: str
) -> None:
    mine = asyncio.all_tasks()

    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha")
            await rest.passed()
            await connection.send(b"lf")

    rest = Gate()
    server = serve(script, tls=certificates.server)
    tasks: list[set[asyncio.Task[object]]] = []

    def look() -> bool:
        tasks.append(asyncio.all_tasks())
        return bool(server.requests)

    async with async_client.stream("GET", server.url) as response:
        tasks.append(asyncio.all_tasks())
        rest.open()
        await response.aread()
        tasks.append(asyncio.all_tasks())
    asking = asyncio.ensure_future(async_client.get(server.url))
    await until(lambda: look() and asking.done())
    assert asking.result().content == b"half"
    assert all(seen <= {*mine, asking} for seen in tasks)


@pytest.mark.skipif(STOCK, reason="case: httpx reuses no connection there")
def test_asyncios_debug_mode_finds_nothing_wrong(
    make_async_client: Callable[..., httpx.AsyncClient], serve: Serve, certificates: Certificates
) -> None:
    """It refuses calls into a loop from other threads than its own."""
    client = make_async_client(limits=httpx.Limits(max_connections=3))
    server = serve(serve_ok, tls=certificates.server)
    silent = serve(_silent)

    async def ask() -> list[str]:
        responses = await asyncio.gather(*(client.get(f"{server.url}/{number}") for number in range(30)))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.get(silent.url, timeout=None), 0.05)
        await client.aclose()
        return [response.text for response in responses]

    with complaints_of(new_loop("asyncio")) as loop:
        loop.set_debug(True)
        assert loop.run_until_complete(ask()) == [f"GET /{number}" for number in range(30)]
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
