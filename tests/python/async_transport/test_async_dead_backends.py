"""Dials that refuse or never answer, seen from an event loop."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import httpx
import pytest

from async_transport.conftest import MakeAsyncClient
from fast_litellm import SimpleConnectionPool
from peers.scripted import ScriptedServer, serve_ok
from support.addresses import attempts_at, refusing_port, silent_port
from support.backends import until

Serve = Callable[..., ScriptedServer]


async def test_each_of_many_tasks_at_a_dead_backend_gets_the_error(make_async_client: MakeAsyncClient) -> None:
    client = make_async_client()
    url = f"http://127.0.0.1:{refusing_port()}/"
    reported: list[type[BaseException]] = []

    async def ask() -> None:
        for _ in range(3):
            try:
                await client.get(url)
            except httpx.HTTPError as error:
                reported.append(type(error))

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(ask)
    assert reported == [httpx.ConnectError] * 300


async def test_a_dial_that_was_cancelled_makes_room_at_once_for_another_origin(
    make_async_client: MakeAsyncClient, new_pool: Callable[..., SimpleConnectionPool], serve: Serve
) -> None:
    client = make_async_client(pool=new_pool(max_connections=1))
    server = serve(serve_ok)
    with silent_port() as port:
        await _cancelled_in_connect(client, port)
        answer = await client.get(server.url, timeout=httpx.Timeout(20, pool=0.001))
        assert answer.status_code == 200
        await until(lambda: attempts_at(port) == 0, "the end of the dial")


async def test_a_dial_that_was_cancelled_makes_room_at_once_for_the_same_origin(
    make_async_client: MakeAsyncClient, new_pool: Callable[..., SimpleConnectionPool]
) -> None:
    client = make_async_client(pool=new_pool(max_connections=1))
    with silent_port() as port:
        await _cancelled_in_connect(client, port)
        with pytest.raises(httpx.ConnectTimeout):  # not PoolTimeout
            await client.get(f"http://127.0.0.1:{port}/", timeout=httpx.Timeout(20, pool=0.001, connect=0.05))


async def _cancelled_in_connect(client: httpx.AsyncClient, port: int) -> None:
    async def ask() -> None:
        await client.get(f"http://127.0.0.1:{port}/", timeout=httpx.Timeout(20, connect=60))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await until(lambda: attempts_at(port) == 1, "the attempt to connect")
        group.cancel_scope.cancel()
