"""Connections that are made before a request needs them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from fast_litellm import SimpleConnectionPool
from peers.nginx import Nginx
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok, until
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]
NewPool = Callable[..., SimpleConnectionPool]


@pytest.mark.parametrize("url", ["tls13", "tls12", "plain"])
def test_five_warm_connections_serve_five_requests_at_once_without_another_handshake(
    new_pool: NewPool, nginx: Nginx, url: str
) -> None:
    pool = new_pool()
    target = getattr(nginx.urls, url)
    before = nginx.accepted()
    assert pool.warm(target, 5) == 5
    assert nginx.accepted() - before == 5
    together = threading.Barrier(5)

    def request(number: int) -> str:
        with pool.lease(target) as connection:
            together.wait(20)  # all five are leased now
            return connection.request("GET", f"/{number}").text

    with ThreadPoolExecutor(5) as threads:
        assert list(threads.map(request, range(5))) == [f"GET /{number}" for number in range(5)]
    assert nginx.accepted() - before == 5
    stats = pool.get_stats()
    assert stats["dials"] == 5
    assert stats["handshakes"] == (0 if url == "plain" else 5)


def test_warming_a_warm_endpoint_changes_nothing(new_pool: NewPool, serve: Serve, certificates: Certificates) -> None:
    pool = new_pool()
    server = serve(serve_ok, tls=certificates.server)
    assert pool.warm(server.url, 3) == 3
    assert pool.warm(server.url, 3) == 3
    assert pool.warm(server.url, 2) == 2
    server.wait_until(lambda counts: counts.connections == 3, "the connections")


def test_warming_stops_at_the_limit(new_pool: NewPool, serve: Serve) -> None:
    server = serve(serve_ok)
    assert new_pool(max_connections_per_endpoint=2).warm(server.url, 5) == 2
    server.wait_until(lambda counts: counts.connections == 2, "both connections")


def test_warming_an_endpoint_that_refuses_raises(new_pool: NewPool, serve: Serve, certificates: Certificates) -> None:
    pool = new_pool()
    with pytest.raises(httpx.ConnectError, match="expired"):
        pool.warm(serve(serve_ok, tls=certificates.expired).url, 2)
    until(lambda: pool.get_stats()["total_connections"] == 0)  # the other dial may still be under way


# Kept warm in the background


def test_warm_connections_that_the_server_closes_are_made_again(
    new_pool: NewPool, serve: Serve, certificates: Certificates
) -> None:
    leave = Gate()

    async def script(connection: Connection) -> None:
        if connection.number <= 3:
            await leave.passed()
            connection.hang_up()
        else:
            await serve_ok(connection)

    pool = new_pool()
    server = serve(script, tls=certificates.server)
    assert pool.warm(server.url, 3) == 3
    server.wait_until(lambda counts: counts.connections == 3, "the first three")
    assert pool.get_stats()["endpoints"][server.url]["min_idle"] == 3
    leave.open()
    server.wait_until(lambda counts: (counts.connections, counts.open) == (6, 3), "three others")
    until(lambda: pool.get_stats()["idle_connections"] == 3)
    assert pool.request(server.url, "GET", "/").text == "GET /"
    assert server.connections == 6
    assert pool.get_stats()["peer_closed"] == 3


def test_warm_connections_that_expire_are_made_again(new_pool: NewPool, serve: Serve) -> None:
    pool = new_pool(idle_timeout=0.5)
    server = serve(serve_ok)
    assert pool.warm(server.url, 2) == 2
    server.wait_until(lambda counts: counts.connections >= 4, "others")
    assert pool.get_stats()["min_idle"] == 2
    pool.warm(server.url, 0)


def test_a_warm_connection_that_is_leased_for_long_is_replaced(new_pool: NewPool, serve: Serve) -> None:
    pool = new_pool()
    server = serve(serve_ok)
    assert pool.warm(server.url, 1) == 1
    with pool.lease(server.url) as lease:
        assert lease.health_check()
        until(lambda: pool.get_stats()["idle_connections"] == 1)
        assert lease.request("GET", "/").text == "GET /"
    server.wait_until(lambda counts: counts.connections == 2, "another connection")


def test_warming_to_zero_keeps_no_connection_warm(new_pool: NewPool, serve: Serve) -> None:
    leave = Gate()

    async def script(connection: Connection) -> None:
        await leave.passed()

    pool = new_pool()
    server, other = serve(script), serve(serve_ok)
    assert pool.warm(server.url, 2) == 2
    assert pool.warm(server.url, 0) == 0
    assert pool.get_stats()["min_idle"] == 0
    assert pool.warm(other.url, 1) == 1
    leave.open()
    until(lambda: pool.get_stats()["peer_closed"] == 2)
    # The upkeep that would dial has come by twice when the other endpoint was warmed anew twice.
    for round_ in range(2):
        held = pool.get_connection(other.url)
        assert pool.remove_connection(held or "")
        other.wait_until(lambda counts, round_=round_: counts.connections == round_ + 2, "its replacement")  # type: ignore[misc]
        until(lambda: pool.get_stats()["idle_connections"] == 1)
    assert server.connections == 2


def test_warming_never_passes_the_limits(new_pool: NewPool, serve: Serve) -> None:
    pool = new_pool(max_connections_per_endpoint=2)
    server = serve(serve_ok)
    assert pool.warm(server.url, 5) == 2
    assert pool.get_stats()["endpoints"][server.url]["min_idle"] == 2
    with pool.lease(server.url) as one, pool.lease(server.url) as other:
        assert one.health_check()
        assert other.health_check()
        assert pool.get_connection(server.url) is None
    server.wait_until(lambda counts: counts.connections >= 2, "both connections")
    assert pool.get_stats()["connections_opened"] == 2


@pytest.mark.parametrize("count", [-1, 2**32, 1.5, None])
def test_a_wrong_number_is_refused(new_pool: NewPool, serve: Serve, count: Any) -> None:
    pool = new_pool()
    with pytest.raises((ValueError, TypeError)):
        pool.warm(serve(serve_ok).url, count)
    assert pool.get_stats()["min_idle"] == 0
