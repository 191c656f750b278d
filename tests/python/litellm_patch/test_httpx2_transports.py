"""The transports for httpx2: the same implementation, with that library's classes, errors and trust."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from fast_litellm.acceleration.public_transports import transports_for

httpx2 = pytest.importorskip("httpx2")

Get = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def get(request: pytest.FixtureRequest, run: Any) -> Get:
    """get(url, verify=…) -> the response, by a client of httpx2 over our transport."""
    ours = transports_for(httpx2)

    def synchronously(url: str, **keywords: Any) -> Any:
        with httpx2.Client(transport=ours.HTTPTransport(**keywords)) as client:
            return client.get(url)

    async def asynchronously(url: str, **keywords: Any) -> Any:
        async with httpx2.AsyncClient(transport=ours.AsyncHTTPTransport(**keywords)) as client:
            return await client.get(url)

    if request.param == "sync":
        return synchronously
    return lambda url, **keywords: run(asynchronously(url, **keywords))


def test_they_are_that_librarys_transports_and_always_the_same() -> None:
    ours = transports_for(httpx2)
    assert issubclass(ours.HTTPTransport, httpx2.BaseTransport)
    assert issubclass(ours.AsyncHTTPTransport, httpx2.AsyncBaseTransport)
    assert transports_for(httpx2) is ours
    assert transports_for(httpx) is not ours


@pytest.mark.parametrize("way", ["variable", "path", "context", "nothing"])
def test_a_response_is_its_own(way: str, get: Get, openai_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    if way == "variable":
        monkeypatch.setenv("SSL_CERT_FILE", openai_server.ca_file)
    verify = {
        "variable": True,
        "path": openai_server.ca_file,
        "context": ssl.create_default_context(cafile=openai_server.ca_file),
        "nothing": False,
    }[way]
    response = get(f"{openai_server.base_url}/models", verify=verify)
    assert isinstance(response, httpx2.Response)
    assert response.json()["data"]
    assert response.extensions["http_version"] == b"HTTP/1.1"


def test_what_it_trusts_by_default_is_what_counts(
    get: Get, openai_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    made: list[Any] = []
    original = httpx2.create_ssl_context

    def create_ssl_context(*args: Any, **keywords: Any) -> Any:
        made.append(original(*args, **keywords))
        return made[-1]

    monkeypatch.setattr(httpx2, "create_ssl_context", create_ssl_context)
    with pytest.raises(httpx2.ConnectError, match="certificate"):
        get(f"{openai_server.base_url}/models")
    assert len(made) == 1


def test_errors_are_its_own(get: Get, unused_port: int) -> None:
    with pytest.raises(httpx2.ConnectError):
        get(f"http://127.0.0.1:{unused_port}/")
    with pytest.raises(httpx2.UnsupportedProtocol):
        get("gopher://127.0.0.1/")
