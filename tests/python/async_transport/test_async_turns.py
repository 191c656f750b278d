"""How tasks of one loop affect each other: no task sleeps for ever because another ended what it waits for, and no
task keeps the loop to itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import httpx
import pytest

from fast_litellm import AsyncHTTPTransport
from peers.scripted import Connection, Gate, ScriptedServer

LOOPS = ("asyncio", "trio")


def _run(test: Callable[[], Awaitable[None]], loop: str) -> None:
    if loop == "trio":
        pytest.importorskip("trio")
    anyio.run(test, backend=loop)


async def _half_an_answer(connection: Connection) -> None:
    await connection.request_head()
    await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
    await connection.client_closed()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_reader_of_a_response_that_another_task_closes_gets_an_error(loop: str) -> None:
    async def test() -> None:
        raised: list[Exception] = []

        async def read(response: httpx.Response, half: anyio.Event) -> None:
            try:
                async for _ in response.aiter_raw():
                    half.set()
            except httpx.ReadError as error:
                raised.append(error)

        transport = AsyncHTTPTransport()
        with ScriptedServer(_half_an_answer) as server, anyio.fail_after(20):
            async with httpx.AsyncClient(transport=transport, timeout=None) as client:
                response = await client.send(client.build_request("GET", server.url), stream=True)
                async with anyio.create_task_group() as tasks:
                    half = anyio.Event()
                    tasks.start_soon(read, response, half)
                    await half.wait()
                    await anyio.sleep(0)  # the reader waits again
                    await response.aclose()
                assert transport._pool.connections == []
        assert "closed by another task" in str(raised[0])

    _run(test, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_an_upload_that_never_waits_does_not_starve_other_tasks(loop: str) -> None:
    async def test() -> None:
        longest = 0
        since = 0  # pieces since the other task's last turn

        async def turn_after_turn() -> None:
            nonlocal since
            while True:
                since = 0
                await anyio.sleep(0)

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal longest, since
            for _ in range(200):
                since += 1
                longest = max(longest, since)
                yield b"x"

        async def script(connection: Connection) -> None:
            await connection.request()
            await connection.respond(b"done")
            await connection.client_closed()

        transport = AsyncHTTPTransport()
        with ScriptedServer(script) as server:
            async with httpx.AsyncClient(transport=transport, timeout=20) as client, anyio.create_task_group() as tasks:
                tasks.start_soon(turn_after_turn)
                assert (await client.post(server.url, content=pieces())).text == "done"
                tasks.cancel_scope.cancel()
        assert longest < 40

    _run(test, loop)


def test_a_buffer_that_was_sent_may_be_used_again_by_its_generator() -> None:
    async def test() -> None:
        async def pieces() -> AsyncIterator[bytes]:
            buffer = bytearray()
            for number in range(3):
                buffer += b"piece %d, " % number
                yield buffer  # type: ignore[misc]
                buffer.clear()

        async def script(connection: Connection) -> None:
            await connection.respond((await connection.request()).body)
            await connection.client_closed()

        with ScriptedServer(script) as server:
            async with httpx.AsyncClient(transport=AsyncHTTPTransport(), timeout=20) as client:
                assert (await client.post(server.url, content=pieces())).text == "piece 0, piece 1, piece 2, "

    anyio.run(test)


def test_a_response_can_be_read_after_its_loop_was_closed() -> None:
    gate = Gate()

    async def script(connection: Connection) -> None:
        await connection.request_head()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf")
        await gate.passed()
        await connection.send(b"rest")
        await connection.client_closed()

    async def begin() -> httpx.Response:
        return await client.send(client.build_request("GET", server.url), stream=True)

    async def end() -> bytes:
        other = await client.send(client.build_request("GET", server.url), stream=True)  # closed loops are given up now
        gate.open()
        await other.aclose()
        return await response.aread()

    client = httpx.AsyncClient(transport=AsyncHTTPTransport(), timeout=20)
    with ScriptedServer(script) as server:
        loop = asyncio.new_event_loop()
        response = loop.run_until_complete(begin())
        loop.close()
        assert asyncio.run(end()) == b"halfrest"
