"""Proxies beside litellm as it comes: TLS to them, NO_PROXY, force_ipv4, mounts of the user's own, late vetoes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

import fast_litellm
from peers.nginx import Nginx
from peers.proxies import RelayingProxy
from support.certificates import Certificates

Make = Callable[..., Any]


@pytest.fixture
def proxy() -> Iterator[RelayingProxy]:
    with RelayingProxy(forwards=True) as proxy:
        yield proxy


@pytest.fixture
def secure_proxy(certificates: Certificates, litellm: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[RelayingProxy]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
    with RelayingProxy(certificates.server, forwards=True) as proxy:
        yield proxy


@pytest.fixture(params=["stock", "accelerated"])
def subject(request: pytest.FixtureRequest, litellm: Any) -> Any:
    """litellm as it comes, or with the patch."""
    if request.param == "accelerated":
        assert fast_litellm.apply_acceleration()
    return litellm


def _get(mode: Any, litellm: Any, *urls: str, **keywords: Any) -> list[str]:
    handler = mode.handler(litellm, timeout=60.0, **keywords)
    try:
        return [mode.do(handler.get(url)).text for url in urls]
    finally:
        mode.do(handler.close())


def _was_carried(subject: Any, carried: Any, reported: Any, requests: int) -> None:
    if fast_litellm.get_patch_status()["applied"]:
        assert carried.requests == requests
        assert (reported.fallbacks, reported.stock_requests) == ({}, {})


@pytest.mark.parametrize("origin", ["plain", "tls13"])
def test_a_proxy_over_tls(
    origin: str,
    subject: Any,
    mode: Any,
    nginx: Nginx,
    secure_proxy: RelayingProxy,
    carried: Any,
    reported: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", secure_proxy.url)
    monkeypatch.setenv("HTTP_PROXY", secure_proxy.url)
    url = getattr(nginx.urls, origin)
    assert _get(mode, subject, f"{url}/1", f"{url}/2") == ["GET /1", "GET /2"]
    assert {request.method for request in secure_proxy.requests} == {"GET" if origin == "plain" else "CONNECT"}
    _was_carried(subject, carried, reported, 2)


NO_PROXY = {
    "": True,
    "127.0.0.1": False,
    "*": False,
    "localhost,127.0.0.1": False,
    "other.example": True,
    ".0.0.1": False,
    "http://other.example": True,
}


@pytest.mark.parametrize("names", NO_PROXY, ids=lambda names: names or "empty")
@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
def test_no_proxy_is_obeyed_as_by_litellm_itself(
    variable: str,
    names: str,
    litellm: Any,
    mode: Any,
    nginx: Nginx,
    proxy: RelayingProxy,
    carried: Any,
    reported: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv(variable, names)
    assert _get(mode, litellm, f"{nginx.urls.plain}/x") == ["GET /x"]
    stock = len(proxy.requests)
    assert fast_litellm.apply_acceleration()
    assert _get(mode, litellm, f"{nginx.urls.plain}/x") == ["GET /x"]
    assert len(proxy.requests) - stock == stock
    _was_carried(litellm, carried, reported, 1)
    if names not in (".0.0.1",):  # httpx and urllib read a suffix of an address in ways of their own
        assert bool(stock) == NO_PROXY[names]


def test_force_ipv4_goes_through_the_proxy_as_with_litellm_itself(
    litellm: Any,
    mode: Any,
    nginx: Nginx,
    certificates: Certificates,
    proxy: RelayingProxy,
    carried: Any,
    reported: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
    monkeypatch.setattr(litellm, "force_ipv4", True)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    urls = (f"{nginx.urls.plain}/x", f"{nginx.urls.tls13}/x")
    assert _get(mode, litellm, *urls) == ["GET /x"] * 2
    stock = [request.method for request in proxy.requests]
    assert fast_litellm.apply_acceleration()
    assert _get(mode, litellm, *urls) == ["GET /x"] * 2
    assert [request.method for request in proxy.requests][len(stock) :] == stock
    _was_carried(litellm, carried, reported, 2)


def test_a_proxied_transport_that_the_user_mounts_stays_his(
    accelerated: Any,
    in_module: Make,
    mode: Any,
    nginx: Nginx,
    certificates: Certificates,
    proxy: RelayingProxy,
    reported: Any,
) -> None:
    name = "AsyncHTTPTransport" if mode.is_async else "HTTPTransport"
    mine = getattr(fast_litellm, name)(proxy=proxy.url, verify=str(certificates.ca_file), pool=None)
    code = "made = make(mounts={'https://': mine})"
    client = in_module("litellm.somewhere", code, make=mode.client_class, mine=mine)
    assert list(client._mounts.values()) == [mine]
    assert mode.do(client.get(f"{nginx.urls.tls13}/x")).text == "GET /x"
    assert mode.do(client.get(f"{nginx.urls.plain}/x")).text == "GET /x"
    assert [request.method for request in proxy.requests] == ["CONNECT"]
    mode.close(client)
    with pytest.raises(RuntimeError, match="closed"):  # with the client, as httpx does it
        mode.do(_again(mode, mine, f"{nginx.urls.tls13}/x"))


def _again(mode: Any, transport: Any, url: str) -> Any:
    request = httpx.Request("GET", url)
    return transport.handle_async_request(request) if mode.is_async else transport.handle_request(request)


def test_a_veto_that_comes_after_the_first_proxied_request_reaches_the_proxied_transport(
    accelerated: Any,
    run: Any,
    nginx: Nginx,
    proxy: RelayingProxy,
    carried: Any,
    reported: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    handler = accelerated.llms.custom_httpx.http_handler.AsyncHTTPHandler()
    assert run(handler.get(f"{nginx.urls.plain}/1")).text == "GET /1"
    assert carried.requests == 1
    handler.client._transport._change("transport changed")
    assert run(handler.get(f"{nginx.urls.plain}/2")).text == "GET /2"
    assert carried.requests == 1
    assert reported.stock_requests == {"transport changed": 1}
    assert len(proxy.requests) == 2, "the stock transport goes through the proxy, too"
    run(handler.close())


def test_a_mock_that_comes_after_the_first_proxied_request_gets_the_next(
    accelerated: Any,
    run: Any,
    nginx: Nginx,
    proxy: RelayingProxy,
    carried: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from litellm.llms.custom_httpx.aiohttp_transport import LiteLLMAiohttpTransport

    async def mocked(self: Any, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text="mocked", request=request)

    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    handler = accelerated.llms.custom_httpx.http_handler.AsyncHTTPHandler()
    assert run(handler.get(f"{nginx.urls.plain}/1")).text == "GET /1"
    with monkeypatch.context() as patched:
        patched.setattr(LiteLLMAiohttpTransport, "handle_async_request", mocked)
        assert run(handler.get(f"{nginx.urls.plain}/2")).text == "mocked"
    assert run(handler.get(f"{nginx.urls.plain}/3")).text == "GET /3"
    assert carried.requests == 2
    run(handler.close())
