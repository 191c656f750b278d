"""Attributes inside a client that other code reads: its transport, and that transport's pool, look like httpx's own."""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Iterator
from typing import Any

import pytest

import fast_litellm
from fast_litellm.acceleration.transports import AcceleratedTransport, AsyncAcceleratedTransport
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok


class Kind:
    """A client of one of the libraries, synchronous or not."""

    def __init__(self, library: str, asynchronous: bool) -> None:
        self.httpx: Any = pytest.importorskip(library)
        self.core: Any = pytest.importorskip("httpcore" + library.removeprefix("httpx"))
        self.asynchronous = asynchronous
        self.loop = asyncio.new_event_loop()
        prefix = "Async" if asynchronous else ""
        self.transport = getattr(self.httpx, f"{prefix}HTTPTransport")
        self.pool = getattr(self.core, f"{prefix}ConnectionPool")
        self.client_class = getattr(self.httpx, f"{prefix}Client")

    def client(self, **arguments: Any) -> Any:
        made = self.client_class(**{"trust_env": False, "verify": False, "timeout": 20.0, **arguments})
        return fast_litellm.accelerate(made, verify=False)

    def do(self, result: Any) -> Any:
        return self.loop.run_until_complete(result) if self.asynchronous else result

    def close(self, client_or_response: Any) -> None:
        self.do(client_or_response.aclose() if self.asynchronous else client_or_response.close())


@pytest.fixture(params=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest, library: str) -> Iterator[Kind]:
    made = Kind(library, request.param == "async")
    yield made
    made.loop.close()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(serve_ok) as running:
        yield running


def test_the_transport_and_its_pool_pass_for_the_librarys_own(kind: Kind) -> None:
    client = kind.client()
    transport = client._transport
    assert isinstance(transport, kind.transport)
    assert transport.__class__ is kind.transport
    assert isinstance(transport._pool, kind.pool)
    assert transport._pool.__class__ is kind.pool
    assert transport._pool is transport._pool
    # And to us it says what it is.
    assert isinstance(transport, (AcceleratedTransport, AsyncAcceleratedTransport))
    assert "AcceleratedTransport" in repr(transport)
    kind.close(client)


def test_the_other_librarys_and_the_other_kinds_it_passes_not_for(kind: Kind) -> None:
    other = Kind("httpx2" if kind.httpx.__name__ == "httpx" else "httpx", kind.asynchronous)
    client = kind.client()
    assert not isinstance(client._transport, other.transport)
    assert not isinstance(client._transport._pool, other.pool)
    opposite = Kind(kind.httpx.__name__, not kind.asynchronous)
    assert not isinstance(client._transport, opposite.transport)
    assert not isinstance(client._transport._pool, opposite.pool)
    for each in (kind, other, opposite):
        each.close(client) if each is kind else each.loop.close()


def test_mounted_transports_pass_too(kind: Kind) -> None:
    client = kind.client(mounts={"http://mounted": kind.transport(verify=False)})
    (mounted,) = client._mounts.values()
    assert isinstance(mounted, kind.transport)
    assert isinstance(mounted, (AcceleratedTransport, AsyncAcceleratedTransport))
    kind.close(client)


@pytest.mark.parametrize("way", ["accelerate", "transport"])
def test_requests_are_those_under_way(kind: Kind, way: str) -> None:
    gate = Gate()

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab")
        await gate.passed()
        await connection.send(b"cd")
        await connection.client_closed()

    with ScriptedServer(script) as server:
        client = _client(kind, way)
        pool = client._transport._pool
        assert (len(pool._requests), len(pool.connections)) == (0, 0)
        first, second = (kind.do(client.send(client.build_request("GET", server.url), stream=True)) for _ in range(2))
        assert (len(pool._requests), len(pool.connections)) == (2, 2)
        assert not pool.connections[0].is_idle()
        kind.close(first)
        assert len(pool._requests) == 1
        gate.open()
        assert kind.do(second.aread() if kind.asynchronous else second.read()) == b"abcd"
        assert len(pool._requests) == 0
        kind.close(client)
        assert len(pool._requests) == 0


def _client(kind: Kind, way: str) -> Any:
    if way == "accelerate":
        return kind.client()
    from fast_litellm.acceleration.public_transports import transports_for

    ours = transports_for(kind.httpx)
    transport = (ours.AsyncHTTPTransport if kind.asynchronous else ours.HTTPTransport)(verify=False)
    return kind.client_class(transport=transport, trust_env=False, timeout=20.0)


def test_a_request_that_failed_is_not_under_way(kind: Kind) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()

    with ScriptedServer(script) as server:
        client = kind.client()
        with pytest.raises(kind.httpx.ReadError):
            kind.do(client.get(server.url))
        assert client._transport._pool._requests == []
        kind.close(client)


def test_other_attributes_of_the_pool_are_those_of_the_stock_pool(kind: Kind) -> None:
    limits = kind.httpx.Limits(max_connections=7, max_keepalive_connections=3, keepalive_expiry=2.0)
    client = kind.client(limits=limits)
    pool = client._transport._pool
    assert (pool._max_connections, pool._max_keepalive_connections, pool._keepalive_expiry) == (7, 3, 2.0)
    assert pool._http1
    assert not hasattr(pool, "no_such_attribute")
    assert not hasattr(pool, "__no_such_attribute__")
    kind.close(client)


def test_a_network_backend_that_the_user_sets_is_used(kind: Kind, server: ScriptedServer) -> None:
    """Programs do this to use a resolver of their own, or to inspect the bytes sent."""
    client = kind.client()
    assert kind.do(client.get(server.url)).text == "GET /"
    connected: list[str] = []
    before = client._transport._pool._network_backend

    class Backend(type(before)):  # type: ignore[misc]
        if kind.asynchronous:

            async def connect_tcp(self, host: str, *arguments: Any, **keywords: Any) -> Any:
                connected.append(host)
                return await before.connect_tcp("127.0.0.1", *arguments, **keywords)
        else:

            def connect_tcp(self, host: str, *arguments: Any, **keywords: Any) -> Any:
                connected.append(host)
                return before.connect_tcp("127.0.0.1", *arguments, **keywords)

    counted = fast_litellm.get_patch_status()["requests_stock"].get("transport changed", 0)
    client._transport._pool._network_backend = Backend()
    assert kind.do(client.get(server.url.replace("127.0.0.1", "nowhere.invalid"))).text == "GET /"
    assert connected == ["nowhere.invalid"]
    assert fast_litellm.get_patch_status()["requests_stock"]["transport changed"] == counted + 1
    kind.close(client)


def test_a_copy_of_the_transport_sends_as_the_transport_does(kind: Kind, server: ScriptedServer) -> None:
    client = kind.client()
    other = copy.copy(client._transport)
    assert isinstance(other, kind.transport)
    client._transport = other
    assert kind.do(client.get(server.url)).text == "GET /"
    kind.close(client)


@pytest.mark.parametrize("way", ["accelerate", "transport"])
def test_the_method_of_an_asynchronous_transport_is_a_coroutine_function(kind: Kind, way: str) -> None:
    client = _client(kind, way)
    method = getattr(client._transport, "handle_async_request" if kind.asynchronous else "handle_request")
    assert inspect.iscoroutinefunction(method) == kind.asynchronous
    assert method.__name__ == getattr(kind.transport, method.__name__).__name__
    kind.close(client)


def test_a_method_set_on_the_transport_itself_is_called(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    client = kind.client()
    name = "handle_async_request" if kind.asynchronous else "handle_request"
    answered = kind.httpx.Response(200, text="put there")

    def handle_request(request: Any) -> Any:
        return answered

    async def handle_async_request(request: Any) -> Any:
        return answered

    with monkeypatch.context() as patched:
        patched.setattr(client._transport, name, handle_async_request if kind.asynchronous else handle_request)
        assert kind.do(client.get("http://nowhere.invalid/")).text == "put there"
    assert name not in vars(client._transport)
    kind.close(client)
