"""Limits, as the server sees them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import pytest

from blocking_transport.conftest import MakeClient
from fast_litellm import SimpleConnectionPool
from fast_litellm.exceptions import PoolClosed
from fast_litellm.transport.limits import of_shared
from peers.scripted import Connection, Counts, Crowd, Gate, ScriptedServer, serve_ok, until

Serve = Callable[..., ScriptedServer]
NewPool = Callable[..., SimpleConnectionPool]


def _get_all(client: httpx.Client, server: ScriptedServer, count: int) -> None:
    def get(number: int) -> str:
        return client.get(f"{server.url}/{number}").text

    with ThreadPoolExecutor(count) as threads:
        assert list(threads.map(get, range(count))) == [f"/{number}" for number in range(count)]


@pytest.mark.parametrize("limit", [1, 3])
def test_the_transports_own_pool_opens_as_many_connections_as_max_connections_and_no_more(
    make_client: MakeClient, serve: Serve, limit: int
) -> None:
    client = make_client(limits=httpx.Limits(max_connections=limit))
    server = serve(Crowd(limit))
    _get_all(client, server, 12)
    assert server.counts.most_open == limit
    assert server.connections == limit


def test_a_shared_pool_opens_as_many_connections_per_endpoint_as_allowed_and_no_more(
    make_client: MakeClient, serve: Serve, new_pool: NewPool
) -> None:
    client = make_client(pool=new_pool(max_connections_per_endpoint=4))
    server = serve(Crowd(4))
    _get_all(client, server, 16)
    assert server.counts.most_open == 4


def test_the_total_limit_holds_over_all_endpoints(make_client: MakeClient, serve: Serve, new_pool: NewPool) -> None:
    pool = new_pool(max_connections=3)
    client = make_client(pool=pool)
    lock = threading.Lock()
    in_hand, most_in_hand = 0, 0

    # A server reads the FIN of a closed connection late, so what it has open says little; so does the kernel's table of
    # sockets, which is no snapshot. Exact are the requests that the servers have in hand.
    async def script(connection: Connection) -> None:
        nonlocal in_hand, most_in_hand
        while True:
            request = await connection.request()
            with lock:
                in_hand += 1
                most_in_hand = max(most_in_hand, in_hand)
            await asyncio.sleep(0)  # others' turn
            with lock:
                in_hand -= 1
            await connection.respond(request.target.encode())

    servers = [serve(script) for _ in range(5)]

    def get(number: int) -> str:
        return client.get(f"{servers[number % 5].url}/{number}").text

    with ThreadPoolExecutor(10) as threads:
        assert list(threads.map(get, range(200))) == [f"/{number}" for number in range(200)]
    assert 1 <= most_in_hand <= 3
    assert pool.get_stats()["total_connections"] <= 3


def test_limits_on_a_shared_pool_bind_this_transport_alone(
    make_client: MakeClient, serve: Serve, new_pool: NewPool
) -> None:
    pool = new_pool()
    bound = make_client(pool=pool, limits=httpx.Limits(max_connections=1))
    free = make_client(pool=pool)
    server = serve(serve_ok)
    with bound.stream("GET", server.url):
        with pytest.raises(httpx.PoolTimeout):
            bound.get(server.url, timeout=httpx.Timeout(20, pool=0.05))
        assert free.get(server.url).status_code == 200
    assert bound.get(server.url).status_code == 200


@pytest.mark.parametrize(
    "limits",
    [
        httpx.Limits(max_connections=100, max_keepalive_connections=20),
        httpx.Limits(max_connections=1000, max_keepalive_connections=100),
    ],
    ids=["httpx's", "the SDKs'"],
)
def test_default_limits_of_a_library_have_no_effect_on_a_shared_pool(
    make_client: MakeClient, serve: Serve, new_pool: NewPool, limits: httpx.Limits
) -> None:
    pool = new_pool()
    client = make_client(pool=pool, limits=limits)
    server = serve(Crowd(101))
    _get_all(client, server, 101)
    assert server.counts.most_open == 101
    assert pool.get_stats()["idle_connections"] == 101


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_the_ignored_limits_are_the_librarys_defaults(library: str) -> None:
    module = pytest.importorskip(library)
    client = module.Client(trust_env=False)
    stock = client._transport._pool
    read_back = module.Limits(
        max_connections=stock._max_connections,
        max_keepalive_connections=stock._max_keepalive_connections,
        keepalive_expiry=stock._keepalive_expiry,
    )
    assert of_shared(read_back) == {}
    assert of_shared(module.Limits(max_connections=7)) == {"max_leases": 7, "max_idle": 7, "idle_timeout": 5.0}
    client.close()


@pytest.mark.parametrize("end", ["pool.close", "pool.drain", "client.close"])
def test_a_request_that_waits_at_the_limit_of_its_transport_is_refused_when_the_pool_ends(
    make_client: MakeClient, serve: Serve, new_pool: NewPool, end: str
) -> None:
    """Nothing else ends its wait: it has no timeout, and the one place stays taken."""
    pool = new_pool()
    client = make_client(pool=pool, limits=httpx.Limits(max_connections=1), timeout=None)
    server = serve(serve_ok)
    ends = {"pool.close": pool.close, "pool.drain": pool.drain, "client.close": client.close}
    with ThreadPoolExecutor(2) as threads:
        with client.stream("GET", server.url):
            waiting = threads.submit(client.get, server.url)
            until(lambda: len(client._transport._pool.connections) == 2)  # type: ignore[attr-defined]
            ended = threads.submit(ends[end])  # draining waits for the open response
            with pytest.raises(PoolClosed):
                waiting.result(20)
        ended.result(20)
    assert len(server.requests) == 1


def test_a_waiting_request_gets_the_connection_that_is_returned(make_client: MakeClient, serve: Serve) -> None:
    client = make_client(limits=httpx.Limits(max_connections=1))
    server = serve(serve_ok)
    with ThreadPoolExecutor(1) as threads:
        with client.stream("GET", f"{server.url}/first"):
            waiting = threads.submit(client.get, f"{server.url}/second")
        assert waiting.result(20).text == "GET /second"
    assert server.connections == 1


def test_no_more_than_max_keepalive_connections_stay_open(make_client: MakeClient, serve: Serve) -> None:
    client = make_client(limits=httpx.Limits(max_connections=5, max_keepalive_connections=2))
    server = serve(Crowd(5))
    _get_all(client, server, 5)
    server.wait_until(lambda counts: counts.connections == 5 and counts.open == 2, "all but two connections close")


def test_without_keepalive_connections_each_request_has_its_own(make_client: MakeClient, serve: Serve) -> None:
    client = make_client(limits=httpx.Limits(max_connections=5, max_keepalive_connections=0))
    server = serve(serve_ok)
    for number in range(1, 4):
        client.get(server.url)
        server.wait_until(partial(_all_closed, number), "the connection close")


def _all_closed(connections: int, counts: Counts) -> bool:
    return (counts.connections, counts.open) == (connections, 0)


@pytest.fixture(params=["its own pool", "a shared pool"])
def pool_of_one(request: pytest.FixtureRequest, new_pool: NewPool) -> dict[str, Any]:
    """Arguments of a transport whose limits bind it on either kind of pool."""
    return {"pool": new_pool()} if request.param == "a shared pool" else {}


def test_the_longest_idle_connection_is_closed_for_a_new_one(
    make_client: MakeClient, serve: Serve, pool_of_one: dict[str, Any]
) -> None:
    client = make_client(limits=httpx.Limits(max_keepalive_connections=1), **pool_of_one)
    first, second = serve(serve_ok), serve(serve_ok)
    client.get(first.url)
    client.get(second.url)
    first.wait_until(lambda counts: counts.open == 0, "the first connection close")
    client.get(second.url)
    assert (second.connections, second.counts.open) == (1, 1)


@pytest.mark.parametrize(
    "limits",
    [httpx.Limits(max_keepalive_connections=0), httpx.Limits(keepalive_expiry=0)],
    ids=["no connections", "no time"],
)
def test_without_keepalive_no_connection_stays_open_or_is_reused(
    make_client: MakeClient, serve: Serve, pool_of_one: dict[str, Any], limits: httpx.Limits
) -> None:
    limits = httpx.Limits(
        max_connections=2,
        max_keepalive_connections=limits.max_keepalive_connections,
        keepalive_expiry=limits.keepalive_expiry,
    )
    client = make_client(limits=limits, **pool_of_one)
    server = serve(serve_ok)
    with ThreadPoolExecutor(4) as threads:
        assert {answer.status_code for answer in threads.map(client.get, [server.url] * 8)} == {200}
    server.wait_until(partial(_all_closed, 8), "all eight close")


def test_keepalive_limits_on_a_shared_pool_bind_this_transport_alone(
    make_client: MakeClient, serve: Serve, new_pool: NewPool
) -> None:
    pool = new_pool()
    bound = make_client(pool=pool, limits=httpx.Limits(max_keepalive_connections=2, keepalive_expiry=300))
    free = make_client(pool=pool)
    theirs, others = serve(Crowd(5)), serve(Crowd(5))
    _get_all(free, others, 5)
    _get_all(bound, theirs, 5)
    theirs.wait_until(lambda counts: counts.connections == 5 and counts.open == 2, "all but two connections close")
    assert others.counts.open == 5
    # A connection that the other transport returns counts for the other.
    _get_all(free, theirs, 5)
    assert pool.get_stats()["idle_connections"] == 10
    assert theirs.counts.open == 5


def test_an_idle_connection_of_a_transport_is_closed_when_its_keepalive_expires_and_others_stay(
    make_client: MakeClient, serve: Serve, new_pool: NewPool
) -> None:
    pool = new_pool()
    brief = make_client(pool=pool, limits=httpx.Limits(keepalive_expiry=0.05))
    lasting = make_client(pool=pool)
    first, second = serve(serve_ok), serve(serve_ok)
    lasting.get(second.url)
    brief.get(first.url)
    first.wait_until(lambda counts: counts.open == 0, "the idle connection close")
    assert second.counts.open == 1


def test_no_keepalive_expiry_is_longer_than_the_pools_idle_timeout(
    make_client: MakeClient, serve: Serve, new_pool: NewPool
) -> None:
    client = make_client(pool=new_pool(idle_timeout=0.05), limits=httpx.Limits(keepalive_expiry=300))
    server = serve(serve_ok)
    client.get(server.url)
    server.wait_until(lambda counts: counts.open == 0, "the idle connection close")


def test_a_stream_that_was_read_counts_as_any_response_does(
    make_client: MakeClient, serve: Serve, new_pool: NewPool
) -> None:
    client = make_client(pool=new_pool(), limits=httpx.Limits(max_keepalive_connections=1))
    server = serve(serve_ok)
    with client.stream("GET", server.url) as first, client.stream("GET", server.url) as second:
        assert first.read() == second.read() == b"GET /"
    server.wait_until(lambda counts: (counts.connections, counts.open) == (2, 1), "all but one close")


def test_connections_that_a_closed_transport_left_serve_others(
    make_client: MakeClient, serve: Serve, new_pool: NewPool
) -> None:
    pool = new_pool()
    closing = make_client(pool=pool, limits=httpx.Limits(max_keepalive_connections=3))
    other = make_client(pool=pool)
    server = serve(serve_ok)
    other.get(server.url)
    closing.get(server.url)
    closing.close()
    assert other.get(server.url).status_code == 200
    assert server.connections == 1


def test_an_idle_connection_is_closed_when_its_keepalive_expires(make_client: MakeClient, serve: Serve) -> None:
    client = make_client(limits=httpx.Limits(keepalive_expiry=0.05))
    server = serve(serve_ok)
    client.get(server.url)
    # No request is made: the pool's own upkeep must close it.
    server.wait_until(lambda counts: counts.open == 0, "the idle connection close")


def test_closing_the_client_closes_its_own_pools_connections(make_client: MakeClient, serve: Serve) -> None:
    client = make_client()
    server = serve(serve_ok)
    client.get(server.url)
    assert server.counts.open == 1
    client.close()
    server.wait_until(lambda counts: counts.open == 0, "the connection close")


def test_closing_a_client_on_a_shared_pool_breaks_no_stream_of_others(
    make_client: MakeClient, serve: Serve, new_pool: NewPool
) -> None:
    rest = Gate()

    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha")
            await rest.passed()
            await connection.send(b"lf")

    pool = new_pool()
    closing, other = make_client(pool=pool), make_client(pool=pool)
    server = serve(script)
    with other.stream("GET", server.url) as response:
        closing.close()
        rest.open()
        assert response.read() == b"half"
    assert other.get(server.url).content == b"half"
    assert server.connections == 1


def test_open_leases_are_listed_for_this_transport_alone(
    make_client: MakeClient, serve: Serve, new_pool: NewPool
) -> None:
    pool = new_pool()
    one, other = make_client(pool=pool), make_client(pool=pool)
    server = serve(serve_ok)
    with one.stream("GET", server.url):
        [connection] = one._transport._pool.connections  # type: ignore[attr-defined]
        assert not connection.is_idle()
        assert other._transport._pool.connections == []  # type: ignore[attr-defined]
    assert one._transport._pool.connections == []  # type: ignore[attr-defined]
