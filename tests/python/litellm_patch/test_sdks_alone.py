"""`import fast_litellm` and an SDK, no litellm: the SDK's clients send through the pool, over whichever library they
use: httpx, or httpx2 (openai >= 3 and anthropic >= 1)."""

from __future__ import annotations

import importlib
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import fast_litellm
from fast_litellm.transport.limits import of_shared
from peers.scripted import Connection, Gate, ScriptedServer
from support.certificates import Certificates

Run = Callable[..., Any]


class Sdk:
    """One of the SDKs, and how to call it in one of the two ways."""

    def __init__(self, name: str, is_async: bool, run: Run) -> None:
        self.module = pytest.importorskip(name)
        self.is_async = is_async
        self._run = run
        base = self.module.DefaultAsyncHttpxClient if is_async else self.module.DefaultHttpxClient
        #: httpx or httpx2.
        self.library = importlib.import_module(
            next(each.__module__ for each in base.__mro__ if each.__module__ in ("httpx", "httpx2"))
        )
        self._openai = name == "openai"

    def client(self, base_url: str, **keywords: Any) -> Any:
        name = (
            ("AsyncOpenAI" if self.is_async else "OpenAI")
            if self._openai
            else ("AsyncAnthropic" if self.is_async else "Anthropic")
        )
        return getattr(self.module, name)(base_url=base_url, api_key="sk-nothing", max_retries=0, **keywords)

    def ask(self, client: Any, text: str = "hello") -> str:
        messages = [{"role": "user", "content": text}]
        if self._openai:
            return str(self.do(client.chat.completions.create(model="m", messages=messages)).choices[0].message.content)
        return str(self.do(client.messages.create(model="m", max_tokens=9, messages=messages)).content[0].text)

    def do(self, result: Any) -> Any:
        return self._run(result) if hasattr(result, "__await__") else result

    @property
    def transport(self) -> tuple[type, str]:
        """The stock one, and its method."""
        if self.is_async:
            return self.library.AsyncHTTPTransport, "handle_async_request"
        return self.library.HTTPTransport, "handle_request"


@pytest.fixture(params=["sync", "async"])
def sdk(
    request: pytest.FixtureRequest, name: str, run: Run, openai_server: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sdk]:
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SSL_CERT_DIR", "SSLKEYLOGFILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", openai_server.ca_file)
    found = Sdk(name, request.param == "async", run)
    assert fast_litellm.apply_acceleration()
    yield found
    fast_litellm.remove_acceleration()


@pytest.fixture(params=["openai", "anthropic"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def answer(connection: Connection) -> None:
    """As either of the two providers."""
    while True:
        request = await connection.request()
        body = (
            b'{"id":"1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"answered"}],'
            b'"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}'
            if request.target.endswith("/messages")
            else b'{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":'
            b'"stop","message":{"role":"assistant","content":"answered"}}]}'
        )
        await connection.respond(body, "200 OK", "content-type: application/json")


def test_its_calls_go_through_the_pool(
    sdk: Sdk, serve: Callable[..., ScriptedServer], counts: Any, carried: Any
) -> None:
    server = serve(answer)
    client = sdk.client(server.url)
    for _ in range(3):
        assert sdk.ask(client) == "answered"
    assert isinstance(client._client, sdk.library.AsyncClient if sdk.is_async else sdk.library.Client)
    assert isinstance(
        client._client._transport, sdk.library.AsyncBaseTransport if sdk.is_async else sdk.library.BaseTransport
    )
    assert carried.requests == 3
    assert server.connections == 1
    assert counts() == (1, {}, {})
    sdk.do(client.close())


def test_the_transport_has_the_attributes_that_the_sdks_own_tests_read(
    sdk: Sdk, serve: Callable[..., ScriptedServer]
) -> None:
    """The suites of openai and anthropic count `_pool._requests` of what has to be httpx's transport."""
    gate = Gate()

    async def half(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab")
        await gate.passed()

    client = sdk.client(serve(half).url)
    transport = client._client._transport
    assert isinstance(transport, sdk.transport[0])
    core = importlib.import_module(sdk.library.__name__.replace("httpx", "httpcore"))
    assert isinstance(transport._pool, core.AsyncConnectionPool if sdk.is_async else core.ConnectionPool)
    assert len(transport._pool._requests) == 0
    request = client._client.build_request("GET", "/")
    response = sdk.do(client._client.send(request, stream=True))
    assert len(transport._pool._requests) == 1
    sdk.do(response.aclose() if sdk.is_async else response.close())
    assert len(transport._pool._requests) == 0
    gate.open()
    sdk.do(client.close())


def test_a_client_of_its_own_kind_that_the_user_makes_goes_through_the_pool_too(
    sdk: Sdk, serve: Callable[..., ScriptedServer], carried: Any
) -> None:
    make = sdk.module.DefaultAsyncHttpxClient if sdk.is_async else sdk.module.DefaultHttpxClient
    client = sdk.client(serve(answer).url, http_client=make(timeout=9))
    assert sdk.ask(client) == "answered"
    assert carried.requests == 1
    sdk.do(client.close())


def test_the_sdks_default_limits_have_no_effect_and_the_users_limits_bind_the_users_client(
    sdk: Sdk, serve: Callable[..., ScriptedServer], carried: Any
) -> None:
    assert of_shared(sdk.module.DEFAULT_CONNECTION_LIMITS) == {}
    make = sdk.module.DefaultAsyncHttpxClient if sdk.is_async else sdk.module.DefaultHttpxClient
    limits = sdk.library.Limits(max_connections=5, max_keepalive_connections=0)
    server = serve(answer)
    client = sdk.client(server.url, http_client=make(limits=limits))
    for _ in range(2):
        assert sdk.ask(client) == "answered"
    server.wait_until(lambda counts: (counts.connections, counts.open) == (2, 0), "both connections close")
    assert carried.requests == 2
    sdk.do(client.close())


def test_tls_follows_the_environment(sdk: Sdk, openai_server: Any, carried: Any) -> None:
    client = sdk.client(openai_server.base_url)
    assert sdk.do(client._client.get(f"{openai_server.base_url}/models")).status_code == 200
    assert carried.requests == 1
    sdk.do(client.close())


@pytest.mark.parametrize("engine", ["native", "context"])
def test_a_client_uses_the_content_that_its_bundle_had_when_it_was_made(
    sdk: Sdk,
    serve: Callable[..., ScriptedServer],
    certificates: Certificates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    carried: Any,
    engine: str,
) -> None:
    if engine == "context":  # the library's own context then speaks TLS
        monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    bundle = tmp_path / "ca.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    server = serve(answer, tls=certificates.server)

    def client_that_trusts(ca_file: Path) -> Any:
        shutil.copy(ca_file, bundle)
        return sdk.client(server.url)

    before = client_that_trusts(certificates.ca_file)
    assert sdk.ask(before) == "answered"
    after = client_that_trusts(certificates.unknown_ca_file)
    with pytest.raises(sdk.module.APIConnectionError):
        sdk.ask(after)
    assert sdk.ask(before) == "answered"
    back = client_that_trusts(certificates.ca_file)
    assert sdk.ask(back) == "answered"
    assert carried.requests == 4
    assert server.connections == 1  # `before` and `back` share one; the refused handshake is not counted
    for client in (before, after, back):
        sdk.do(client.close())


def test_a_context_of_the_users_does_tls_itself(sdk: Sdk, openai_server: Any, carried: Any, counts: Any) -> None:
    make = sdk.module.DefaultAsyncHttpxClient if sdk.is_async else sdk.module.DefaultHttpxClient
    context = ssl.create_default_context(cafile=openai_server.ca_file)
    client = sdk.client(openai_server.base_url, http_client=make(verify=context))
    assert sdk.do(client._client.get(f"{openai_server.base_url}/models")).status_code == 200
    assert carried.requests == 1
    assert counts() == (1, {}, {})
    sdk.do(client.close())


def test_an_issuer_that_the_library_does_not_know_by_itself_is_refused(
    sdk: Sdk, openai_server: Any, counts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    client = sdk.client(openai_server.base_url)
    with pytest.raises(sdk.module.APIConnectionError) as raised:
        sdk.ask(client)
    assert isinstance(raised.value.__cause__, sdk.library.ConnectError)
    assert "certificate" in str(raised.value.__cause__)
    assert counts() == (1, {}, {})
    sdk.do(client.close())


def test_errors_are_those_of_its_own_library(sdk: Sdk, unused_port: int) -> None:
    client = sdk.client(f"http://127.0.0.1:{unused_port}")
    with pytest.raises(sdk.module.APIConnectionError) as raised:
        sdk.ask(client)
    assert type(raised.value.__cause__) is sdk.library.ConnectError
    sdk.do(client.close())


def test_a_timeout_is_the_sdks_timeout(sdk: Sdk, serve: Callable[..., ScriptedServer]) -> None:
    async def silent(connection: Connection) -> None:
        await connection.request()
        await connection.client_closed()

    client = sdk.client(serve(silent).url, timeout=0.2)
    with pytest.raises(sdk.module.APITimeoutError) as raised:
        sdk.ask(client)
    assert type(raised.value.__cause__) is sdk.library.ReadTimeout
    sdk.do(client.close())


def test_a_post_that_the_server_may_have_seen_is_sent_once(sdk: Sdk, serve: Callable[..., ScriptedServer]) -> None:
    async def close(connection: Connection) -> None:
        await connection.request()

    server = serve(close)
    client = sdk.client(server.url)
    with pytest.raises(sdk.module.APIConnectionError) as raised:
        sdk.ask(client)
    assert type(raised.value.__cause__) is sdk.library.ReadError
    assert len(server.requests) == 1
    sdk.do(client.close())


def test_a_mock_of_its_librarys_transport_gets_the_request(
    sdk: Sdk, serve: Callable[..., ScriptedServer], carried: Any, counts: Any
) -> None:
    client = sdk.client(serve(answer).url)
    assert sdk.ask(client) == "answered"
    owner, method = sdk.transport
    response = sdk.library.Response(418, json={"error": {"message": "mocked"}})

    def handle_request(transport: Any, request: Any) -> Any:
        return response

    async def handle_async_request(transport: Any, request: Any) -> Any:
        return response

    with (
        mock.patch.object(owner, method, handle_async_request if sdk.is_async else handle_request),
        pytest.raises(sdk.module.APIStatusError, match="mocked"),
    ):
        sdk.ask(client)
    assert carried.requests == 1
    assert sdk.ask(client) == "answered"
    assert counts()[2] == {"instrumented": 1}
    sdk.do(client.close())


def test_after_removal_it_uses_the_stock_transport(
    sdk: Sdk, serve: Callable[..., ScriptedServer], carried: Any
) -> None:
    server = serve(answer)
    kept = sdk.client(server.url)
    assert sdk.ask(kept) == "answered"
    fast_litellm.remove_acceleration()
    fresh = sdk.client(server.url)
    assert type(fresh._client._transport) is sdk.transport[0]
    assert sdk.ask(kept) == sdk.ask(fresh) == "answered"
    assert carried.requests == 1
    sdk.do(kept.close())
    sdk.do(fresh.close())


def test_an_environments_proxy_is_reached_through_the_pool(
    sdk: Sdk, serve: Callable[..., ScriptedServer], carried: Any, counts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(answer)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    client = sdk.client("http://provider.invalid")
    assert sdk.ask(client) == "answered"
    assert proxy.requests[0].target.startswith("http://provider.invalid/")
    assert carried.requests == 1
    assert counts()[1] == {}
    sdk.do(client.close())


@pytest.fixture
def counts() -> Callable[[], tuple[int, dict[str, int], dict[str, int]]]:
    """counts() -> accelerated clients, fallbacks and stock requests since the test's beginning."""
    before = fast_litellm.get_patch_status()

    def since() -> tuple[int, dict[str, int], dict[str, int]]:
        now = fast_litellm.get_patch_status()

        def more(key: str) -> dict[str, int]:
            return {k: v - before[key].get(k, 0) for k, v in now[key].items() if v != before[key].get(k, 0)}

        clients = now["accelerated_clients"] - before["accelerated_clients"]
        return clients, more("fallback_reasons"), more("requests_stock")

    return since


@pytest.mark.parametrize("order", ["fast_litellm, {}", "{}, fast_litellm"])
def test_nothing_else_is_imported_for_it(name: str, order: str) -> None:
    pytest.importorskip(name)
    code = (
        f"import {order.format(name)}, sys\n"
        "status = fast_litellm.get_patch_status()\n"
        "libraries = {point.split('.')[0] for point in status['points']} & {'httpx', 'httpx2'}\n"
        "print(status['applied'], 'litellm' in sys.modules, len(libraries), fast_litellm.health_check()['status'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", "1", "ok"]
