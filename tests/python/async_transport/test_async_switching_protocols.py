"""Connections that are handed over to tasks, on every loop. (Other tests: blocking_transport/.)"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import httpcore
import httpx
import pytest

from fast_litellm import AsyncHTTPTransport
from peers.scripted import Connection, ScriptedServer
from support.backends import BACKENDS, nothing_unraisable, run

Serve = Callable[..., ScriptedServer]

UPGRADE = {"Connection": "Upgrade", "Upgrade": "shout"}


async def shout(connection: Connection) -> None:
    await connection.request()
    await connection.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: shout\r\n\r\nhello")
    while heard := await connection.receive():
        await connection.send(heard.upper())


@asynccontextmanager
async def _shouting(server: ScriptedServer) -> AsyncIterator[httpx.Response]:
    """A response whose connection was handed over, its greeting read."""
    async with (
        httpx.AsyncClient(transport=AsyncHTTPTransport(), timeout=20) as client,
        client.stream("GET", server.url, headers=UPGRADE) as response,
    ):
        assert await _read_exactly(response.extensions["network_stream"], 5) == b"hello"
        yield response


async def _read_exactly(stream: Any, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += (piece := await stream.read(65536, timeout=20))
        assert piece
    return data


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_task_reads_while_another_writes(backend: str, serve: Serve) -> None:
    server = serve(shout)
    data = bytes(range(256)) * 40_000  # more than the buffers on the way hold

    async def main() -> None:
        async with _shouting(server) as response:
            stream = response.extensions["network_stream"]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(stream.write, data)
                assert await _read_exactly(stream, len(data)) == data.upper()

    with nothing_unraisable():
        run(backend, main)
    server.wait_until(lambda counts: counts.open == 0, "the client close")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_task_that_is_cancelled_in_a_read_leaves_the_connection_in_use(backend: str, serve: Serve) -> None:
    server = serve(shout)

    async def main() -> None:
        async with _shouting(server) as response:
            stream = response.extensions["network_stream"]
            with anyio.move_on_after(0.01) as scope:
                await stream.read(100)
            assert scope.cancelled_caught
            with pytest.raises(httpcore.ReadTimeout):
                await stream.read(100, timeout=0.01)
            await stream.write(b"more")
            assert await _read_exactly(stream, 4) == b"MORE"

    with nothing_unraisable():
        run(backend, main)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("closes", ["stream", "response"])
def test_a_close_by_one_task_wakes_another_that_reads(backend: str, serve: Serve, closes: str) -> None:
    server = serve(shout)

    async def main() -> None:
        async with _shouting(server) as response:
            stream = response.extensions["network_stream"]

            async def read() -> None:
                with suppress(httpcore.ReadError):
                    assert await stream.read(100, timeout=20) == b""  # the end may be seen before the close
                with pytest.raises(httpcore.ReadError):
                    await stream.read(100, timeout=20)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                await anyio.wait_all_tasks_blocked()
                await (stream if closes == "stream" else response).aclose()
            with pytest.raises(httpcore.WriteError):
                await stream.write(b"x")

    with nothing_unraisable():
        run(backend, main)
    server.wait_until(lambda counts: counts.open == 0, "the client close")
