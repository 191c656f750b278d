"""OpenTelemetry put on and taken off, everywhere and on one client: the spans of stock httpx."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fast_litellm
from fast_litellm.acceleration.public_transports import transports_for
from peers.scripted import ScriptedServer


class Traced:
    """A library, its instrumentor, and how many spans a request of a client makes."""

    def __init__(self, library: str, asynchronous: bool, url: str) -> None:
        instrumentation = pytest.importorskip("opentelemetry.instrumentation.httpx")
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        self.httpx: Any = pytest.importorskip(library)
        self.asynchronous = asynchronous
        self._kind = getattr(instrumentation, library.upper() + "ClientInstrumentor", None)
        if self._kind is None:
            pytest.skip(f"case: this instrumentation knows no {library}")
        self._exporter = InMemorySpanExporter()
        self._provider = TracerProvider()
        self._provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._loop = asyncio.new_event_loop()
        self._url = url

    def client(self, way: str) -> Any:
        httpx, kind = self.httpx, self.httpx.AsyncClient if self.asynchronous else self.httpx.Client
        settings = {"trust_env": False, "timeout": 20.0}
        if way == "transport":
            ours = transports_for(httpx)
            make = ours.AsyncHTTPTransport if self.asynchronous else ours.HTTPTransport
            return kind(transport=make(verify=False), **settings)
        client = kind(verify=False, **settings)
        return client if way == "stock" else fast_litellm.accelerate(client, verify=False)

    def do(self, result: Any) -> Any:
        return self._loop.run_until_complete(result) if self.asynchronous else result

    def spans(self, client: Any) -> int:
        assert self.do(client.get(self._url)).status_code == 200
        made = len(self._exporter.get_finished_spans())
        self._exporter.clear()
        return made

    def everywhere(self) -> Any:
        self._kind().instrument(tracer_provider=self._provider)

    def nowhere(self) -> Any:
        if self._kind().is_instrumented_by_opentelemetry:
            self._kind().uninstrument()

    def on(self, client: Any) -> None:
        self._kind.instrument_client(client, tracer_provider=self._provider)

    def off(self, client: Any) -> None:
        self._kind.uninstrument_client(client)

    def close(self, client: Any) -> None:
        self.do(client.aclose() if self.asynchronous else client.close())

    def end(self) -> None:
        self.nowhere()
        self._loop.close()


@pytest.fixture(params=["sync", "async"])
def traced(request: pytest.FixtureRequest, library: str, scripted: ScriptedServer) -> Iterator[Traced]:
    made = Traced(library, request.param == "async", scripted.url)
    yield made
    made.end()


@pytest.fixture(params=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


Steps = Callable[[Traced, Any], list[int]]


def taken_off_one(traced: Traced, client: Any) -> list[int]:
    found = [traced.spans(client)]
    traced.everywhere()
    found.append(traced.spans(client))
    traced.off(client)
    found += [traced.spans(client), traced.spans(client)]
    traced.nowhere()
    return [*found, traced.spans(client)]


def put_on_one_again(traced: Traced, client: Any) -> list[int]:
    found = taken_off_one(traced, client)
    traced.on(client)
    found.append(traced.spans(client))
    traced.off(client)
    return [*found, traced.spans(client)]


def both_and_one_after_the_other_off(traced: Traced, client: Any) -> list[int]:
    traced.everywhere()
    traced.on(client)
    found = [traced.spans(client)]
    for _ in range(2):
        traced.off(client)
        found.append(traced.spans(client))
    return found


def on_one_and_then_everywhere(traced: Traced, client: Any) -> list[int]:
    traced.on(client)
    found = [traced.spans(client)]
    traced.everywhere()
    found.append(traced.spans(client))
    traced.off(client)
    found.append(traced.spans(client))
    traced.nowhere()
    return [*found, traced.spans(client)]


def off_before_on(traced: Traced, client: Any) -> list[int]:
    traced.off(client)
    found = [traced.spans(client)]
    traced.everywhere()
    return [*found, traced.spans(client)]


def twice_everywhere(traced: Traced, client: Any) -> list[int]:
    traced.everywhere()
    traced.off(client)
    traced.nowhere()
    traced.everywhere()
    return [traced.spans(client)]


@pytest.mark.parametrize("way", ["accelerate", "transport"])
@pytest.mark.parametrize(
    "steps",
    [
        taken_off_one,
        put_on_one_again,
        both_and_one_after_the_other_off,
        on_one_and_then_everywhere,
        off_before_on,
        twice_everywhere,
    ],
)
def test_a_client_has_the_spans_that_a_stock_one_has(traced: Traced, steps: Steps, way: str) -> None:
    found = []
    for each in ("stock", way):
        client = traced.client(each)
        try:
            found.append(steps(traced, client))
        finally:
            traced.nowhere()
        traced.close(client)
    assert found[0] == found[1]


def test_a_client_without_the_tracer_uses_the_pool_and_mocks_below_are_respected(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = traced.client("accelerate")
    traced.everywhere()
    traced.off(client)
    before = fast_litellm.get_performance_stats()
    assert traced.spans(client) == 0
    after = fast_litellm.get_performance_stats()
    assert after["pool"]["requests"] == before["pool"]["requests"] + 1
    assert after["requests_instrumented"] == before["requests_instrumented"]

    import importlib

    core: Any = importlib.import_module("httpcore" + traced.httpx.__name__.removeprefix("httpx"))
    owner = core.AsyncConnectionPool if traced.asynchronous else core.ConnectionPool
    name = "handle_async_request" if traced.asynchronous else "handle_request"
    seen: list[Any] = []
    original = getattr(owner, name)

    def watching(pool: Any, request: Any) -> Any:
        seen.append(request)
        return original(pool, request)

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, watching)
        assert traced.spans(client) == 0
    assert len(seen) == 1
    assert fast_litellm.get_performance_stats()["requests_instrumented"] == before["requests_instrumented"] + 1
    traced.close(client)
