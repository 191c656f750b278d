"""Mocks and tracers keep working: while one is in place, a request goes the way that it watches."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import aiohttp
import anyio
import httpcore
import httpx
import pytest
from litellm.llms.custom_httpx.aiohttp_transport import LiteLLMAiohttpTransport

import fast_litellm
from fast_litellm.acceleration.libraries import of_module
from fast_litellm.acceleration.seams import Seams, async_places, places
from fast_litellm.litellm_patch import aiohttp_transport

HTTPX = of_module(httpx)


def aiohttp_places(library: Any) -> Any:
    return aiohttp_transport.places(LiteLLMAiohttpTransport)


ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "mocked"}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


@pytest.fixture
def a_client_that_is_there_already(accelerated: Any, complete: Callable[..., Any], mode: Any) -> None:
    """The harder case: the mock comes when litellm has its client and the pool a connection."""
    complete(accelerated, "before")


#: Mocks of httpx see nothing of litellm's aiohttp transport, nor of what stands in its place: their users turn it off.
under_httpx = pytest.mark.parametrize("mode", ["sync", "async httpx"], indirect=True)
with_a_client = pytest.mark.usefixtures("a_client_that_is_there_already")


def content_of(answer: Any) -> str:
    return str(answer.choices[0].message.content)


@under_httpx
@with_a_client
@pytest.mark.parametrize("layer", ["httpcore", "httpx"])
def test_respx(layer: str, accelerated: Any, complete: Callable[..., Any], counted: Any, reported: Any) -> None:
    respx = pytest.importorskip("respx")
    with respx.mock(using=layer) as router:
        route = router.post(path="/v1/chat/completions").respond(json=ANSWER)
        assert content_of(complete(accelerated)) == "mocked"
        assert route.call_count == 1
    assert counted.requests == 0
    assert reported.instrumented == (layer == "httpcore")  # the other mocks above the transport
    assert content_of(complete(accelerated, "after")) == "after"
    assert counted.requests == 1
    assert reported.instrumented == (layer == "httpcore")


@under_httpx
@with_a_client
def test_pytest_httpx(
    accelerated: Any, complete: Callable[..., Any], counted: Any, reported: Any, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("pytest_httpx")
    httpx_mock = request.getfixturevalue("httpx_mock")
    httpx_mock.add_response(json=ANSWER)
    assert content_of(complete(accelerated)) == "mocked"
    assert len(httpx_mock.get_requests()) == 1
    assert counted.requests == 0
    assert reported.instrumented == 1


@with_a_client
def test_vcrpy(accelerated: Any, complete: Callable[..., Any], counted: Any, reported: Any, tmp_path: Path) -> None:
    vcr = pytest.importorskip("vcr")
    cassette = str(tmp_path / "cassette.yaml")
    for _ in range(2):  # recorded, then played
        with vcr.use_cassette(cassette, record_mode="once"):
            assert content_of(complete(accelerated, "recorded")) == "recorded"
    assert counted.requests == 1
    assert reported.instrumented == 2


@pytest.fixture
def spans() -> Iterator[Callable[[], list[str]]]:
    """OpenTelemetry's instrumentation of httpx, and the spans that it ended."""
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.httpx")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = instrumentation.HTTPXClientInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        yield lambda: [span.name for span in exporter.get_finished_spans()]
    finally:
        instrumentor.uninstrument()


@under_httpx
@with_a_client
def test_opentelemetry(
    accelerated: Any, complete: Callable[..., Any], reported: Any, spans: Callable[[], list[str]]
) -> None:
    assert content_of(complete(accelerated, "traced")) == "traced"
    assert spans() == ["POST"]
    assert reported.instrumented == 1


@under_httpx
def test_opentelemetry_removed_from_one_client_stays_on_the_others(
    accelerated: Any, openai_server: Any, reported: Any, carried: Any, spans: Callable[[], list[str]], mode: Any
) -> None:
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.httpx")
    off, on = mode.handler(accelerated), mode.handler(accelerated, timeout=31.0)
    assert off.client is not on.client
    url = f"{openai_server.base_url}/models"
    assert mode.do(off.client.get(url)).status_code == 200
    assert len(spans()) == reported.instrumented == 1
    instrumentation.HTTPXClientInstrumentor.uninstrument_client(off.client)
    assert mode.do(off.client.get(url)).status_code == 200
    assert len(spans()) == reported.instrumented == 1
    assert carried.requests == 1
    assert mode.do(on.client.get(url)).status_code == 200
    assert len(spans()) == reported.instrumented == 2
    for handler in (off, on):
        mode.close(handler.client)


def test_opentelemetry_of_httpx_leaves_clients_that_replace_aiohttp_in_the_pool(
    accelerated: Any, openai_server: Any, reported: Any, spans: Callable[[], list[str]], run: Any
) -> None:
    """As it traces nothing of litellm's aiohttp transport."""
    handler = accelerated.llms.custom_httpx.http_handler.AsyncHTTPHandler()
    assert run(handler.get(f"{openai_server.base_url}/models")).status_code == 200
    assert spans() == []
    assert reported.instrumented == 0
    run(handler.close())


@pytest.mark.parametrize("mode", ["async"], indirect=True)
@with_a_client
def test_a_mock_of_aiohttp(
    accelerated: Any, complete: Callable[..., Any], counted: Any, reported: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As aioresponses and vcrpy do."""

    async def refuse(session: aiohttp.ClientSession, *args: Any, **keywords: Any) -> Any:
        raise aiohttp.ClientConnectionError("mocked away")

    monkeypatch.setattr(aiohttp.ClientSession, "_request", refuse)
    with pytest.raises(accelerated.InternalServerError, match="onnection error"):
        complete(accelerated)
    assert counted.requests == 0
    assert reported.instrumented == 1
    monkeypatch.undo()


def test_opentelemetry_on_one_client_traces_what_the_pool_carries(
    accelerated: Any, openai_server: Any, reported: Any, mode: Any
) -> None:
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.httpx")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    handler = mode.handler(accelerated)
    client = handler.client
    instrumentation.HTTPXClientInstrumentor.instrument_client(client, tracer_provider=provider)
    assert mode.do(client.get(f"{openai_server.base_url}/models")).status_code == 200
    assert len(exporter.get_finished_spans()) == 1
    assert reported.instrumented == 0
    instrumentation.HTTPXClientInstrumentor.uninstrument_client(client)
    assert mode.do(client.get(f"{openai_server.base_url}/models")).status_code == 200
    assert len(exporter.get_finished_spans()) == 1


@with_a_client
def test_a_replaced_socket_is_respected(
    accelerated: Any, complete: Callable[..., Any], counted: Any, reported: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pytest-socket does, so that no test can reach the network. The caller gets the error that litellm as it comes
    raises, whose text depends on the library underneath."""

    class Forbidden(socket.socket):
        def __new__(cls, *args: Any, **keywords: Any) -> Forbidden:
            raise RuntimeError("no sockets here")

    def refused() -> tuple[type, str]:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", Forbidden)
            with pytest.raises(Exception) as raised:  # noqa: PT011
                complete(accelerated)
        return type(raised.value), str(raised.value)

    ours = refused()
    assert reported.instrumented == 1
    fast_litellm.remove_acceleration()
    assert ours == refused()
    assert counted.connections == 0


@under_httpx
def test_a_stream_under_a_mock_is_the_mocks(accelerated: Any, openai_server: Any, counted: Any, mode: Any) -> None:
    respx = pytest.importorskip("respx")
    client = mode.handler(accelerated).client
    with respx.mock as router:
        router.get("https://nowhere.example/stream").respond(stream=httpx.ByteStream(b"a piece"))
        response = mode.do(client.send(client.build_request("GET", "https://nowhere.example/stream"), stream=True))
        assert mode.do(response.aread() if mode.is_async else response.read()) == b"a piece"
    mode.close(client)
    assert counted.requests == 0


SOCKETS = [(socket, "getaddrinfo"), (socket, "create_connection"), (socket, "socket"), (socket.socket, "connect")]
REPLACED: list[tuple[Any, Any, str]] = [
    (places, httpx.HTTPTransport, "handle_request"),
    (places, httpcore.ConnectionPool, "handle_request"),
    (places, httpcore.HTTPConnection, "handle_request"),
    (places, httpcore.HTTP11Connection, "handle_request"),
    *((places, *place) for place in SOCKETS),
    (async_places, httpx.AsyncHTTPTransport, "handle_async_request"),
    (async_places, httpcore.AsyncConnectionPool, "handle_async_request"),
    (async_places, httpcore.AsyncHTTPConnection, "handle_async_request"),
    (async_places, httpcore.AsyncHTTP11Connection, "handle_async_request"),
    (async_places, anyio, "connect_tcp"),
    *((async_places, *place) for place in SOCKETS),
    (aiohttp_places, aiohttp.ClientSession, "_request"),
    (aiohttp_places, aiohttp.ClientSession, "__init__"),
    (aiohttp_places, aiohttp.TCPConnector, "_create_connection"),
    (aiohttp_places, aiohttp.TCPConnector, "_resolve_host"),
    (aiohttp_places, aiohttp.BaseConnector, "connect"),
    (aiohttp_places, LiteLLMAiohttpTransport, "handle_async_request"),
    (aiohttp_places, LiteLLMAiohttpTransport, "_make_aiohttp_request"),
    *((aiohttp_places, *place) for place in SOCKETS),
]


@pytest.mark.parametrize(("places_of", "owner", "name"), REPLACED)
def test_each_seam_is_checked_and_the_pool_is_used_again_when_it_is_restored(
    places_of: Callable[[Any], Any], owner: Any, name: str
) -> None:
    seams = Seams(places_of(HTTPX))
    assert seams.untouched()
    with mock.patch.object(owner, name):
        assert not seams.untouched()
        assert not seams.untouched()
    assert seams.untouched()


@pytest.mark.parametrize(("places_of", "owner", "name"), REPLACED)
def test_a_mock_that_was_there_first_is_recognised(places_of: Callable[[Any], Any], owner: Any, name: str) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(owner, name))
        seams = Seams(places_of(HTTPX))
        assert not seams.untouched()
        stack.close()
        assert seams.untouched()


def test_a_wrapper_that_copies_the_names_of_what_it_wraps_is_recognised() -> None:
    original = httpx.HTTPTransport.handle_request

    @functools.wraps(original)
    def handle_request(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        return original(self, request)

    with mock.patch.object(httpx.HTTPTransport, "handle_request", handle_request):
        assert not Seams(places(HTTPX)).untouched()
