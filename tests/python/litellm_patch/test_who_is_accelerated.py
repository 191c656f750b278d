"""Clients that litellm and the SDKs construct are accelerated; everybody else's are left alone, and counted."""

from __future__ import annotations

import asyncio
import gc
import inspect
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

import fast_litellm
from peers.http2 import Http2Server, NginxHttp2
from peers.http2_application import HELLO
from peers.proxies import RelayingProxy
from support.certificates import Certificates

Through = Callable[[Any], bool]
Make = Callable[..., Any]


def test_a_bare_client_stays_httpxs_and_is_counted(accelerated: Any, reported: Any, mode: Any) -> None:
    client = mode.client()
    assert type(client._transport) in (httpx.HTTPTransport, httpx.AsyncHTTPTransport)
    mode.close(client)
    assert reported.fallbacks == {"bare httpx": 1}
    assert reported.accelerated == 0


def test_httpx_get_stays_httpxs_even_when_litellm_calls_it(
    accelerated: Any, in_module: Make, reported: Any, openai_server: Any
) -> None:
    url = f"{openai_server.base_url}/models"
    response = in_module("litellm.integrations.somewhere", "made = httpx.get(url)", url=url)
    assert response.status_code == 200
    assert reported.fallbacks == {"bare httpx": 1}


@pytest.mark.parametrize("module", ["litellm", "litellm.llms.base", "openai.auth._workload", "anthropic._client"])
def test_a_client_that_such_a_module_constructs_is_accelerated(
    module: str, accelerated: Any, in_module: Make, reported: Any, goes_through_the_pool: Through, mode: Any
) -> None:
    client = in_module(module, "made = make(timeout=10)", make=mode.client_class)
    assert goes_through_the_pool(client)
    assert reported.accelerated == 1
    mode.close(client)


@pytest.mark.parametrize("module", ["litellmish", "my.openai", "openai_extras.client"])
def test_a_module_with_a_similar_name_does_not_count_as_litellm(
    module: str, accelerated: Any, in_module: Make, goes_through_the_pool: Through
) -> None:
    assert not goes_through_the_pool(in_module(module, "made = httpx.Client()"))


def test_a_subclass_counts_as_the_code_that_constructs_it(
    accelerated: Any, in_module: Make, goes_through_the_pool: Through
) -> None:
    class Client(httpx.Client):
        def __init__(self) -> None:
            super().__init__()

    assert not goes_through_the_pool(Client())
    assert goes_through_the_pool(in_module("litellm.somewhere", "made = Client()", Client=Client))


def test_a_tracer_around_the_constructor_does_not_hide_the_constructing_module(
    accelerated: Any, in_module: Make, goes_through_the_pool: Through, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = httpx.Client.__init__

    def traced(*args: Any, **keywords: Any) -> None:
        original(*args, **keywords)

    monkeypatch.setattr(httpx.Client, "__init__", traced)
    assert goes_through_the_pool(in_module("litellm.somewhere", "made = httpx.Client()"))
    assert not goes_through_the_pool(httpx.Client())


def test_a_client_that_the_user_hands_over_is_used_as_it_is(
    accelerated: Any, complete: Callable[..., Any], reported: Any, openai_server: Any, mode: Any
) -> None:
    mine = mode.client(verify=False)
    transport = mine._transport
    client = mode.openai(base_url=openai_server.base_url, api_key="sk-nothing", http_client=mine)
    assert complete(accelerated, "mine", client=client).choices[0].message.content == "mine"
    assert mine._transport is transport
    assert reported.accelerated == 0
    mode.close(mine)


def test_litellms_client_session_is_used_as_it_is(
    accelerated: Any, complete: Callable[..., Any], reported: Any, monkeypatch: pytest.MonkeyPatch, mode: Any
) -> None:
    session = mode.client(verify=False)
    transport = session._transport
    monkeypatch.setattr(accelerated, "aclient_session" if mode.is_async else "client_session", session)
    assert complete(accelerated, "session").choices[0].message.content == "session"
    assert session._transport is transport
    assert type(transport) in (httpx.HTTPTransport, httpx.AsyncHTTPTransport)
    assert reported.accelerated == 0
    mode.close(session)


def test_a_transport_that_the_user_gives_litellm_is_used_as_it_is(
    accelerated: Any, reported: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = httpx.HTTPTransport(local_address="0.0.0.0")
    monkeypatch.setattr(accelerated, "sync_transport", transport, raising=False)
    handler = accelerated.llms.custom_httpx.http_handler.HTTPHandler()
    assert handler.client._transport is transport
    assert reported.fallbacks == {"transport given": 1}


def test_a_transport_that_the_user_gives_a_handler_is_used_as_it_is(accelerated: Any, reported: Any, run: Any) -> None:
    transport = httpx.AsyncHTTPTransport(local_address="0.0.0.0")
    handler = accelerated.llms.custom_httpx.http_handler.AsyncHTTPHandler(transport=transport)
    assert handler.client._transport is transport
    assert reported.fallbacks == {"transport given": 1}
    run(handler.close())


def test_litellms_network_mock_stays_a_mock(
    accelerated: Any, complete: Callable[..., Any], counted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerated, "network_mock", True, raising=False)
    assert complete(accelerated).choices
    assert counted.requests == 0


def test_a_dropped_client_is_freed(accelerated: Any, mode: Any, reported: Any, goes_through_the_pool: Through) -> None:
    """litellm's handlers close their client at their end if they alone refer to it, by its count of references."""
    handler = mode.handler(accelerated)
    client = weakref.ref(handler.client)
    assert reported.accelerated == 1
    gc.collect()
    gc.disable()
    try:
        del handler
        for _ in range(100 if mode.is_async else 0):
            mode.run(asyncio.sleep(0))  # for a task of litellm's that closes it
        assert client() is None
    finally:
        gc.enable()


def test_the_transport_of_a_freed_client_can_still_use_the_stock_transport(
    accelerated: Any, in_module: Make, reported: Any, openai_server: Any
) -> None:
    client = in_module("litellm.somewhere", "made = httpx.Client()")
    transport = client._transport
    del client
    gc.collect()
    fast_litellm.remove_acceleration()
    with httpx.Client(transport=transport) as other:
        assert other.get(f"{openai_server.base_url}/models").status_code == 200
    assert reported.stock_requests == {"removed": 1}


@pytest.fixture(scope="module")
def http2_server(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Http2Server]:
    with NginxHttp2(tmp_path_factory.mktemp("http2"), certificates) as server:
        yield server


def test_a_client_for_http2_goes_through_the_pool(
    accelerated: Any,
    in_module: Make,
    reported: Any,
    mode: Any,
    certificates: Certificates,
    http2_server: Http2Server,
    goes_through_the_pool: Through,
) -> None:
    pytest.importorskip("h2")
    trusting = str(certificates.ca_file)
    code = "made = make(http2=True, verify=trusting)"
    client = in_module("litellm.somewhere", code, make=mode.client_class, trusting=trusting)
    assert goes_through_the_pool(client)
    response = mode.do(client.get(f"{http2_server.https}/hello"))
    assert (response.http_version, response.content) == ("HTTP/2", HELLO)
    assert reported.fallbacks == {}
    mode.close(client)


@pytest.mark.parametrize("told_by", ["setting", "variable"])
def test_litellms_own_http2_goes_through_the_pool(
    told_by: str,
    accelerated: Any,
    mode: Any,
    reported: Any,
    carried: Any,
    monkeypatch: pytest.MonkeyPatch,
    certificates: Certificates,
    http2_server: Http2Server,
    goes_through_the_pool: Through,
) -> None:
    if told_by == "setting":
        monkeypatch.setattr(accelerated, "http2", True)
    else:
        monkeypatch.setenv("LITELLM_HTTP2", "true")
    handler = mode.handler(accelerated, ssl_verify=str(certificates.ca_file))
    assert goes_through_the_pool(handler.client)
    response = mode.do(handler.get(f"{http2_server.https}/hello"))
    assert (response.http_version, response.content) == ("HTTP/2", HELLO)
    assert carried.requests == 1
    assert reported.fallbacks == {}
    mode.do(handler.close())


def test_the_proxies_of_litellms_own_http2_go_through_the_pool(
    accelerated: Any,
    mode: Any,
    reported: Any,
    monkeypatch: pytest.MonkeyPatch,
    certificates: Certificates,
    http2_server: Http2Server,
) -> None:
    monkeypatch.setenv("LITELLM_HTTP2", "true")
    with RelayingProxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        handler = mode.handler(accelerated, ssl_verify=str(certificates.ca_file))
        assert reported.fallbacks == {}
        response = mode.do(handler.get(f"{http2_server.https}/hello"))
        assert (response.http_version, response.content) == ("HTTP/2", HELLO)
        assert len(proxy.requests) == 1
        mode.do(handler.close())


def test_http2_of_one_client_is_its_own(
    accelerated: Any, reported: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As litellm 1.110 makes one for Vertex AI's vector stores."""
    handler = accelerated.llms.custom_httpx.http_handler.AsyncHTTPHandler
    if "http2" in inspect.signature(handler).parameters:
        own = handler(http2=True)
    else:  # before 1.109
        with monkeypatch.context() as patch:
            patch.setenv("LITELLM_HTTP2", "true")
            own = handler()
    other = handler()
    assert reported.fallbacks == {}
    assert reported.accelerated == 2
    assert reported.tls_by_context == {}
    run(own.close())
    run(other.close())


def test_arguments_that_httpx_refuses_raise_httpxs_error(accelerated: Any, in_module: Make, reported: Any) -> None:
    with pytest.raises(FileNotFoundError):
        in_module("litellm.somewhere", "made = httpx.Client(verify='/no/such/file.pem')")
    assert reported.accelerated == 0


def test_a_transport_class_that_a_test_replaced_in_httpx_is_used(
    accelerated: Any, in_module: Make, reported: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fake(httpx.MockTransport):
        def __init__(self, **keywords: Any) -> None:
            super().__init__(lambda request: httpx.Response(200))

    monkeypatch.setattr("httpx._client.HTTPTransport", Fake)
    client = in_module("litellm.somewhere", "made = httpx.Client()")
    assert type(client._transport) is Fake
    assert reported.fallbacks == {"httpx's transport class was replaced": 1}
