"""litellm's calls go through the pool, and look no different for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

import fast_litellm
from fast_litellm.server import EmbeddedServer
from support.addresses import refusing_port

Through = Callable[[Any], bool]


def test_a_completion_is_answered_through_the_pool(
    accelerated: Any, complete: Callable[..., Any], reported: Any, counted: Any, carried: Any
) -> None:
    for number in range(5):
        answer = complete(accelerated, f"text {number}")
        assert answer.choices[0].message.content == f"text {number}"
    assert reported.accelerated >= 1
    assert reported.stock_requests == {}
    assert counted.requests == carried.requests == 5
    assert counted.connections <= 1  # 0: the pool still had one


def test_two_clients_share_the_pools_connections(
    accelerated: Any, complete: Callable[..., Any], counted: Any, openai_server: Any, mode: Any
) -> None:
    """Stock httpx gives each client its own."""
    complete(accelerated, timeout=20)
    complete(accelerated, timeout=21)  # another timeout is another client in litellm's cache
    handler = mode.handler(accelerated)
    assert mode.do(handler.get(f"{openai_server.base_url}/models")).status_code == 200
    mode.do(handler.close())
    assert counted.requests == 3
    assert counted.connections <= 1


def test_a_streamed_completion_arrives_in_pieces(accelerated: Any, complete: Callable[..., Any], reported: Any) -> None:
    chunks = complete(accelerated, "one two three four", stream=True)
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    assert len(pieces) > 1
    assert "".join(pieces) == "one two three four"
    assert reported.accelerated >= 1


def test_an_abandoned_stream_costs_its_connection_and_nothing_else(
    accelerated: Any, complete: Callable[..., Any], openai_server: Any, mode: Any
) -> None:
    body = {"model": "chunks-500", "stream": True, "messages": [{"role": "user", "content": "x"}]}
    handler = mode.handler(accelerated)
    response = mode.do(handler.post(f"{openai_server.base_url}/chat/completions", json=body, stream=True))
    if mode.is_async:
        mode.run(anext(response.aiter_lines()))
    else:
        next(response.iter_lines())
    del response
    assert complete(accelerated, "still here").choices[0].message.content == "still here"
    mode.do(handler.close())


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, "AuthenticationError"), (429, "RateLimitError"), (400, "BadRequestError"), (500, "InternalServerError")],
)
def test_an_error_status_is_the_error_that_litellm_makes_of_it(
    accelerated: Any, complete: Callable[..., Any], status: int, error: str
) -> None:
    with pytest.raises(getattr(accelerated, error)):
        complete(accelerated, model=f"openai/error-{status}")


def test_a_read_timeout_is_litellms_timeout(accelerated: Any, complete: Callable[..., Any]) -> None:
    with pytest.raises(accelerated.Timeout):
        complete(accelerated, model="openai/slow-5000", timeout=0.2)


def test_a_server_that_is_not_there_is_a_connection_error(
    accelerated: Any, complete: Callable[..., Any], unused_port: int
) -> None:
    with pytest.raises((accelerated.APIConnectionError, accelerated.InternalServerError), match="onnect"):
        complete(accelerated, "anyone?", api_base=f"https://127.0.0.1:{unused_port}/v1")


def test_the_next_call_reaches_a_server_that_is_back(accelerated: Any, complete: Callable[..., Any]) -> None:
    port = refusing_port()
    base = f"http://127.0.0.1:{port}/v1"
    for _ in range(6):  # as the fallbacks of a Router do
        with pytest.raises((accelerated.APIConnectionError, accelerated.InternalServerError), match="onnect"):
            complete(accelerated, "anyone?", api_base=base)
    with EmbeddedServer(tls=False, port=port):
        assert complete(accelerated, "back", api_base=base).choices


def test_the_sdks_own_client_is_accelerated(
    accelerated: Any, openai_server: Any, reported: Any, goes_through_the_pool: Through, mode: Any
) -> None:
    client = mode.openai(base_url=openai_server.base_url, api_key="sk-nothing", max_retries=0)
    assert goes_through_the_pool(client._client)
    assert mode.do(_models(client))
    assert reported.accelerated == 1
    mode.do(client.close())


def _models(client: Any) -> Any:
    listing = client.models.list()
    if isinstance(client, openai.OpenAI):
        return [model.id for model in listing]

    async def collect() -> list[str]:
        return [model.id async for model in listing]

    return collect()


@pytest.mark.parametrize("mode", ["sync"], indirect=True)
def test_many_threads_get_each_its_own_answer(accelerated: Any, complete: Callable[..., Any]) -> None:
    def ask(number: int) -> bool:
        return bool(complete(accelerated, f"number {number}").choices[0].message.content == f"number {number}")

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(64)))


def test_many_tasks_get_each_its_own_answer(accelerated: Any, openai_server: Any, run: Any) -> None:
    async def ask(number: int) -> bool:
        answer = await accelerated.acompletion(
            model="openai/embedded-model",
            messages=[{"role": "user", "content": f"number {number}"}],
            api_base=openai_server.base_url,
            api_key="sk-nothing",
            max_retries=0,
        )
        return bool(answer.choices[0].message.content == f"number {number}")

    async def all_of_them() -> bool:
        return all(await asyncio.gather(*map(ask, range(64))))

    assert run(all_of_them())


def test_one_event_loop_after_the_other_uses_the_same_connection(
    accelerated: Any, openai_server: Any, counted: Any, reported: Any, run: Any
) -> None:
    async def ask() -> None:
        await accelerated.acompletion(
            model="openai/embedded-model",
            messages=[{"role": "user", "content": "again"}],
            api_base=openai_server.base_url,
            api_key="sk-nothing",
            max_retries=0,
        )

    for _ in range(5):
        asyncio.run(ask())
    assert counted.requests == 5
    assert counted.connections <= 1
    assert reported.stock_requests == {}


def test_force_ipv4_is_kept(
    accelerated: Any,
    openai_server: Any,
    reported: Any,
    monkeypatch: pytest.MonkeyPatch,
    goes_through_the_pool: Through,
    mode: Any,
) -> None:
    monkeypatch.setattr(accelerated, "force_ipv4", True)
    handler = mode.handler(accelerated)
    assert goes_through_the_pool(handler.client)
    address = mode.do(handler.get(f"{openai_server.base_url}/models")).extensions["network_stream"]
    assert address.get_extra_info("client_addr")[0] == "127.0.0.1"
    assert reported.accelerated == 1
    assert reported.fallbacks == {}
    mode.do(handler.close())


def test_an_evicted_client_is_not_closed_under_a_stream(accelerated: Any, openai_server: Any, mode: Any) -> None:
    """litellm asks the transport's `_pool.connections` whether any is busy."""
    from litellm.caching.evicted_client_closer import _has_connection_in_flight

    handler = mode.handler(accelerated)
    assert not _has_connection_in_flight(handler)
    body = {"model": "chunks-3", "stream": True, "messages": [{"role": "user", "content": "a b c"}]}
    response = mode.do(handler.post(f"{openai_server.base_url}/chat/completions", json=body, stream=True))
    assert _has_connection_in_flight(handler)
    mode.do(response.aread() if mode.is_async else response.read())
    mode.close(response)
    assert not _has_connection_in_flight(handler)
    mode.do(handler.close())


def test_the_statistics_name_the_pool(accelerated: Any, complete: Callable[..., Any]) -> None:
    complete(accelerated)
    stats = fast_litellm.get_performance_stats()
    assert stats["pool"]["total_connections"] >= 1
    assert stats["accelerated_clients"] >= 1
    assert fast_litellm.health_check()["status"] == "ok"
    assert fast_litellm.is_enabled("litellm_sync_clients")
    assert fast_litellm.is_enabled("litellm_async_clients")
    assert not fast_litellm.is_enabled("no such feature")
    assert fast_litellm.get_feature_status()["http2"]["enabled"]


def test_a_call_made_before_the_patch_does_not_keep_its_client(
    litellm: Any, complete: Callable[..., Any], reported: Any
) -> None:
    complete(litellm, "before")
    assert reported.accelerated == 0
    fast_litellm.apply_acceleration()
    assert complete(litellm, "after").choices[0].message.content == "after"
    assert reported.accelerated >= 1
