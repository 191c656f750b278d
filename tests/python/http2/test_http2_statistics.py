"""What a pool tells of its HTTP/2 connections: they count as connections, and streams apart from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

import fast_litellm
from fast_litellm import SimpleConnectionPool
from peers.http2_scripted import ClientLeft, Code, Http2Peer, Setting, headers, http2_context, rst_stream
from peers.scripted import Connection, ScriptedServer
from support.certificates import Certificates
from support.http2 import DIRECT_OR_TUNNEL

NewPool = Callable[..., SimpleConnectionPool]

#: Of each connection.
MOST_STREAMS = 2


async def _script(connection: Connection) -> None:
    """Never ends the response to /held, answers /silent with nothing, and refuses /refused on the first connection.
    The answer to others is the connection's number."""
    try:
        peer = await Http2Peer.begin(connection, {Setting.MAX_CONCURRENT_STREAMS: MOST_STREAMS})
        while True:
            request = await peer.request()
            if request.path == "/held":
                await peer.send(headers(request.stream, (":status", "200")))
            elif request.path == "/refused" and len(peer.streams) == 1:
                await peer.send(rst_stream(request.stream, Code.REFUSED_STREAM))
            elif request.path != "/silent":
                await peer.respond(request, str(connection.number).encode())
    except ClientLeft:
        pass


@pytest.fixture
def server(certificates: Certificates) -> Iterator[ScriptedServer]:
    with ScriptedServer(_script, tls=http2_context(certificates.server)) as server:
        yield server


@pytest.fixture
def pool(new_pool: NewPool) -> SimpleConnectionPool:
    return new_pool(http2=True)


@pytest.fixture
def client(pool: SimpleConnectionPool, certificates: Certificates, route: dict[str, Any]) -> Iterator[httpx.Client]:
    transport = fast_litellm.HTTPTransport(pool=pool, http2=True, verify=str(certificates.ca_file), **route)
    with httpx.Client(transport=transport, timeout=20) as client:
        yield client


def _figures(pool: SimpleConnectionPool, *names: str) -> tuple[Any, ...]:
    stats = pool.get_stats()
    return tuple(stats[name] for name in names)


@DIRECT_OR_TUNNEL
def test_connections_are_active_while_they_carry_a_stream(
    pool: SimpleConnectionPool, client: httpx.Client, server: ScriptedServer
) -> None:
    names = ("http2_connections", "active_connections", "idle_connections", "open_streams")
    held = f"{server.url}/held"
    with ExitStack() as first, ExitStack() as second:
        for number in range(MOST_STREAMS):
            first.enter_context(client.stream("GET", held))
            assert _figures(pool, *names) == (1, 1, 0, number + 1)
        second.enter_context(client.stream("GET", held))
        assert _figures(pool, *names) == (2, 2, 0, MOST_STREAMS + 1)
        first.close()
        assert _figures(pool, *names) == (2, 1, 1, 1)
    assert _figures(pool, *names) == (2, 0, 2, 0)
    assert _figures(pool, "streams", "requests", "leases", "dials", "handshakes") == (3, 3, 2, 2, 2)
    assert _figures(pool, "connections_closed", "errors", "waiters") == (0, {}, 0)


@DIRECT_OR_TUNNEL
def test_the_endpoint_is_the_origin_and_its_proxy(
    pool: SimpleConnectionPool, client: httpx.Client, server: ScriptedServer, route: dict[str, Any]
) -> None:
    """Without the proxy's credentials."""
    url = httpx.URL(route["proxy"]) if route else None
    proxy = f"{url.scheme}://{url.host}:{url.port}" if url else None
    with client.stream("GET", f"{server.url}/held"):
        ((name, endpoint),) = pool.get_stats()["endpoints"].items()
        assert name == (f"{server.url} via {proxy}" if proxy else server.url)
        assert (endpoint["total_connections"], endpoint["active_connections"]) == (1, 1)
        metrics = [each for each in fast_litellm.pool_metrics(pool) if each.name == "http.client.open_connections"]
    states = {each.attributes["http.connection.state"]: each.value for each in metrics}
    assert states == {"idle": 0, "active": 1, "dialing": 0}
    for each in metrics:
        assert (each.attributes["server.address"], each.attributes["server.port"]) == ("127.0.0.1", server.port)
        assert each.attributes["url.scheme"] == "https"
        assert each.attributes.get("http.client.connection.proxy") == proxy


def test_requests_one_after_another_reuse_the_connection(
    pool: SimpleConnectionPool, client: httpx.Client, server: ScriptedServer
) -> None:
    assert [client.get(server.url).text for _ in range(3)] == ["1"] * 3
    assert _figures(pool, "requests", "streams", "leases", "reused", "dials") == (3, 3, 3, 2, 1)


def test_a_timeout_ends_a_stream_and_no_connection(
    pool: SimpleConnectionPool, client: httpx.Client, server: ScriptedServer
) -> None:
    with pytest.raises(httpx.ReadTimeout):
        client.get(f"{server.url}/silent", timeout=httpx.Timeout(20, read=0.05))
    assert _figures(pool, "errors", "open_streams", "connections_closed") == ({"read_timeout": 1}, 0, 0)
    assert client.get(server.url).text == "1"
    assert _figures(pool, "requests", "streams", "dials") == (2, 2, 1)


def test_a_refused_stream_is_counted_with_its_second_try(
    pool: SimpleConnectionPool, client: httpx.Client, server: ScriptedServer
) -> None:
    assert client.post(f"{server.url}/refused", content=b"paid for").text == "1"
    assert _figures(pool, "requests", "streams", "retried", "retried_unread", "errors") == (1, 2, 1, 1, {})


def test_a_caller_that_waits_for_a_stream_in_vain_is_a_pool_timeout(
    new_pool: NewPool, server: ScriptedServer, certificates: Certificates
) -> None:
    pool = new_pool(http2=True, max_connections_per_endpoint=1)
    transport = fast_litellm.HTTPTransport(pool=pool, http2=True, verify=str(certificates.ca_file))
    with httpx.Client(transport=transport, timeout=20) as client, ExitStack() as held:
        for _ in range(MOST_STREAMS):
            held.enter_context(client.stream("GET", f"{server.url}/held"))
        with pytest.raises(httpx.PoolTimeout):
            client.get(server.url, timeout=httpx.Timeout(20, pool=0.05))
        assert _figures(pool, "errors", "pool_timeouts", "waiters") == ({"pool_timeout": 1}, 1, 0)
        assert _figures(pool, "http2_connections", "open_streams", "streams") == (1, MOST_STREAMS, MOST_STREAMS)


def test_litellm_sees_as_many_used_connections_as_streams(client: httpx.Client, server: ScriptedServer) -> None:
    """It closes an evicted client once none of `_pool.connections` is in use."""
    transport: Any = client._transport
    with client.stream("GET", f"{server.url}/held"), client.stream("GET", f"{server.url}/held"):
        assert [each.is_idle() for each in transport._pool.connections] == [False, False]
    assert transport._pool.connections == []


def test_the_default_pool_counts_and_checks_http2_connections(
    server: ScriptedServer, certificates: Certificates
) -> None:
    names = ("http2_connections", "active_connections", "open_streams", "streams", "requests")

    def figures() -> list[int]:
        stats = fast_litellm.get_connection_pool_stats()
        return [stats[name] for name in names]

    before = figures()
    transport = fast_litellm.HTTPTransport(pool="default", http2=True, verify=str(certificates.ca_file))
    with httpx.Client(transport=transport, timeout=20) as client:
        with client.stream("GET", f"{server.url}/held"):
            assert [now - earlier for now, earlier in zip(figures(), before, strict=True)] == [1, 1, 1, 1, 1]
            assert fast_litellm.get_performance_stats()["pool"]["open_streams"] == before[2] + 1
            assert fast_litellm.health_check()["status"] == "ok"
        assert [now - earlier for now, earlier in zip(figures(), before, strict=True)] == [1, 0, 0, 1, 1]
