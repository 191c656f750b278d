"""litellm makes a client for each event loop. The pool's connections go from loop to loop, and nothing else does: what
a client has from its loop, its settings and its time stays there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from peers.scripted import Connection, ScriptedServer

_ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-mini",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


@pytest.fixture
def giving_cookies(serve: Callable[..., Any]) -> ScriptedServer:
    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            body = json.dumps(_ANSWER).encode()
            await connection.respond(body, "200 OK", "content-type: application/json", "set-cookie: crumb=1; path=/")

    server: ScriptedServer = serve(script)
    return server


async def _ask(litellm: Any, server: ScriptedServer, key: str = "sk-nothing") -> str:
    answer = await litellm.acompletion(
        model="openai/gpt-4o-mini",
        messages=[{"role": "user", "content": "again"}],
        api_base=f"{server.url}/v1",
        api_key=key,
        num_retries=0,
        max_retries=0,
    )
    return str(answer.choices[0].message.content)


def test_a_cookie_stays_in_the_loop_that_got_it(accelerated: Any, giving_cookies: ScriptedServer, carried: Any) -> None:
    async def twice() -> None:
        await _ask(accelerated, giving_cookies)
        await _ask(accelerated, giving_cookies)

    asyncio.run(twice())
    asyncio.run(twice())
    assert [request.header("cookie") for request in giving_cookies.requests] == [None, "crumb=1", None, "crumb=1"]
    assert giving_cookies.connections == 1
    assert carried.requests == 4


def test_a_tenants_cookie_stays_the_tenants(accelerated: Any, giving_cookies: ScriptedServer, carried: Any) -> None:
    async def tenants() -> None:
        for key in ("sk-a", "sk-b", "sk-a", "sk-b"):
            await _ask(accelerated, giving_cookies, key)

    asyncio.run(tenants())
    assert [request.header("cookie") for request in giving_cookies.requests] == [None, None, "crumb=1", "crumb=1"]
    assert giving_cookies.connections == 1
    assert carried.requests == 4


def test_a_mock_of_an_sdks_method_is_seen_in_a_loop_after_another(
    accelerated: Any, giving_cookies: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mocked(Exception):
        pass

    async def post(*_: Any, **__: Any) -> None:
        raise Mocked("no request")

    asyncio.run(_ask(accelerated, giving_cookies))
    # What every litellm calls in the end: older ones through `chat.completions`, which binds it at its first use.
    monkeypatch.setattr(openai.AsyncOpenAI, "post", post)
    with pytest.raises(openai.OpenAIError, match="no request"):
        asyncio.run(_ask(accelerated, giving_cookies))
    assert len(giving_cookies.requests) == 1


def test_settings_changed_between_two_runs_apply_in_the_second(
    accelerated: Any, giving_cookies: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(_ask(accelerated, giving_cookies))
    own = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=_ANSWER)))
    monkeypatch.setattr(accelerated, "aclient_session", own)
    assert asyncio.run(_ask(accelerated, giving_cookies)) == "hello"
    assert len(giving_cookies.requests) == 1


def test_closing_all_clients_at_the_end_of_a_run_does_the_next_no_harm(
    accelerated: Any, giving_cookies: ScriptedServer
) -> None:
    async def ask_and_close() -> str:
        said = await _ask(accelerated, giving_cookies)
        await accelerated.close_litellm_async_clients()
        return said

    for _ in range(3):
        assert asyncio.run(ask_and_close()) == "hello"
    assert giving_cookies.connections == 1
