"""What the environment and litellm's settings say of proxies, certificates and sockets holds as without the pool."""

from __future__ import annotations

import functools
import os
import shutil
import socket
import subprocess
import types
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import certifi
import httpx
import pytest

from fast_litellm.litellm_patch.aiohttp_transport import environment_may_name_a_proxy, session_is_plain
from fast_litellm.litellm_patch.patch import _keepalive_expiry
from peers.scripted import Connection, ScriptedServer, serve_ok

Make = Callable[..., Any]
Through = Callable[[Any], bool]


@pytest.fixture
def origin(serve: Make) -> ScriptedServer:
    server: ScriptedServer = serve(serve_ok)
    return server


@pytest.fixture
def proxy(serve: Make) -> ScriptedServer:
    """Answers in the origin's stead; a proxy is given the whole URL as target."""

    async def script(connection: Connection) -> None:
        while True:
            request = await connection.request()
            assert request.target.startswith("http://")
            await connection.respond(b"by the proxy")

    server: ScriptedServer = serve(script)
    return server


@pytest.fixture(params=["handler", "SDK", "module", "force_ipv4"])
def client(
    request: pytest.FixtureRequest, accelerated: Any, mode: Any, in_module: Make, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Any]]:
    """client() -> an httpx client that litellm or an SDK made, in one of the ways that there are."""
    made: list[Any] = []

    def make() -> Any:
        if request.param == "SDK":
            made.append(mode.openai(api_key="sk-nothing")._client)
        elif request.param == "module":
            made.append(in_module("litellm.somewhere", "made = make()", make=mode.client_class))
        else:
            monkeypatch.setattr(accelerated, "force_ipv4", request.param == "force_ipv4")
            made.append(mode.handler(accelerated).client)
        return made[-1]

    yield make
    for each in made:
        mode.close(each)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_requests_through_a_proxy_go_through_the_pool_to_it(
    variable: str,
    client: Make,
    mode: Any,
    origin: ScriptedServer,
    proxy: ScriptedServer,
    reported: Any,
    carried: Any,
    monkeypatch: pytest.MonkeyPatch,
    goes_through_the_pool: Through,
) -> None:
    monkeypatch.setenv(variable, proxy.url)
    proxied = client()
    assert mode.do(proxied.get(f"{origin.url}/x")).content == b"by the proxy"
    assert [request.target for request in proxy.requests] == [f"{origin.url}/x"]
    assert origin.requests == []
    assert carried.requests == 1
    assert goes_through_the_pool(proxied)  # what no proxy carries, too
    assert (reported.fallbacks, reported.stock_requests) == ({}, {})


def test_requests_without_a_proxy_go_through_the_pool(
    client: Make,
    mode: Any,
    origin: ScriptedServer,
    proxy: ScriptedServer,
    reported: Any,
    carried: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert mode.do(client().get(f"{origin.url}/x")).content == b"GET /x"
    assert proxy.requests == []
    assert carried.requests == 1
    assert reported.stock_requests == {}


def test_a_client_with_trust_env_false_ignores_the_environment(
    accelerated: Any,
    in_module: Make,
    mode: Any,
    origin: ScriptedServer,
    openai_server: Any,
    proxy: ScriptedServer,
    carried: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    client = in_module("litellm.somewhere", "made = make(trust_env=False)", make=mode.client_class)
    assert mode.do(client.get(f"{origin.url}/x")).content == b"GET /x"
    assert carried.requests == 1
    with pytest.raises(httpx.ConnectError, match="certificate"):  # SSL_CERT_FILE names its issuer
        mode.do(client.get(f"{openai_server.base_url}/models"))
    mode.close(client)


# litellm's aiohttp transport asks the environment with each request.


@pytest.mark.parametrize("where", ["setting", "variable"])
def test_disable_aiohttp_trust_env_turns_its_proxies_off(
    where: str,
    accelerated: Any,
    origin: ScriptedServer,
    proxy: ScriptedServer,
    carried: Any,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    if where == "setting":
        monkeypatch.setattr(accelerated, "disable_aiohttp_trust_env", True)
    else:
        monkeypatch.setenv("DISABLE_AIOHTTP_TRUST_ENV", "True")
    handler = accelerated.llms.custom_httpx.http_handler.AsyncHTTPHandler()
    assert run(handler.get(f"{origin.url}/x")).content == b"GET /x"
    assert carried.requests == 1
    run(handler.close())


def test_a_proxy_that_comes_later_is_seen_for_hosts_not_asked_for_before(
    accelerated: Any,
    origin: ScriptedServer,
    proxy: ScriptedServer,
    carried: Any,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handler = accelerated.llms.custom_httpx.http_handler.AsyncHTTPHandler()
    assert run(handler.get(f"{origin.url}/x")).content == b"GET /x"
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    assert run(handler.get(f"{origin.url}/x")).content == b"GET /x"
    assert run(handler.get("http://elsewhere.invalid/x")).content == b"by the proxy"
    assert carried.requests == 3
    run(handler.close())


def test_a_host_that_was_asked_for_while_proxies_were_turned_off_is_asked_for_again(
    accelerated: Any,
    origin: ScriptedServer,
    proxy: ScriptedServer,
    carried: Any,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handler = accelerated.llms.custom_httpx.http_handler.AsyncHTTPHandler()
    monkeypatch.setattr(accelerated, "disable_aiohttp_trust_env", True)
    assert run(handler.get(f"{origin.url}/x")).content == b"GET /x"
    monkeypatch.setattr(accelerated, "disable_aiohttp_trust_env", False)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    assert run(handler.get(f"{origin.url}/x")).content == b"by the proxy"
    assert carried.requests == 2
    run(handler.close())


def test_a_replacement_for_the_search_for_proxies_is_called(
    accelerated: Any,
    origin: ScriptedServer,
    proxy: ScriptedServer,
    carried: Any,
    reported: Any,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from litellm.llms.custom_httpx.aiohttp_transport import LiteLLMAiohttpTransport

    handler = accelerated.llms.custom_httpx.http_handler.AsyncHTTPHandler()
    monkeypatch.setattr(LiteLLMAiohttpTransport, "_proxy_from_env", lambda self, url: proxy.url)
    assert run(handler.get(f"{origin.url}/x")).content == b"by the proxy"
    assert carried.requests == 0
    run(handler.close())


@pytest.mark.parametrize(
    "name", ["", "HTTP_PROXY", "https_proxy", "All_Proxy", "NO_PROXY", "x_PROXY", "PROXY", "_proxy"]
)
def test_only_an_environment_that_may_name_a_proxy_is_searched(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in list(os.environ):
        if each.lower().endswith("_proxy"):
            monkeypatch.delenv(each)
    if name:
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert environment_may_name_a_proxy() or not urllib.request.getproxies()
    assert environment_may_name_a_proxy() == name.lower().endswith("_proxy")
    monkeypatch.setattr(urllib.request, "getproxies", dict)  # a system with settings of its own
    assert environment_may_name_a_proxy()


def test_aiohttps_own_trust_in_the_environment_is_kept(
    accelerated: Any,
    origin: ScriptedServer,
    proxy: ScriptedServer,
    carried: Any,
    reported: Any,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(accelerated, "disable_aiohttp_trust_env", True)
    monkeypatch.setattr(accelerated, "aiohttp_trust_env", True)
    handlers = accelerated.llms.custom_httpx.http_handler
    handler = handlers.AsyncHTTPHandler()
    assert run(handler.get(f"{origin.url}/x")).content == b"GET /x"
    assert carried.requests == 1
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    assert run(handler.get(f"{origin.url}/x")).content == b"by the proxy"
    run(handler.close())
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password mine")
    handler = handlers.AsyncHTTPHandler()
    assert reported.fallbacks == {"aiohttp_trust_env with a netrc file": 1}
    run(handler.close())


def test_a_shared_session_of_aiohttp_is_not_used_and_that_is_counted(
    accelerated: Any, origin: ScriptedServer, reported: Any, carried: Any, run: Any
) -> None:
    async def call() -> bytes:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            handler = accelerated.llms.custom_httpx.http_handler.AsyncHTTPHandler(shared_session=session)
            content: bytes = (await handler.get(f"{origin.url}/x")).content
            assert not session.connector or not session.connector._acquired
            await handler.close()
            assert not session.closed
            return content

    assert run(call()) == b"GET /x"
    assert carried.requests == 1
    assert reported.not_used == {"shared_session": 1}
    assert reported.fallbacks == {}


#: A tracer as litellm makes one of for each of its sessions since 1.109.
TRACER = """
class Context(types.SimpleNamespace):
    def __init__(self, trace_request_ctx=None):
        super().__init__()

async def waits(session, context, params):
    heard.append(params)

made = aiohttp.TraceConfig(trace_config_ctx_factory=Context)
made.on_connection_queued_start.append(waits)
made.on_request_start.append(waits)
"""


def test_a_shared_session_with_litellms_own_tracer_is_not_used_and_that_is_counted(
    accelerated: Any, origin: ScriptedServer, reported: Any, carried: Any, run: Any, in_module: Any
) -> None:
    heard: list[Any] = []

    async def call() -> bytes:
        tracer = in_module("litellm.somewhere", TRACER, aiohttp=aiohttp, types=types, heard=heard)
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trace_configs=[tracer]) as session:
            handler = accelerated.llms.custom_httpx.http_handler.AsyncHTTPHandler(shared_session=session)
            content: bytes = (await handler.get(f"{origin.url}/x")).content
            await handler.close()
            return content

    assert run(call()) == b"GET /x"
    assert carried.requests == 1
    assert reported.not_used == {"shared_session": 1}
    assert reported.fallbacks == {}
    assert heard == []


def test_the_session_that_this_litellms_proxy_shares_is_a_plain_one(accelerated: Any, run: Any) -> None:
    try:
        from litellm.llms.custom_httpx.aiohttp_pool_diagnostics import build_pool_wait_trace_config
    except ImportError:  # litellm before 1.109
        tracers: list[aiohttp.TraceConfig] = []
    else:
        tracers = [build_pool_wait_trace_config()]

    async def answer() -> bool:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(keepalive_timeout=15, ttl_dns_cache=300, limit=1000),
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=tracers,
        )
        async with session:
            return session_is_plain(session)

    assert run(answer())


@pytest.mark.parametrize("whose", ["added to litellm's", "beside litellm's", "in litellm's name", "its context"])
def test_a_shared_session_with_a_tracer_of_the_callers_is_used(
    whose: str, accelerated: Any, origin: ScriptedServer, reported: Any, carried: Any, run: Any, in_module: Any
) -> None:
    heard: list[Any] = []

    async def mine(session: Any, context: Any, params: Any) -> None:
        heard.append(params)

    def context(trace_request_ctx: Any = None) -> types.SimpleNamespace:
        heard.append(trace_request_ctx)
        return types.SimpleNamespace()

    async def call() -> None:
        tracers = [in_module("litellm.somewhere", TRACER, aiohttp=aiohttp, types=types, heard=[])]
        if whose == "its context":
            tracers = [aiohttp.TraceConfig(trace_config_ctx_factory=context)]
            tracers[0].on_request_start.append(in_module("litellm.somewhere", "async def made(*_): pass"))
        elif whose == "added to litellm's":
            tracers[0].on_request_start.append(mine)
        elif whose == "beside litellm's":
            tracers.append(aiohttp.TraceConfig())
            tracers[1].on_request_start.append(mine)
        else:
            tracers[0].on_request_start[:] = [functools.wraps(tracers[0].on_request_start[0])(mine)]
        async with aiohttp.ClientSession(trace_configs=tracers) as session:
            handler = accelerated.llms.custom_httpx.http_handler.AsyncHTTPHandler(shared_session=session)
            await handler.get(f"{origin.url}/x")
            await handler.close()

    run(call())
    assert len(heard) == 1
    assert carried.requests == 0
    assert reported.fallbacks == {"shared_session: one of the caller's own making": 1}


def test_a_shared_session_that_does_more_than_the_pool_would_is_used(
    accelerated: Any, origin: ScriptedServer, reported: Any, carried: Any, run: Any
) -> None:
    async def call() -> None:
        async with aiohttp.ClientSession(headers={"x-mine": "yes"}) as session:
            handler = accelerated.llms.custom_httpx.http_handler.AsyncHTTPHandler(shared_session=session)
            await handler.get(f"{origin.url}/x")
            await handler.close()

    run(call())
    assert origin.requests[0].header("x-mine") == "yes"
    assert carried.requests == 0
    assert reported.fallbacks == {"shared_session: one of the caller's own making": 1}


def test_each_option_of_a_session_makes_it_more_than_a_plain_one(run: Any) -> None:
    class Mine(aiohttp.ClientSession):
        pass

    def connector(**keywords: Any) -> dict[str, Any]:
        return {"connector": aiohttp.TCPConnector(**keywords)}

    async def answers() -> list[bool]:
        made = [
            aiohttp.ClientSession(),
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), **connector(limit=3, ttl_dns_cache=1)),
            aiohttp.ClientSession(headers={"a": "b"}),
            aiohttp.ClientSession(cookies={"a": "b"}),
            aiohttp.ClientSession(base_url="http://127.0.0.1/"),
            aiohttp.ClientSession(trace_configs=[aiohttp.TraceConfig()]),
            aiohttp.ClientSession(raise_for_status=True),
            aiohttp.ClientSession(connector=aiohttp.UnixConnector("/no/such/socket")),
            aiohttp.ClientSession(**connector(local_addr=("127.0.0.1", 0))),
            aiohttp.ClientSession(**connector(family=socket.AF_INET)),
            aiohttp.ClientSession(**connector(ssl=False)),
            aiohttp.ClientSession(**connector(socket_factory=lambda info: socket.socket())),
        ]
        plain = [session_is_plain(session) for session in made]
        for session in made:
            await session.close()
        return plain

    assert run(answers()) == [True, True] + [False] * 10


def test_keepalive_probes_that_litellm_is_configured_to_set_are_set(
    accelerated: Any, origin: ScriptedServer, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers = accelerated.llms.custom_httpx.http_handler
    monkeypatch.setattr(handlers, "AIOHTTP_SO_KEEPALIVE", True)
    monkeypatch.setattr(handlers, "AIOHTTP_TCP_KEEPIDLE", 61)
    handler = handlers.AsyncHTTPHandler()

    async def option() -> tuple[int, int]:
        request = handler.client.build_request("GET", f"{origin.url}/x")
        response = await handler.client.send(request, stream=True)
        with response.extensions["network_stream"].get_extra_info("socket") as found:
            values = (
                found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                found.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
            )
        await response.aclose()
        await handler.close()
        return values

    assert run(option()) == (1, 61)


@pytest.mark.parametrize(
    ("variable", "constant", "expected"), [(None, 15, None), ("7", 7, 7.0), ("0", 0, 0.0), ("-1", -1, None)]
)
def test_an_idle_time_that_the_user_set_is_adopted(
    variable: str | None, constant: int, expected: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIOHTTP_KEEPALIVE_TIMEOUT", raising=False)
    if variable is not None:
        monkeypatch.setenv("AIOHTTP_KEEPALIVE_TIMEOUT", variable)
    handlers = types.ModuleType("handlers")
    handlers.AIOHTTP_KEEPALIVE_TIMEOUT = constant  # type: ignore[attr-defined]
    assert _keepalive_expiry(handlers) == expected
    assert _keepalive_expiry(types.ModuleType("without")) is None


# Certificates.


@pytest.mark.parametrize("how", ["litellm.ssl_verify", "SSL_VERIFY", "argument"])
def test_verification_that_litellm_is_configured_to_skip_is_skipped(
    how: str,
    accelerated: Any,
    openai_server: Any,
    mode: Any,
    reported: Any,
    monkeypatch: pytest.MonkeyPatch,
    goes_through_the_pool: Through,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())  # which does not know the server
    if how == "litellm.ssl_verify":
        monkeypatch.setattr(accelerated, "ssl_verify", False)
    elif how == "SSL_VERIFY":
        monkeypatch.setenv("SSL_VERIFY", "False")
    handler = mode.handler(accelerated, **({"ssl_verify": False} if how == "argument" else {}))
    assert goes_through_the_pool(handler.client)
    assert mode.do(handler.get(f"{openai_server.base_url}/models")).status_code == 200
    assert reported.fallbacks == {}
    mode.do(handler.close())


@pytest.mark.parametrize("how", ["litellm.ssl_verify", "SSL_VERIFY", "SSL_CERT_FILE"])
def test_a_bundle_that_litellm_is_configured_with_is_used(
    how: str,
    accelerated: Any,
    openai_server: Any,
    mode: Any,
    goes_through_the_pool: Through,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unknown = mode.handler(accelerated, ssl_verify=certifi.where())
    with pytest.raises(httpx.ConnectError, match="certificate"):
        mode.do(unknown.get(f"{openai_server.base_url}/models"))
    mode.do(unknown.close())
    monkeypatch.delenv("SSL_CERT_FILE")
    if how == "litellm.ssl_verify":
        monkeypatch.setattr(accelerated, "ssl_verify", openai_server.ca_file)
    else:
        monkeypatch.setenv(how, openai_server.ca_file)
    handler = mode.handler(accelerated)
    assert mode.do(handler.get(f"{openai_server.base_url}/models")).status_code == 200
    assert goes_through_the_pool(handler.client)
    mode.do(handler.close())


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_the_sdks_clients_trust_what_the_environment_names(
    variable: str,
    accelerated: Any,
    openai_server: Any,
    mode: Any,
    carried: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    if variable == "SSL_CERT_FILE":
        monkeypatch.setenv(variable, openai_server.ca_file)
    else:
        name = subprocess.run(
            ["openssl", "x509", "-hash", "-noout", "-in", openai_server.ca_file],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        shutil.copy(openai_server.ca_file, tmp_path / f"{name}.0")
        monkeypatch.setenv(variable, str(tmp_path))
    client = mode.openai(base_url=openai_server.base_url, api_key="sk-nothing", max_retries=0)
    answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
    assert mode.do(answer).choices[0].message.content == "hello"
    assert carried.requests == 1
    mode.do(client.close())
