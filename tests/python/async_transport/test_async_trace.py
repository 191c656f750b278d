"""The `trace` extension: the same events as httpx's own transports, sync and async, in the same order.

httpx's command line prints these events, and debuggers rely on them.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import anyio
import httpx
import pytest

from async_transport.conftest import MakeAsyncClient
from fast_litellm import HTTPTransport
from peers.asgi import AsgiServer
from peers.nginx import Nginx
from peers.scripted import Connection, ScriptedServer, serve_ok
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]
Event = tuple[str, Mapping[str, Any]]

#: What a request does, for both kinds of client; each is a request of the same name below.
CASES = ("get", "post", "reused", "stream read", "stream left", "head", "chunked", "refused")


def _case(name: str, server: str, asgi: str) -> tuple[str, str, dict[str, Any]]:
    if name == "post":
        return "POST", f"{server}/x", {"content": b"body"}
    if name == "head":
        return "HEAD", f"{server}/x", {}
    if name == "chunked":
        return "GET", f"{asgi}/bytes/200000", {}
    if name == "refused":
        with ScriptedServer(serve_ok) as gone:
            pass
        return "GET", gone.url, {}
    return "GET", f"{server}/x", {}


def _sync_names(client: httpx.Client, name: str, server: str, asgi: str) -> list[str]:
    names: list[str] = []

    def trace(event: str, info: Mapping[str, Any]) -> None:
        names.append(event)

    method, url, arguments = _case(name, server, asgi)
    if name == "reused":
        client.get(url)
    with contextlib.suppress(httpx.ConnectError):  # noqa: SIM117
        with client.stream(method, url, extensions={"trace": trace}, **arguments) as response:
            if name != "stream left":
                response.read()
    return names


async def _async_names(client: httpx.AsyncClient, name: str, server: str, asgi: str) -> list[str]:
    names: list[str] = []

    async def trace(event: str, info: Mapping[str, Any]) -> None:
        await anyio.sleep(0)
        names.append(event)

    method, url, arguments = _case(name, server, asgi)
    if name == "reused":
        await client.get(url)
    with contextlib.suppress(httpx.ConnectError):
        async with client.stream(method, url, extensions={"trace": trace}, **arguments) as response:
            if name != "stream left":
                await response.aread()
    return names


@pytest.fixture(scope="session")
def context(certificates: Certificates) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificates.ca_file))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("url", ["plain", "tls13"])
def test_sync_requests_report_the_events_that_httpx_reports(
    nginx: Nginx, asgi: AsgiServer, certificates: Certificates, context: ssl.SSLContext, url: str, name: str
) -> None:
    server = getattr(nginx.urls, url)
    with httpx.Client(verify=context) as stock:
        expected = _sync_names(stock, name, server, asgi.url)
    with httpx.Client(transport=HTTPTransport(verify=str(certificates.ca_file))) as ours:
        assert _sync_names(ours, name, server, asgi.url) == expected
    assert expected


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("url", ["plain", "tls13"])
async def test_async_requests_report_the_events_that_httpx_reports(
    make_async_client: MakeAsyncClient, nginx: Nginx, asgi: AsgiServer, context: ssl.SSLContext, url: str, name: str
) -> None:
    server = getattr(nginx.urls, url)
    async with httpx.AsyncClient(verify=context) as stock:
        expected = await _async_names(stock, name, server, asgi.url)
    assert await _async_names(make_async_client(), name, server, asgi.url) == expected
    assert expected


async def test_a_body_of_an_iterator_is_one_event(async_client: httpx.AsyncClient, nginx: Nginx) -> None:
    names: list[str] = []

    async def trace(event: str, info: Mapping[str, Any]) -> None:
        names.append(event)

    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    await async_client.post(nginx.urls.plain, content=body(), extensions={"trace": trace})
    assert names == [
        "connection.connect_tcp.started",
        "connection.connect_tcp.complete",
        "http11.send_request_headers.started",
        "http11.send_request_headers.complete",
        "http11.send_request_body.started",
        "http11.send_request_body.complete",
        "http11.receive_response_headers.started",
        "http11.receive_response_headers.complete",
        "http11.receive_response_body.started",
        "http11.receive_response_body.complete",
        "http11.response_closed.started",
        "http11.response_closed.complete",
    ]


async def test_the_events_hold_what_httpxs_command_line_prints(async_client: httpx.AsyncClient, nginx: Nginx) -> None:
    """It reads these keys of these events, and nothing else."""
    events: dict[str, Mapping[str, Any]] = {}
    streams: list[Any] = []

    async def trace(event: str, info: Mapping[str, Any]) -> None:
        events[event] = info
        if event == "connection.start_tls.complete":
            streams.append(info["return_value"].get_extra_info("ssl_object"))

    response = await async_client.get(f"{nginx.urls.tls13}/x?y", extensions={"trace": trace})
    assert events["connection.connect_tcp.started"]["host"] == "127.0.0.1"
    stream = events["connection.connect_tcp.complete"]["return_value"]
    assert stream.get_extra_info("server_addr") == ("127.0.0.1", httpx.URL(nginx.urls.tls13).port)
    streams.append(events["connection.start_tls.complete"]["return_value"].get_extra_info("ssl_object"))
    for tls in streams:  # while connecting, and after the response
        assert tls.version() == "TLSv1.3"
        assert tls.cipher()[0].startswith("TLS_")
        assert tls.selected_alpn_protocol() in (None, "http/1.1")
        assert tls.getpeercert()["subjectAltName"]
    request = events["http11.send_request_headers.started"]["request"]
    assert (request.method, request.url.target) == (b"GET", b"/x?y")
    assert (b"Host", f"127.0.0.1:{httpx.URL(nginx.urls.tls13).port}".encode()) in request.headers
    version, status, reason, headers = events["http11.receive_response_headers.complete"]["return_value"]
    assert (version, status, reason, headers) == (b"HTTP/1.1", 200, b"OK", response.headers.raw)


@pytest.mark.parametrize("url", ["plain", "tls12", "tls13"])
@pytest.mark.parametrize("verify", [True, False], ids=["verified", "unverified"])
def test_httpxs_command_line_prints_the_same(
    nginx: Nginx,
    certificates: Certificates,
    context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    url: str,
    verify: bool,
) -> None:
    command_line = pytest.importorskip("httpx._main")
    client_class = httpx.Client

    def stock(**arguments: Any) -> httpx.Client:
        return client_class(verify=context if verify else False)

    def ours(**arguments: Any) -> httpx.Client:
        return client_class(transport=HTTPTransport(verify=str(certificates.ca_file) if verify else False))

    def printed(make_client: Callable[..., httpx.Client]) -> list[str]:
        monkeypatch.setattr(command_line, "Client", make_client)
        with pytest.raises(SystemExit) as ended:
            command_line.main([f"{getattr(nginx.urls, url)}/x", "--verbose"], standalone_mode=False)
        assert ended.value.code == 0
        lines = capsys.readouterr().out.splitlines()
        # What differs from one connection to the next.
        return [line for line in lines if not line.startswith(("Date:", "x-connection:", "x-resumed:"))]

    expected = printed(stock)
    assert printed(ours) == expected
    assert any(line.startswith("* SSL established using 'TLSv1") for line in expected) is url.startswith("tls")
    assert ("* Server certificate:" in expected) is (url.startswith("tls") and verify)


async def test_an_exception_of_the_trace_function_propagates_and_has_no_other_effect(
    async_client: httpx.AsyncClient, serve: Serve
) -> None:
    class Broken(Exception):
        pass

    async def trace(event: str, info: Mapping[str, Any]) -> None:
        if event == "http11.receive_response_headers.complete":
            raise Broken

    server = serve(serve_ok)
    with pytest.raises(Broken):
        await async_client.get(server.url, extensions={"trace": trace})
    assert (await async_client.get(f"{server.url}/next")).text == "GET /next"


async def test_a_failure_is_reported_with_its_exception(async_client: httpx.AsyncClient, serve: Serve) -> None:
    events: list[Event] = []

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"this is not HTTP\r\n\r\n")

    async def trace(event: str, info: Mapping[str, Any]) -> None:
        events.append((event, info))

    with pytest.raises(httpx.RemoteProtocolError):
        await async_client.get(serve(script).url, extensions={"trace": trace})
    [failed] = [info for event, info in events if event == "http11.receive_response_headers.failed"]
    assert isinstance(failed["exception"], Exception)
    assert [event for event, _ in events][-2:] == ["http11.response_closed.started", "http11.response_closed.complete"]


async def test_a_plain_function_as_the_trace_of_an_async_request_is_refused(
    async_client: httpx.AsyncClient, serve: Serve
) -> None:
    server = serve(serve_ok)
    with pytest.raises(TypeError, match="async"):
        await async_client.get(server.url, extensions={"trace": lambda event, info: None})
