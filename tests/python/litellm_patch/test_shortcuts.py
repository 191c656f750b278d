"""litellm's and the SDKs' accelerated clients take the shortcuts through httpx; others do not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

import fast_litellm
from fast_litellm.acceleration import shortcuts

ALL = tuple(shortcuts.SHORTCUTS)


def _close(client: Any) -> None:
    if hasattr(client, "aclose"):
        asyncio.run(client.aclose())
    else:
        client.close()


@pytest.mark.parametrize("name", ["HTTPHandler", "AsyncHTTPHandler"])
def test_litellms_handlers(name: str, accelerated: Any) -> None:
    from litellm.llms.custom_httpx import http_handler

    handler = getattr(http_handler, name)()
    assert shortcuts.names_on(handler.client) == ALL
    fast_litellm.remove_acceleration()
    assert shortcuts.names_on(handler.client) == ()
    assert type(handler.client) in (httpx.Client, httpx.AsyncClient)
    _close(handler.client)


@pytest.mark.parametrize("name", ["OpenAI", "AsyncOpenAI"])
def test_the_sdks_own_clients(name: str, accelerated: Any) -> None:
    import openai

    sdk = getattr(openai, name)(api_key="sk-nothing")
    over_httpx = isinstance(sdk._client, (httpx.Client, httpx.AsyncClient))
    # httpx2 looks for cookies only in a response that has some: that shortcut is not needed there.
    assert shortcuts.names_on(sdk._client) == (ALL if over_httpx else tuple(name for name in ALL if name != "cookies"))
    _close(sdk._client)


def test_clients_of_others_have_none(accelerated: Any) -> None:
    with httpx.Client(verify=False) as client:
        assert shortcuts.names_on(client) == ()


def test_they_can_be_turned_off(accelerated: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from litellm.llms.custom_httpx.http_handler import HTTPHandler

    monkeypatch.setenv("FAST_LITELLM_HTTPX_SHORTCUTS", "false")
    handler = HTTPHandler()
    assert type(handler.client) is httpx.Client
    handler.close()


def test_a_call_with_shortcuts_gets_the_same_answer(
    litellm: Any, complete: Callable[..., Any], openai_server: Any, counted: Any, reported: Any
) -> None:
    stock = complete(litellm, "the same")
    assert fast_litellm.apply_acceleration()
    quick = complete(litellm, "the same")
    assert reported.accelerated >= 1
    assert quick.choices[0].message.content == stock.choices[0].message.content
    assert quick.usage == stock.usage
    assert counted.requests == 2
