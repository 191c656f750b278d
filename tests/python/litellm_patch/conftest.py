"""litellm, patched, with the embedded server as its provider."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

import fast_litellm
from fast_litellm.instrumentation import AcceleratedTransport
from fast_litellm.server import EmbeddedServer


@pytest.fixture
def openai_server(shared_openai_server: EmbeddedServer) -> EmbeddedServer:
    """One server for all tests here: what is counted is counted from a test's beginning, see `counted`."""
    return shared_openai_server


@pytest.fixture
def litellm(openai_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """litellm as it comes, trusting the embedded server; not patched."""
    monkeypatch.setenv("SSL_CERT_FILE", openai_server.ca_file)
    for name in ("SSL_CERTIFICATE", "SSL_VERIFY", "SSL_SECURITY_LEVEL", "SSL_ECDH_CURVE", "SSLKEYLOGFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    import litellm
    from litellm.llms.custom_httpx import http_handler

    fast_litellm.remove_acceleration()
    monkeypatch.setattr(litellm, "suppress_debug_info", True)
    http_handler._ssl_context_cache.clear()  # each test has contexts of its own
    yield litellm
    fast_litellm.remove_acceleration()


@pytest.fixture
def accelerated(litellm: Any) -> Any:
    """litellm with the patch on."""
    assert fast_litellm.apply_acceleration()
    return litellm


@pytest.fixture
def complete(openai_server: Any) -> Callable[..., Any]:
    """complete(litellm, "some text", …): one call of litellm.completion to the embedded server."""

    def call(litellm: Any, text: str = "hello", **keywords: Any) -> Any:
        keywords = {"model": "openai/embedded-model", "max_retries": 0, "num_retries": 0, **keywords}
        messages = [{"role": "user", "content": text}]
        return litellm.completion(messages=messages, api_base=openai_server.base_url, api_key="sk-nothing", **keywords)

    return call


class Told:
    """What get_patch_status() counted since this was made."""

    def __init__(self) -> None:
        self._before = fast_litellm.get_patch_status()

    @property
    def accelerated(self) -> int:
        return int(fast_litellm.get_patch_status()["accelerated_clients"] - self._before["accelerated_clients"])

    @property
    def instrumented(self) -> int:
        return int(fast_litellm.get_patch_status()["requests_instrumented"] - self._before["requests_instrumented"])

    @property
    def fallbacks(self) -> dict[str, int]:
        return self._since("fallback_reasons")

    @property
    def stock_requests(self) -> dict[str, int]:
        return self._since("requests_stock")

    def _since(self, key: str) -> dict[str, int]:
        now, before = fast_litellm.get_patch_status()[key], self._before[key]
        return {name: count - before.get(name, 0) for name, count in now.items() if count != before.get(name, 0)}


class Carried:
    """Requests that the process-wide pool carried since this was made."""

    def __init__(self) -> None:
        self._before = self._requests()

    @property
    def requests(self) -> int:
        return self._requests() - self._before

    @staticmethod
    def _requests() -> int:
        return int(fast_litellm.get_performance_stats()["pool"]["requests"])


@pytest.fixture
def carried() -> Carried:
    return Carried()


@pytest.fixture
def told(litellm: Any) -> Told:
    return Told()


class Counted:
    """What the server saw since this was made."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._before = server.stats()

    @property
    def connections(self) -> int:
        return int(self._server.stats().since(self._before).connections_established)

    @property
    def handshakes(self) -> int:
        return int(self._server.stats().since(self._before).handshakes)

    @property
    def requests(self) -> int:
        return int(self._server.stats().since(self._before).requests)


@pytest.fixture
def counted(openai_server: Any) -> Counted:
    return Counted(openai_server)


@pytest.fixture
def goes_through_the_pool() -> Callable[[httpx.Client], bool]:
    return lambda client: isinstance(client._transport, AcceleratedTransport)


@pytest.fixture
def in_module() -> Callable[..., Any]:
    """in_module("some.name", "made = httpx.Client()") -> what a module of that name makes by this code."""

    def run(module: str, code: str, **names: Any) -> Any:
        space: dict[str, Any] = {"__name__": module, "httpx": httpx, **names}
        exec(compile(code, module, "exec"), space)
        return space["made"]

    return run


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port where nobody listens: bound, so that nobody else gets it meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
