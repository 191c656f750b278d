"""NTLM through accelerated clients: the connections of one user serve that user alone, as with stock httpx."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from fast_litellm import accelerate
from peers.ntlm import Ntlm, authenticate_connections
from peers.scripted import ScriptedServer


class Client:
    """An httpx client of either kind, called without `await`."""

    def __init__(self, client: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop

    def get(self, url: str, **arguments: Any) -> httpx.Response:
        answer: Any = self._client.get(url, **arguments)
        if isinstance(self._client, httpx.AsyncClient):
            answer = self._loop.run_until_complete(answer)
        assert isinstance(answer, httpx.Response)
        return answer

    def close(self) -> None:
        if isinstance(self._client, httpx.AsyncClient):
            self._loop.run_until_complete(self._client.aclose())
        else:
            self._client.close()


@pytest.mark.parametrize("quick", [False, True], ids=["stock", "accelerated"])
def test_a_login_serves_its_own_client_alone(
    make_client: Callable[..., Any], serve: Callable[..., ScriptedServer], quick: bool
) -> None:
    server = serve(authenticate_connections)
    loop = asyncio.new_event_loop()
    clients = [Client(accelerate(made) if quick else made, loop) for made in (make_client() for _ in range(3))]
    first, second, nameless = clients
    try:
        answers = [
            first.get(server.url, auth=Ntlm("first")),
            nameless.get(server.url),
            second.get(server.url, auth=Ntlm("second")),
            first.get(server.url),
            nameless.get(server.url),
            second.get(server.url),
        ]
        seen = [answer.text.partition(" ")[0] or str(answer.status_code) for answer in answers]
        assert seen == ["first", "401", "second", "first", "401", "second"]
    finally:
        for client in clients:
            client.close()
        loop.close()
