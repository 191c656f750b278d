"""Cancelled at any await, by every means: no lease is lost, and no connection with half a response is used again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

import anyio
import httpx
import pytest

from async_transport.conftest import STOCK, MakeAsyncClient, leases, waiters
from async_transport.waits import WAITS, a_wait, an_address_that_does_not_answer
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok
from support.backends import ASYNCIO_BACKENDS, BACKENDS, until
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]
#: Makes a request, waits until it waits where it shall, ends it there.
End = Callable[[Callable[[], Awaitable[None]], Callable[[], bool]], Awaitable[None]]


async def _by_task_cancel(request: Callable[[], Awaitable[None]], reached: Callable[[], bool]) -> None:
    task = asyncio.ensure_future(request())
    await until(lambda: task.done() or reached())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _by_wait_for(request: Callable[[], Awaitable[None]], reached: Callable[[], bool]) -> None:
    for patience in (0.02, 0.2, 2.0, 10.0):  # as long as it takes to get there
        was_there = False

        async def watch() -> None:
            nonlocal was_there
            while not (was_there := reached()):
                await asyncio.sleep(0.001)

        watching = asyncio.ensure_future(watch())
        with pytest.raises((asyncio.TimeoutError, TimeoutError)):
            await asyncio.wait_for(request(), patience)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        if was_there:
            return
    raise AssertionError("the request never waited where it shall")


async def _by_timeout(request: Callable[[], Awaitable[None]], reached: Callable[[], bool]) -> None:
    async def expire(timeout: asyncio.Timeout) -> None:
        await until(reached)
        timeout.reschedule(asyncio.get_running_loop().time())

    with pytest.raises(TimeoutError):  # noqa: PT012
        async with asyncio.timeout(None) as timeout:
            expiring = asyncio.ensure_future(expire(timeout))
            await request()
    await expiring


async def _by_task_group(request: Callable[[], Awaitable[None]], reached: Callable[[], bool]) -> None:
    async def fail() -> None:
        await until(reached)
        raise ZeroDivisionError

    with pytest.raises(BaseExceptionGroup) as caught:  # noqa: F821, PT012
        async with asyncio.TaskGroup() as group:
            group.create_task(request())  # type: ignore[arg-type]
            group.create_task(fail())
    assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]


async def _by_cancel_scope(request: Callable[[], Awaitable[None]], reached: Callable[[], bool]) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(request)
        await until(reached)
        group.cancel_scope.cancel()


async def _by_deadline(request: Callable[[], Awaitable[None]], reached: Callable[[], bool]) -> None:
    async def expire() -> None:
        await until(reached)
        scope.deadline = anyio.current_time()

    async with anyio.create_task_group() as group:
        with anyio.move_on_after(None) as scope:
            group.start_soon(expire)
            await request()
    assert scope.cancelled_caught


async def _by_trios_own(request: Callable[[], Awaitable[None]], reached: Callable[[], bool]) -> None:
    import trio

    async with trio.open_nursery() as nursery:
        nursery.start_soon(request)
        await until(reached)
        nursery.cancel_scope.cancel()


MEANS: list[tuple[str, End]] = [
    *(
        (backend, means)
        for backend in ASYNCIO_BACKENDS
        for means in (_by_task_cancel, _by_wait_for, _by_timeout, _by_task_group, _by_cancel_scope, _by_deadline)
        if sys.version_info >= (3, 11) or means not in (_by_timeout, _by_task_group)
    ),
    ("trio", _by_cancel_scope),
    ("trio", _by_deadline),
    ("trio", _by_trios_own),
]


def _name(value: object) -> str:
    return str(getattr(value, "__name__", value)).removeprefix("_by_")


#: Every place by one means on each loop, every means at three places.
ENDS = [
    *((backend, _by_cancel_scope, name) for name in WAITS for backend in BACKENDS),
    *((backend, means, name) for backend, means in MEANS for name in ("head, plain", "body, tls", "write, plain")),
]


@pytest.mark.parametrize(
    ("backend", "means", "name"),
    dict.fromkeys(ENDS),
    ids=_name,
)
async def test_a_request_cancelled_while_it_waits_holds_no_connection(
    make_async_client: MakeAsyncClient, certificates: Certificates, name: str, means: End
) -> None:
    client = make_async_client(timeout=None)
    with a_wait(name, certificates) as wait:

        async def request() -> None:
            await wait(client)

        await means(request, wait.reached)
        assert leases(client) == 0
        assert waiters(client) == 0
        if wait.sent:
            response = await client.get(f"{wait.server.url}/next", timeout=20)
            assert response.text == "next"
            assert wait.carried
            assert wait.next_on not in wait.carried, "the connection of the cancelled request was used again"


@pytest.mark.parametrize(("backend", "means"), MEANS, ids=_name)
async def test_a_request_cancelled_while_it_connects_holds_no_connection(
    make_async_client: MakeAsyncClient, means: End
) -> None:
    client = make_async_client(timeout=None)
    with an_address_that_does_not_answer() as (url, connecting):

        async def request() -> None:
            await client.get(url)

        await means(request, connecting)
        assert leases(client) == 0
        assert waiters(client) == 0


@pytest.mark.parametrize(("backend", "means"), MEANS, ids=_name)
async def test_a_request_cancelled_in_the_queue_leaves_it_and_the_others_stay(
    make_async_client: MakeAsyncClient, serve: Serve, means: End
) -> None:
    client = make_async_client(timeout=None, limits=httpx.Limits(max_connections=1))
    server = serve(serve_ok)
    answers: list[str] = []

    async def get(path: str) -> None:
        answers.append((await client.get(server.url + path)).text)

    async def queue_up(path: str) -> None:
        earlier = waiters(client)
        group.start_soon(get, path)
        await until(lambda: waiters(client) == earlier + 1, "the request in the queue")

    async with anyio.create_task_group() as group, client.stream("GET", f"{server.url}/held"):
        await queue_up("/before")
        await means(lambda: get("/cancelled"), lambda: waiters(client) == 2)
        assert waiters(client) == 1
        await queue_up("/after")
    assert answers == ["GET /before", "GET /after"]
    assert [request.target for request in server.requests] == ["/held", "/before", "/after"]


async def test_a_request_cancelled_before_it_began_sends_nothing(async_client: httpx.AsyncClient, serve: Serve) -> None:
    server = serve(serve_ok)
    await async_client.get(f"{server.url}/warm")
    for path in ("/cancelled", "/cancelled too"):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.sleep(0)
            await async_client.get(server.url + path)
    assert (await async_client.get(f"{server.url}/next")).text == "GET /next"
    assert [request.target for request in server.requests] == ["/warm", "/next"]


async def test_a_connection_made_for_a_cancelled_request_serves_the_next(
    make_async_client: MakeAsyncClient, serve: Serve, certificates: Certificates
) -> None:
    """The waiter at the head of the queue is cancelled in the very moment in which a connection is handed to it."""
    client = make_async_client(timeout=None, limits=httpx.Limits(max_connections=1))
    server = serve(serve_ok, tls=certificates.server)
    for turn in range(20):
        answers: list[str] = []

        async def get(answers: list[str], path: str) -> None:
            answers.append((await client.get(server.url + path)).text)

        async with anyio.create_task_group() as others, anyio.create_task_group() as cancelled:
            async with client.stream("GET", server.url) as response:
                cancelled.start_soon(get, [], "/cancelled")
                await until(lambda: waiters(client) == 1)
                others.start_soon(get, answers, f"/{turn}")
                await until(lambda: waiters(client) == 2)
                await response.aread()
            # Returned with the last byte: the first waiter has been served, and has not run since.
            cancelled.cancel_scope.cancel()
        assert answers == [f"GET /{turn}"]
        assert leases(client) == 0


@pytest.mark.parametrize("backend", ASYNCIO_BACKENDS)
async def test_a_response_that_arrives_with_the_cancellation_leaks_nothing(
    async_client: httpx.AsyncClient, serve: Serve, backend: str
) -> None:
    answer = Gate()
    sent = 0

    async def script(connection: Connection) -> None:
        nonlocal sent
        while True:
            request = await connection.request()
            if request.target == "/cancelled":
                await answer.passed()
            await connection.respond(request.target.encode())
            sent += 1

    server = serve(script)
    tasks = [asyncio.ensure_future(async_client.get(f"{server.url}/cancelled")) for _ in range(10)]
    await until(lambda: len(server.requests) == 10)
    answer.open()
    while sent < 10:  # the loop does not turn meanwhile: all answers are there when it does
        pass
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert leases(async_client) == 0
    for number in range(20):
        assert (await async_client.get(f"{server.url}/{number}")).text == f"/{number}"


@pytest.mark.skipif(STOCK, reason="case: httpx loses connections now and then")
async def test_requests_cancelled_at_any_moment_leak_no_connection(
    make_async_client: MakeAsyncClient, serve: Serve, certificates: Certificates
) -> None:
    """Cancelled after 0, 1, 2, ... turns of the loop, over one connection."""
    client = make_async_client(timeout=None, limits=httpx.Limits(max_connections=1))
    server = serve(serve_ok, tls=certificates.server)
    for turns in range(120):
        async with anyio.create_task_group() as group:
            group.start_soon(client.get, f"{server.url}/cancelled")
            for _ in range(turns % 40):
                await anyio.sleep(0)
            group.cancel_scope.cancel()
        assert leases(client) == 0, f"after {turns} turns"
        if turns % 5 == 0:
            assert (await client.get(f"{server.url}/{turns}", timeout=20)).text == f"GET /{turns}"


@pytest.mark.parametrize("place", ["head, plain", "body, tls", "write of an iterator, plain"])
async def test_a_shield_keeps_a_request_going(
    make_async_client: MakeAsyncClient, serve: Serve, certificates: Certificates, place: str
) -> None:
    client = make_async_client()
    server = serve(serve_ok)
    with a_wait(place, certificates) as wait:
        shielded: list[str] = []

        async def request() -> None:
            with anyio.CancelScope(shield=True):
                shielded.append((await client.get(f"{server.url}/shielded")).text)
            await wait(client)

        async with anyio.create_task_group() as group:
            group.start_soon(request)
            group.cancel_scope.cancel()
        assert shielded == ["GET /shielded"]
        assert leases(client) == 0
