"""Clients that litellm and the SDKs construct are accelerated; everybody else's are left alone, and counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

Through = Callable[[httpx.Client], bool]
Make = Callable[..., Any]


def test_a_bare_client_stays_httpxs_and_is_counted(accelerated: Any, told: Any, goes_through_the_pool: Through) -> None:
    with httpx.Client() as client:
        assert type(client._transport) is httpx.HTTPTransport
    assert told.fallbacks == {"bare httpx": 1}
    assert told.accelerated == 0


def test_httpx_get_stays_httpxs_even_when_litellm_calls_it(
    accelerated: Any, in_module: Make, told: Any, openai_server: Any
) -> None:
    url = f"{openai_server.base_url}/models"
    response = in_module("litellm.integrations.somewhere", "made = httpx.get(url)", url=url)
    assert response.status_code == 200
    assert told.fallbacks == {"bare httpx": 1}


@pytest.mark.parametrize("module", ["litellm", "litellm.llms.base", "openai.auth._workload", "anthropic._client"])
def test_a_client_that_such_a_module_constructs_is_accelerated(
    module: str, accelerated: Any, in_module: Make, told: Any, goes_through_the_pool: Through
) -> None:
    client = in_module(module, "made = httpx.Client(timeout=10)")
    assert goes_through_the_pool(client)
    assert told.accelerated == 1
    client.close()


@pytest.mark.parametrize("module", ["litellmish", "my.openai", "openai_extras.client"])
def test_a_module_with_a_name_alike_is_somebody_else(
    module: str, accelerated: Any, in_module: Make, goes_through_the_pool: Through
) -> None:
    assert not goes_through_the_pool(in_module(module, "made = httpx.Client()"))


def test_a_subclass_counts_as_who_constructs_it(
    accelerated: Any, in_module: Make, goes_through_the_pool: Through
) -> None:
    class Client(httpx.Client):
        def __init__(self) -> None:
            super().__init__()

    assert not goes_through_the_pool(Client())
    assert goes_through_the_pool(in_module("litellm.somewhere", "made = Client()", Client=Client))


def test_a_client_that_the_user_hands_over_is_used_as_it_is(
    accelerated: Any, complete: Callable[..., Any], told: Any, openai_server: Any
) -> None:
    mine = httpx.Client(verify=False)
    transport = mine._transport
    client = openai.OpenAI(base_url=openai_server.base_url, api_key="sk-nothing", http_client=mine)
    assert complete(accelerated, "mine", client=client).choices[0].message.content == "mine"
    assert mine._transport is transport
    assert told.accelerated == 0


def test_litellms_client_session_is_used_as_it_is(
    accelerated: Any, complete: Callable[..., Any], told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = httpx.Client(verify=False)
    monkeypatch.setattr(accelerated, "client_session", session)
    assert complete(accelerated, "session").choices[0].message.content == "session"
    assert type(session._transport) is httpx.HTTPTransport
    assert told.accelerated == 0


def test_a_transport_that_the_user_gives_litellm_is_used_as_it_is(
    accelerated: Any, told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = httpx.HTTPTransport(local_address="0.0.0.0")
    monkeypatch.setattr(accelerated, "sync_transport", transport, raising=False)
    handler = accelerated.llms.custom_httpx.http_handler.HTTPHandler()
    assert handler.client._transport is transport
    assert told.fallbacks == {"transport given": 1}


def test_litellms_network_mock_stays_a_mock(
    accelerated: Any, complete: Callable[..., Any], counted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerated, "network_mock", True, raising=False)
    assert complete(accelerated).choices
    assert counted.requests == 0


def test_asynchronous_clients_are_counted_and_left(accelerated: Any, told: Any) -> None:
    client = openai.AsyncOpenAI(api_key="sk-nothing")
    assert type(client._client._transport) is httpx.AsyncHTTPTransport
    assert told.fallbacks == {"async: not yet": 1}


def test_http2_is_left_to_httpx_and_counted(accelerated: Any, in_module: Make, told: Any) -> None:
    pytest.importorskip("h2")
    client = in_module("litellm.somewhere", "made = httpx.Client(http2=True)")
    assert type(client._transport) is httpx.HTTPTransport
    assert told.fallbacks == {"http2: not yet": 1}


def test_what_a_proxy_carries_is_left_to_httpx_and_counted(
    accelerated: Any, in_module: Make, told: Any, monkeypatch: pytest.MonkeyPatch, goes_through_the_pool: Through
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    client = in_module("litellm.somewhere", "made = httpx.Client()")
    assert type(client._transport_for_url(httpx.URL("https://example.org"))) is httpx.HTTPTransport
    assert goes_through_the_pool(client)  # what no proxy carries
    assert told.fallbacks == {"proxy: not yet": 1}


def test_what_httpx_itself_refuses_is_refused_with_httpxs_words(accelerated: Any, in_module: Make, told: Any) -> None:
    with pytest.raises(FileNotFoundError):
        in_module("litellm.somewhere", "made = httpx.Client(verify='/no/such/file.pem')")
    assert told.accelerated == 0


def test_a_transport_class_that_a_test_put_into_httpx_is_used(
    accelerated: Any, in_module: Make, told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fake(httpx.MockTransport):
        def __init__(self, **keywords: Any) -> None:
            super().__init__(lambda request: httpx.Response(200))

    monkeypatch.setattr("httpx._client.HTTPTransport", Fake)
    client = in_module("litellm.somewhere", "made = httpx.Client()")
    assert type(client._transport) is Fake
    assert told.fallbacks == {"httpx's transport class was replaced": 1}
