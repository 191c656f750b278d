"""litellm, patched, with the embedded server as its provider."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import httpx
import openai
import pytest

import fast_litellm
from fast_litellm.acceleration.transports import AcceleratedTransport, AsyncAcceleratedTransport
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
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
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


Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture
def run() -> Iterator[Run]:
    """run(coroutine) -> its result, on one event loop for the whole test."""
    with asyncio.Runner() if hasattr(asyncio, "Runner") else _Runner() as runner:
        yield runner.run


class _Runner:
    """asyncio.Runner for Python 3.10, as far as it is used here."""

    def __enter__(self) -> _Runner:
        self._loop = asyncio.new_event_loop()
        return self

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(coroutine)

    def __exit__(self, *error: object) -> None:
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


class Mode:
    """How a test calls: synchronously, or on its event loop."""

    def __init__(self, name: str, run: Run) -> None:
        self.name = name
        self.is_async = name != "sync"
        self.run = run

    @property
    def client_class(self) -> Any:
        return httpx.AsyncClient if self.is_async else httpx.Client

    def client(self, **keywords: Any) -> Any:
        return self.client_class(**keywords)

    def openai(self, **keywords: Any) -> Any:
        return (openai.AsyncOpenAI if self.is_async else openai.OpenAI)(**keywords)

    def handler(self, litellm: Any, **keywords: Any) -> Any:
        handlers = litellm.llms.custom_httpx.http_handler
        return (handlers.AsyncHTTPHandler if self.is_async else handlers.HTTPHandler)(**keywords)

    def do(self, result: Any) -> Any:
        """The result of a call that is asynchronous in one of the modes."""
        return self.run(result) if asyncio.iscoroutine(result) else result

    def close(self, client: Any) -> None:
        """An httpx client or response."""
        self.do(client.aclose() if self.is_async else client.close())


#: "async" is litellm as it comes, over aiohttp; "async httpx" is with disable_aiohttp_transport.
@pytest.fixture(params=["sync", "async", "async httpx"])
def mode(request: pytest.FixtureRequest, run: Run, litellm: Any, monkeypatch: pytest.MonkeyPatch) -> Mode:
    monkeypatch.setattr(litellm, "disable_aiohttp_transport", request.param == "async httpx")
    return Mode(request.param, run)


@pytest.fixture
def complete(openai_server: Any, mode: Mode) -> Callable[..., Any]:
    """complete(litellm, "some text", …): one call to the embedded server; with `stream`, the chunks of its answer."""

    async def asynchronously(litellm: Any, **keywords: Any) -> Any:
        answer = await litellm.acompletion(**keywords)
        return [chunk async for chunk in answer] if keywords.get("stream") else answer

    def call(litellm: Any, text: str = "hello", **keywords: Any) -> Any:
        keywords = {
            "model": "openai/embedded-model",
            "max_retries": 0,
            "num_retries": 0,
            "messages": [{"role": "user", "content": text}],
            "api_base": openai_server.base_url,
            "api_key": "sk-nothing",
            **keywords,
        }
        if mode.is_async:
            return mode.run(asynchronously(litellm, **keywords))
        answer = litellm.completion(**keywords)
        return list(answer) if keywords.get("stream") else answer

    return call


class Reported:
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
    def tls_by_context(self) -> dict[str, int]:
        return self._since("tls_by_context")

    @property
    def not_used(self) -> dict[str, int]:
        return self._since("not_used")

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
def reported(litellm: Any) -> Reported:
    return Reported()


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
def goes_through_the_pool() -> Callable[[Any], bool]:
    return lambda client: isinstance(client._transport, (AcceleratedTransport, AsyncAcceleratedTransport))


@pytest.fixture
def in_module() -> Callable[..., Any]:
    """in_module("some.name", "made = httpx.Client()") -> what a module of that name makes by this code."""

    def run(module: str, code: str, **names: Any) -> Any:
        space: dict[str, Any] = {"__name__": module, "httpx": httpx, **names}
        exec(compile(code, module, "exec"), space)
        return space["made"]

    return run
