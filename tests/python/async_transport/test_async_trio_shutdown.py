"""Once its main task has ended, trio cancels its system tasks, including the pool's, while shielded tasks continue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import pytest

from async_transport.conftest import STOCK, MakeAsyncClient, leases, waiters
from fast_litellm.exceptions import cannot_watch
from fast_litellm.runtime.event_loops import event_loop
from peers.scripted import Connection, Gate, ScriptedServer
from support.backends import until

Serve = Callable[..., ScriptedServer]

trio = pytest.importorskip("trio")


def _run(shielded: Callable[[], Awaitable[None]], begun: Callable[[], bool], ending: Callable[[], None]) -> None:
    """Runs it in a system task until its end; `ending` is called when trio ends the system tasks."""

    async def system_task() -> None:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 20) as scope:
            await shielded()
        assert not scope.cancelled_caught, "it is over in time"

    async def another() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ending()

    async def main() -> None:
        trio.lowlevel.spawn_system_task(system_task)
        trio.lowlevel.spawn_system_task(another)
        await until(begun)

    trio.run(main)


@pytest.mark.parametrize("place", ["head", "body", "queue"])
def test_a_shielded_request_is_served_to_its_end(make_async_client: MakeAsyncClient, serve: Serve, place: str) -> None:
    ending = Gate()
    queued = int(place == "queue")

    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            if place == "body":
                await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nte")
            await ending.passed()
            await connection.send(b"xt" if place == "body" else b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ntext")

    client = make_async_client(timeout=None, limits=httpx.Limits(max_connections=1))
    server = serve(script)
    texts: list[str] = []

    async def get() -> None:
        texts.append((await client.get(server.url)).text)

    async def requests() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(1 + queued):
                nursery.start_soon(get)
        await get()  # begun while trio ends

    _run(requests, lambda: len(server.requests) == 1 and waiters(client) == queued, ending.open)
    assert texts == ["text"] * (2 + queued)
    trio.run(client.aclose)


def test_a_shielded_request_that_is_cancelled_lets_trio_end(make_async_client: MakeAsyncClient, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.client_closed()

    client = make_async_client(timeout=None)
    server = serve(script)
    scope = trio.CancelScope(shield=True)

    async def request() -> None:
        with scope:
            await client.get(server.url)

    _run(request, lambda: len(server.requests) == 1, scope.cancel)
    assert scope.cancelled_caught
    assert leases(client) == 0
    server.wait_until(lambda counts: counts.open == 0, "the client close")
    trio.run(client.aclose)


@pytest.mark.skipif(STOCK, reason="case: httpx has no loop's side of its own")
def test_a_task_that_waits_when_the_system_task_ends_gets_an_error(
    make_async_client: MakeAsyncClient, serve: Serve
) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.client_closed()

    client = make_async_client(timeout=None, limits=httpx.Limits(max_connections=1))
    server = serve(script)
    errors: list[str] = []

    async def get() -> None:
        with pytest.raises(httpx.ReadError) as caught:
            await client.get(server.url)
        errors.append(str(caught.value))

    async def main() -> None:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(get)
                nursery.start_soon(get)
                await until(lambda: len(server.requests) == 1 and waiters(client) == 1)
                event_loop(cannot_watch).close()

    trio.run(main)
    assert len(errors) == 2
    assert all("event loop" in error for error in errors)
    assert leases(client) == 0
    trio.run(client.aclose)
