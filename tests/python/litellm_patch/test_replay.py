"""litellm replays a request on RemoteProtocolError and on ConnectError. A POST that a server may have seen raises
neither: it is sent once, whatever way the server goes away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from peers.scripted import Connection, ScriptedServer

Serve = Callable[..., ScriptedServer]

COMPLETION = (
    b'{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop",'
    b'"message":{"role":"assistant","content":"ok"}}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
)


async def close(connection: Connection) -> None:
    """Says goodbye and no more."""


async def reset(connection: Connection) -> None:
    connection.reset()


async def close_in_the_head(connection: Connection) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\ncontent-le")


async def close_in_the_body(connection: Connection) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")


WAYS = [close, reset, close_in_the_head, close_in_the_body]


def going_away(way: Callable[[Connection], Any], after: int) -> Callable[[Connection], Any]:
    """A script that answers `after` requests of a connection, reads one more, and goes away in that way."""

    async def script(connection: Connection) -> None:
        for _ in range(after):
            await connection.request()
            await connection.respond(COMPLETION, "200 OK", "content-type: application/json")
        await connection.request()
        await way(connection)

    return script


@pytest.mark.parametrize("after", [0, 1], ids=["fresh connection", "used connection"])
@pytest.mark.parametrize("way", WAYS)
def test_a_handler_of_litellm_posts_once(
    way: Any, after: int, accelerated: Any, mode: Any, serve: Serve, carried: Any
) -> None:
    server = serve(going_away(way, after))
    handler = mode.handler(accelerated)
    for _ in range(after):
        mode.do(handler.post(f"{server.url}/x", json={"number": "before"}))
    with pytest.raises(httpx.NetworkError):
        mode.do(handler.post(f"{server.url}/x", json={"number": "once"}))
    assert len(server.requests) == after + 1
    assert carried.requests >= after
    mode.do(handler.close())


@pytest.mark.parametrize("model", ["openai/m", "hosted_vllm/m"])
@pytest.mark.parametrize("way", WAYS)
def test_a_completion_without_retries_is_asked_for_once(
    model: str, way: Any, accelerated: Any, complete: Callable[..., Any], serve: Serve
) -> None:
    server = serve(going_away(way, 1))
    base = f"{server.url}/v1"
    assert complete(accelerated, model=model, api_base=base).choices[0].message.content == "ok"
    with pytest.raises((accelerated.APIConnectionError, accelerated.InternalServerError, accelerated.APIError)):
        complete(accelerated, model=model, api_base=base)
    assert len(server.requests) == 2


@pytest.mark.parametrize("way", WAYS)
def test_the_sdk_alone_without_retries_posts_once(way: Any, accelerated: Any, mode: Any, serve: Serve) -> None:
    server = serve(going_away(way, 1))
    client = mode.openai(base_url=f"{server.url}/v1", api_key="sk-nothing", max_retries=0)

    def ask() -> Any:
        return mode.do(client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}]))

    assert ask().choices[0].message.content == "ok"
    with pytest.raises(Exception, match=r".") as raised:
        ask()
    assert isinstance(raised.value, (httpx.NetworkError, openai.APIConnectionError))
    assert len(server.requests) == 2
    mode.do(client.close())


def test_litellm_may_send_a_request_again_that_was_never_sent(
    accelerated: Any, mode: Any, unused_port: int, reported: Any
) -> None:
    """Connecting failed: ConnectError, as httpx says it, on which litellm tries once more with a new client."""
    handler = mode.handler(accelerated)
    with pytest.raises(httpx.ConnectError):
        mode.do(handler.post(f"http://127.0.0.1:{unused_port}/x", json={}))
    assert reported.accelerated >= 1
    mode.do(handler.close())
