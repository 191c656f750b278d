"""Mocks and tracers keep working: while one is in place, a request goes the way that it watches."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import httpcore
import httpx
import pytest

from fast_litellm.instrumentation import Seams

ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "mocked"}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


@pytest.fixture(autouse=True)
def a_client_that_is_there_already(accelerated: Any, complete: Callable[..., Any]) -> None:
    """The harder case: the mock comes when litellm has its client and the pool a connection."""
    complete(accelerated, "before")


def content_of(answer: Any) -> str:
    return str(answer.choices[0].message.content)


@pytest.mark.parametrize("layer", ["httpcore", "httpx"])
def test_respx(layer: str, accelerated: Any, complete: Callable[..., Any], counted: Any, told: Any) -> None:
    respx = pytest.importorskip("respx")
    with respx.mock(using=layer) as router:
        route = router.post(path="/v1/chat/completions").respond(json=ANSWER)
        assert content_of(complete(accelerated)) == "mocked"
        assert route.call_count == 1
    assert counted.requests == 0
    assert told.instrumented == (layer == "httpcore")  # the other mocks above the transport
    assert content_of(complete(accelerated, "after")) == "after"
    assert counted.requests == 1
    assert told.instrumented == (layer == "httpcore")


def test_pytest_httpx(
    accelerated: Any, complete: Callable[..., Any], counted: Any, told: Any, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("pytest_httpx")
    httpx_mock = request.getfixturevalue("httpx_mock")
    httpx_mock.add_response(json=ANSWER)
    assert content_of(complete(accelerated)) == "mocked"
    assert len(httpx_mock.get_requests()) == 1
    assert counted.requests == 0
    assert told.instrumented == 1


def test_vcrpy(accelerated: Any, complete: Callable[..., Any], counted: Any, told: Any, tmp_path: Path) -> None:
    vcr = pytest.importorskip("vcr")
    cassette = str(tmp_path / "cassette.yaml")
    for _ in range(2):  # recorded, then played
        with vcr.use_cassette(cassette, record_mode="once"):
            assert content_of(complete(accelerated, "recorded")) == "recorded"
    assert counted.requests == 1
    assert told.instrumented == 2


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


def test_opentelemetry(
    accelerated: Any, complete: Callable[..., Any], told: Any, spans: Callable[[], list[str]]
) -> None:
    assert content_of(complete(accelerated, "traced")) == "traced"
    assert spans() == ["POST"]
    assert told.instrumented == 1


def test_opentelemetry_on_one_client_traces_what_the_pool_carries(
    accelerated: Any, openai_server: Any, told: Any
) -> None:
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.httpx")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    client = accelerated.llms.custom_httpx.http_handler.HTTPHandler().client
    instrumentation.HTTPXClientInstrumentor.instrument_client(client, tracer_provider=provider)
    assert client.get(f"{openai_server.base_url}/models").status_code == 200
    assert len(exporter.get_finished_spans()) == 1
    assert told.instrumented == 0
    instrumentation.HTTPXClientInstrumentor.uninstrument_client(client)
    assert client.get(f"{openai_server.base_url}/models").status_code == 200
    assert len(exporter.get_finished_spans()) == 1


def test_a_replaced_socket_is_respected(
    accelerated: Any, complete: Callable[..., Any], counted: Any, told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pytest-socket does, so that no test can reach the network."""

    class Forbidden(socket.socket):
        def __new__(cls, *args: Any, **keywords: Any) -> Forbidden:
            raise RuntimeError("no sockets here")

    monkeypatch.setattr(socket, "socket", Forbidden)
    with pytest.raises(Exception, match=r"no sockets here|Connection error"):
        complete(accelerated)
    monkeypatch.undo()
    assert told.instrumented == 1


def test_a_stream_under_a_mock_is_the_mocks(accelerated: Any, openai_server: Any, counted: Any) -> None:
    respx = pytest.importorskip("respx")
    client = accelerated.llms.custom_httpx.http_handler.HTTPHandler().client
    with respx.mock as router:
        router.get("https://nowhere.example/stream").respond(stream=httpx.ByteStream(b"a piece"))
        with client.stream("GET", "https://nowhere.example/stream") as response:
            assert response.read() == b"a piece"
    client.close()
    assert counted.requests == 0


REPLACED: list[tuple[Any, str]] = [
    (httpx.HTTPTransport, "handle_request"),
    (httpcore.ConnectionPool, "handle_request"),
    (httpcore.HTTPConnection, "handle_request"),
    (httpcore.HTTP11Connection, "handle_request"),
    (socket, "getaddrinfo"),
    (socket, "create_connection"),
    (socket, "socket"),
    (socket.socket, "connect"),
]


@pytest.mark.parametrize(("owner", "name"), REPLACED)
def test_each_seam_is_watched_and_the_pool_comes_back_when_it_is_restored(owner: Any, name: str) -> None:
    seams = Seams()
    assert seams.untouched()
    with mock.patch.object(owner, name):
        assert not seams.untouched()
        assert not seams.untouched()
    assert seams.untouched()


@pytest.mark.parametrize(("owner", "name"), REPLACED)
def test_a_mock_that_was_there_first_is_recognised(owner: Any, name: str) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(owner, name))
        seams = Seams()
        assert not seams.untouched()
        stack.close()
        assert seams.untouched()


def test_a_wrapper_that_copies_the_names_of_what_it_wraps_is_recognised() -> None:
    import functools

    original = httpx.HTTPTransport.handle_request

    @functools.wraps(original)
    def handle_request(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        return original(self, request)

    with mock.patch.object(httpx.HTTPTransport, "handle_request", handle_request):
        assert not Seams().untouched()
