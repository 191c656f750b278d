"""What one task does to the loop or to its neighbours leaves no other task asleep.

Each test lets several answers come while the loop stands, so that all are ready in one turn.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import anyio
import httpx
import pytest

from async_transport.conftest import STOCK, MakeAsyncClient, leases
from peers import child
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok
from support.backends import ASYNCIO_BACKENDS, complaints_of, end, new_loop, until
from support.certificates import Certificates
from support.sockets import sockets_to

Serve = Callable[..., ScriptedServer]
TASKS = 8


class Together:
    """A server that answers on a signal; `answer` blocks until all the answers have come to this process."""

    def __init__(self, serve: Serve, certificates: Certificates, tls: bool = False) -> None:
        self._gate = Gate()
        self.server = serve(self._script, tls=certificates.server if tls else None)

    async def _script(self, connection: Connection) -> None:
        request = await connection.request()
        await self._gate.passed()
        await connection.respond(request.target.encode())
        await connection.client_closed()

    @property
    def url(self) -> str:
        return self.server.url

    async def asked(self) -> None:
        await until(lambda: len(self.server.requests) == TASKS, "all requests")

    def answer(self) -> None:
        self._gate.open()
        end = time.monotonic() + 20
        while sum(1 for one in sockets_to(self.server.port) if one.unread > 0) < TASKS:
            assert time.monotonic() < end, "the answers never came"


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def together(request: pytest.FixtureRequest, serve: Serve, certificates: Certificates) -> Together:
    return Together(serve, certificates, request.param)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("backend", ASYNCIO_BACKENDS)
def test_a_task_that_stops_the_loop_leaves_the_other_tasks_to_its_next_run(
    make_async_client: MakeAsyncClient, together: Together, backend: str, error: type[BaseException]
) -> None:
    client = make_async_client(timeout=None)

    async def get(number: int) -> str:
        text = (await client.get(f"{together.url}/{number}")).text
        if number in (0, 3):
            raise error
        return text

    with complaints_of(new_loop(backend)) as loop:
        tasks = [loop.create_task(get(number)) for number in range(TASKS)]
        loop.run_until_complete(together.asked())
        together.answer()
        ended = 0
        while not all(task.done() for task in tasks):
            try:
                loop.run_until_complete(asyncio.wait(tasks, timeout=20))
            except error:
                ended += 1  # each of the two ends a run; on uvloop both the same one
            else:
                assert all(task.done() for task in tasks), "a task is still asleep"
        assert 1 <= ended <= 2
        assert [type(tasks[number].exception()) for number in (0, 3)] == [error] * 2
        answers = {number: task.result() for number, task in enumerate(tasks) if not task.exception()}
        assert answers == {number: f"/{number}" for number in range(TASKS) if number not in (0, 3)}
        loop.run_until_complete(client.aclose())
        end(loop)


async def test_a_task_that_closes_another_tasks_response_leaves_no_task_asleep(
    async_client: httpx.AsyncClient, serve: Serve
) -> None:
    go_on = Gate()
    sent = 0

    async def script(connection: Connection) -> None:
        nonlocal sent
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf")
        await go_on.passed()
        await connection.send(b"more")
        sent += 1
        await connection.client_closed()

    server = serve(script)
    responses = [
        await async_client.send(async_client.build_request("GET", server.url), stream=True) for _ in range(TASKS)
    ]
    ends: dict[int, object] = {}
    reading: set[int] = set()

    async def read(number: int) -> None:
        neighbour = responses[(number + 1) % TASKS]
        body = b""
        try:
            async for piece in responses[number].aiter_raw():
                if piece == b"half":
                    reading.add(number)
                body += piece
                if b"more" in body:
                    await neighbour.aclose()
            ends[number] = body
        except (httpx.TransportError, httpx.StreamError) as error:
            ends[number] = error

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            for number in range(TASKS):
                group.start_soon(read, number)
            await until(lambda: len(reading) == TASKS)
            go_on.open()
            while sent < TASKS:  # the loop stands meanwhile
                pass
    assert len(ends) == TASKS
    assert b"halfmore" in ends.values()
    for response in responses:
        await response.aclose()
    assert leases(async_client) == 0


async def test_a_task_that_cancels_other_tasks_leaves_no_task_asleep(
    make_async_client: MakeAsyncClient, together: Together
) -> None:
    client = make_async_client(timeout=None)
    scopes = [anyio.CancelScope() for _ in range(TASKS)]
    ended: set[int] = set()

    async def get(number: int) -> None:
        with scopes[number]:
            await client.get(f"{together.url}/{number}")
            for other in range(TASKS):
                if other != number:
                    scopes[other].cancel()
        ended.add(number)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            for number in range(TASKS):
                group.start_soon(get, number)
            await together.asked()
            together.answer()
    assert ended == set(range(TASKS))
    assert leases(client) == 0


@pytest.mark.skipif(STOCK, reason="case: httpx refuses to close a pool with requests in flight")
async def test_a_task_that_closes_the_client_leaves_no_task_asleep(
    make_async_client: MakeAsyncClient, together: Together
) -> None:
    client = make_async_client(timeout=None)
    ends: list[object] = []

    async def get(number: int) -> None:
        try:
            ends.append((await client.get(f"{together.url}/{number}")).text)
            await client.aclose()
        except (httpx.TransportError, RuntimeError) as error:
            ends.append(error)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            for number in range(TASKS):
                group.start_soon(get, number)
            await together.asked()
            together.answer()
    assert len(ends) == TASKS
    assert any(isinstance(one, str) for one in ends)
    assert leases(client) == 0


async def test_a_task_may_make_another_request_as_soon_as_it_wakes(
    make_async_client: MakeAsyncClient, together: Together, serve: Serve
) -> None:
    client = make_async_client(timeout=20)
    other = serve(serve_ok)
    answers: list[str] = []

    async def get(number: int) -> None:
        await client.get(f"{together.url}/{number}")
        answers.append((await client.get(f"{other.url}/{number}")).text)

    async with anyio.create_task_group() as group:
        for number in range(TASKS):
            group.start_soon(get, number)
        await together.asked()
        together.answer()
    assert sorted(answers) == [f"GET /{number}" for number in range(TASKS)]


async def test_every_task_wakes_in_its_own_context(make_async_client: MakeAsyncClient, together: Together) -> None:
    client = make_async_client(timeout=20)
    mine: ContextVar[int] = ContextVar("mine")
    wrong: list[int] = []

    async def get(number: int) -> None:
        mine.set(number)
        async with client.stream("GET", f"{together.url}/{number}") as response:
            if mine.get() != number:
                wrong.append(number)
            async for _ in response.aiter_raw():
                if mine.get() != number:
                    wrong.append(number)
        if mine.get() != number:
            wrong.append(number)

    async with anyio.create_task_group() as group:
        for number in range(TASKS):
            group.start_soon(get, number)
        await together.asked()
        together.answer()
    assert wrong == []


@pytest.mark.parametrize("backend", ASYNCIO_BACKENDS)
async def test_a_resumed_task_is_the_current_task(
    make_async_client: MakeAsyncClient, together: Together, backend: str
) -> None:
    client = make_async_client(timeout=20)

    async def get(number: int) -> bool:
        task = asyncio.current_task()
        same = True
        async with client.stream("GET", f"{together.url}/{number}") as response:
            same &= asyncio.current_task() is task
            async for _ in response.aiter_raw():
                same &= asyncio.current_task() is task
        return same and asyncio.current_task() is task

    tasks = [asyncio.ensure_future(get(number)) for number in range(TASKS)]
    await together.asked()
    together.answer()
    assert await asyncio.gather(*tasks) == [True] * TASKS


async def test_a_task_that_requests_without_pause_does_not_starve_other_tasks(
    async_client: httpx.AsyncClient, serve: Serve
) -> None:
    server = serve(serve_ok)
    stop = False

    async def ask() -> None:
        while not stop:
            await async_client.get(server.url)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask)
        for _ in range(50):
            await anyio.sleep(0)
        assert (await async_client.get(f"{server.url}/me too")).status_code == 200
        stop = True


def _python_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **given: Any) -> asyncio.Task[Any]:
    """A task that is written in Python, as debuggers and patched loops have them."""
    task: asyncio.Task[Any] = asyncio.tasks._PyTask(coroutine, loop=loop, **given)  # type: ignore[attr-defined]
    return task


def test_tasks_written_in_python_wake_and_are_cancelled_alike(make_async_client: MakeAsyncClient, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        while True:
            request = await connection.request()
            if request.target == "/never":
                await connection.client_closed()
                return
            await connection.respond(request.target.encode())

    server = serve(script)
    client = make_async_client(timeout=None)

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(_python_task)
        never = asyncio.ensure_future(client.get(f"{server.url}/never"))
        answers = await asyncio.gather(*(client.get(f"{server.url}/{number}") for number in range(8)))
        assert [answer.text for answer in answers] == [f"/{number}" for number in range(8)]
        await until(lambda: any(request.target == "/never" for request in server.requests))
        never.cancel("enough")
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await never
        if sys.version_info >= (3, 11):  # before, a task loses the message
            assert str(cancelled.value) == "enough"
        await client.aclose()

    asyncio.run(main())
    assert leases(client) == 0


def test_a_task_that_has_just_been_woken_may_nest_another_run_of_its_loop(serve: Serve) -> None:
    """nest_asyncio allows this in notebooks."""
    server = serve(serve_ok)
    done = child.run(
        """
        import asyncio, sys, httpx, nest_asyncio
        from fast_litellm import AsyncHTTPTransport

        url = sys.argv[1]

        async def get(client, number, depth):
            response = await client.get(f"{url}/{number}")
            if depth > 0:
                nested = asyncio.gather(*(get(client, 10 * number + more, depth - 1) for more in range(3)))
                assert len(asyncio.get_running_loop().run_until_complete(nested)) == 3
            return response.text

        async def main():
            async with httpx.AsyncClient(transport=AsyncHTTPTransport(), timeout=20) as client:
                print(await get(client, 1, 0))
                print(*(await asyncio.gather(*(get(client, number, 2) for number in range(10)))))

        # Before the loop runs: a round of an unpatched loop does not expect a nested one to empty its queue.
        nest_asyncio.apply()
        asyncio.run(main())
        """,
        server.url,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n")[:2] == ["GET /1", " ".join(f"GET /{number}" for number in range(10))]
