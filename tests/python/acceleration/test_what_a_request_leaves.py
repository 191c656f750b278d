"""A request of an accelerated client leaves no objects for the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from fast_litellm import accelerate
from peers.scripted import Connection, ScriptedServer

BODY = b"data: one\n\ndata: two\n\n"


async def _script(connection: Connection) -> None:
    while True:
        await connection.request()
        await connection.respond(BODY)


@contextmanager
def _without_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _client() -> httpx.Client:
    return accelerate(httpx.Client(trust_env=False, verify=False))


def _async_client() -> httpx.AsyncClient:
    return accelerate(httpx.AsyncClient(trust_env=False, verify=False))


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_response_is_freed_with_its_last_reference(streamed: bool) -> None:
    with ScriptedServer(_script) as server, _client() as client, _without_collections():
        if streamed:
            with client.stream("GET", server.url) as response:
                assert list(response.iter_lines()) == ["data: one", "", "data: two", ""]
        else:
            response = client.get(server.url)
            assert response.content == BODY
        gone = weakref.ref(response)
        del response
        assert gone() is None


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_response_that_was_awaited_is_freed_with_its_last_reference(streamed: bool) -> None:
    async def main(url: str) -> None:
        async with _async_client() as client:
            with _without_collections():
                if streamed:
                    async with client.stream("GET", url) as response:
                        assert [line async for line in response.aiter_lines()] == ["data: one", "", "data: two", ""]
                else:
                    response = await client.get(url)
                    assert response.content == BODY
                gone = weakref.ref(response)
                del response
                assert gone() is None

    with ScriptedServer(_script) as server:
        asyncio.run(main(server.url))


def test_a_stream_that_outlives_its_response_can_be_read_and_closed() -> None:
    """A proxy that forwards only the stream does this."""
    with ScriptedServer(_script) as server, _client() as client:
        stream = client.send(client.build_request("GET", server.url), stream=True).stream
        assert isinstance(stream, httpx.SyncByteStream)
        assert b"".join(stream) == BODY
        stream.close()


def test_closing_a_response_sets_its_elapsed_time() -> None:
    with ScriptedServer(_script) as server, _client() as client:
        response = client.get(server.url)
        taken = response.elapsed
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream.close()  # once more: httpx measures again
        assert response.elapsed > taken
