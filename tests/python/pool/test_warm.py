"""Connections made ahead of need."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from fast_litellm import SimpleConnectionPool
from peers.nginx import Nginx
from peers.scripted import ScriptedServer, serve_ok, until
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


def test_warming_what_is_warm_changes_nothing(new_pool: NewPool, serve: Serve, certificates: Certificates) -> None:
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


def test_warming_what_refuses_is_told(new_pool: NewPool, serve: Serve, certificates: Certificates) -> None:
    pool = new_pool()
    with pytest.raises(httpx.ConnectError, match="expired"):
        pool.warm(serve(serve_ok, tls=certificates.expired).url, 2)
    until(lambda: pool.get_stats()["total_connections"] == 0)  # the other dial may still be under way
