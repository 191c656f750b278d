"""A response's stream that other code has put something around: what reads it is asked for every piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from fast_litellm import accelerate
from peers.scripted import ScriptedServer, serve_ok


class _Upper(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Changes each piece, and passes on all that it has not itself, as tracers' wrappers do."""

    def __init__(self, stream: Any) -> None:
        self._wrapped = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._wrapped:
            yield piece.upper()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._wrapped:
            yield piece.upper()

    def close(self) -> None:
        self._wrapped.close()

    async def aclose(self) -> None:
        await self._wrapped.aclose()


def _wrap_within(response: httpx.Response) -> None:
    bound: Any = response.stream
    bound._stream = _Upper(bound._stream)


async def _wrap_within_async(response: httpx.Response) -> None:
    _wrap_within(response)


def _by_transport(client: Any) -> None:
    send = client._transport.handle_request

    def handle_request(request: httpx.Request) -> httpx.Response:
        response: httpx.Response = send(request)
        response.stream = _Upper(response.stream)
        return response

    client._transport.handle_request = handle_request


@pytest.mark.parametrize("fast", [False, True], ids=["stock", "accelerated"])
@pytest.mark.parametrize("where", ["a hook", "the transport"])
def test_what_is_around_the_stream_makes_the_content(where: str, fast: bool) -> None:
    with ScriptedServer(serve_ok) as server, httpx.Client(trust_env=False, verify=False) as client:
        if fast:
            accelerate(client)
        if where == "a hook":
            client.event_hooks["response"] = [_wrap_within]
        else:
            _by_transport(client)
        assert client.get(f"{server.url}/abc").text == "GET /ABC"
        with client.stream("GET", f"{server.url}/abc") as response:
            assert response.read() == b"GET /ABC"


@pytest.mark.parametrize("fast", [False, True], ids=["stock", "accelerated"])
def test_what_is_around_the_stream_makes_the_content_that_is_awaited(fast: bool) -> None:
    async def content(url: str) -> str:
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:
            if fast:
                accelerate(client)
            client.event_hooks["response"] = [_wrap_within_async]
            return (await client.get(url)).text

    with ScriptedServer(serve_ok) as server:
        assert asyncio.run(content(f"{server.url}/abc")) == "GET /ABC"
