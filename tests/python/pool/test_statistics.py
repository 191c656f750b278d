"""The statistics of a pool, and the same figures as metrics by OpenTelemetry's conventions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import fast_litellm
from fast_litellm import Metric, SimpleConnectionPool, pool_metrics
from fast_litellm.pool.metrics import Histogram
from peers.nginx import Nginx
from peers.scripted import Connection, ScriptedServer, serve_ok, until

Serve = Callable[..., ScriptedServer]
NewPool = Callable[..., SimpleConnectionPool]

BOUNDS = ["0.001", "0.005", "0.01", "0.05", "0.1", "0.5", "1", "5", "10", "inf"]


def _check(histogram: dict[str, Any], count: int) -> None:
    assert list(histogram) == ["count", "sum", "buckets"]
    assert list(histogram["buckets"]) == BOUNDS
    assert sum(histogram["buckets"].values()) == histogram["count"] == count
    assert histogram["sum"] >= 0


def test_dials_and_handshakes_are_timed_by_endpoint(new_pool: NewPool, nginx: Nginx, serve: Serve) -> None:
    pool = new_pool()
    plain = serve(serve_ok)
    for url in (nginx.urls.tls13, plain.url, plain.url):
        pool.request(url, "GET", "/")
    stats = pool.get_stats()
    secure, clear = stats["endpoints"][nginx.urls.tls13], stats["endpoints"][plain.url]
    _check(secure["create_time"], 1)
    _check(secure["handshake_time"], 1)
    assert secure["handshake_time"]["sum"] <= secure["create_time"]["sum"]
    _check(clear["create_time"], 1)
    _check(clear["handshake_time"], 0)
    _check(stats["create_time"], 2)
    _check(stats["handshake_time"], 1)


def test_waits_are_timed(new_pool: NewPool, serve: Serve) -> None:
    pool = new_pool(max_connections_per_endpoint=1)
    server = serve(serve_ok)
    held = pool.get_connection(server.url)
    before = pool.get_stats()
    assert before["waited"] == before["wait_time"]["count"] == 0
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(pool.get_connection, server.url, timeout=20)
        until(lambda: pool.get_stats()["waiters"] == 1)
        assert pool.get_stats()["endpoints"][server.url]["waiters"] == 1
        assert pool.return_connection(held or "")
        assert pool.return_connection(waiting.result(20) or "")
    stats = pool.get_stats()
    assert stats["waited"] == 1
    _check(stats["wait_time"], 1)
    _check(stats["endpoints"][server.url]["wait_time"], 1)


def test_at_every_reading_the_states_add_up(new_pool: NewPool, serve: Serve) -> None:
    pool = new_pool(max_connections_per_endpoint=3)
    url = serve(serve_ok).url

    def use() -> None:
        for number in range(50):
            pool.request(url, "GET", "/", timeout=20)
            held = pool.get_connection(url, timeout=20)
            assert held is not None
            assert (pool.remove_connection if number % 5 == 0 else pool.return_connection)(held)

    with ThreadPoolExecutor(4) as threads:
        users = [threads.submit(use) for _ in range(4)]
        while not all(user.done() for user in users):
            stats = pool.get_stats()
            for gauges in (stats, *stats["endpoints"].values()):
                states = [gauges[f"{state}_connections"] for state in ("idle", "active", "dialing")]
                assert gauges["total_connections"] == sum(states) <= 3
        for user in users:
            user.result()


def test_a_request_that_is_sent_again_is_counted(new_pool: NewPool, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        request = await connection.request()
        await connection.respond(b"first")
        if connection.number == 1:
            await connection.request()  # and no answer
        else:
            while (request := await connection.request()).method:
                await connection.respond(request.target.encode())

    pool = new_pool()
    server = serve(script)
    with pool.lease(server.url) as lease:
        assert lease.request("GET", "/").text == "first"
    assert pool.request(server.url, "GET", "/again").text == "first"
    stats = pool.get_stats()
    assert (stats["retried"], stats["retried_unread"]) == (1, 0)
    assert server.connections == 2


# As metrics


def _find(metrics: list[Metric], name: str, **attributes: Any) -> list[Metric]:
    wanted = {key.replace("__", "."): value for key, value in attributes.items()}.items()
    return [metric for metric in metrics if metric.name == name and wanted <= metric.attributes.items()]


def test_the_metrics_say_what_the_statistics_say(new_pool: NewPool, nginx: Nginx, serve: Serve) -> None:
    pool = new_pool(max_connections=7)
    server = serve(serve_ok)
    pool.warm(server.url, 2)
    pool.request(nginx.urls.tls13, "GET", "/")
    with pool.lease(server.url) as lease:
        lease.health_check()
        metrics = pool_metrics(pool)
        stats = pool.get_stats()
    here: dict[str, Any] = {
        "http.client.connection.pool.name": pool.name,
        "server.address": "127.0.0.1",
        "server.port": server.port,
        "url.scheme": "http",
    }
    assert {
        metric.attributes["http.connection.state"]: metric.value
        for metric in _find(metrics, "http.client.open_connections", server__port=server.port)
    } == {"active": 1, "idle": 1, "dialing": 0}
    [idle_min] = _find(metrics, "http.client.connection.idle.min", server__port=server.port)
    assert (idle_min.value, idle_min.attributes, idle_min.kind) == (2, here, "updowncounter")
    assert [metric.value for metric in _find(metrics, "http.client.connection.max")] == [7]
    assert sorted(metric.value or 0 for metric in _find(metrics, "http.client.connection.count")) == [1, 2]
    [created] = _find(metrics, "http.client.connection.created")
    assert (created.value, created.kind, created.unit) == (stats["connections_opened"], "counter", "{connection}")
    [handshakes] = _find(metrics, "http.client.connection.tls_handshake_time", url__scheme="https")
    assert handshakes.value is None
    assert handshakes.histogram is not None
    assert handshakes.histogram.bounds == tuple(float(bound) for bound in BOUNDS[:-1])
    assert len(handshakes.histogram.counts) == len(BOUNDS)
    assert sum(handshakes.histogram.counts) == handshakes.histogram.count == 1
    assert handshakes.histogram.sum >= 0


def test_every_metric_is_complete(new_pool: NewPool, serve: Serve) -> None:
    pool = new_pool()
    pool.request(serve(serve_ok).url, "GET", "/")
    metrics = pool_metrics(pool)
    seen = set()
    for metric in metrics:
        assert metric.name.startswith("http.client.")
        assert metric.unit == ("s" if metric.kind == "histogram" else metric.unit)
        assert metric.unit
        assert metric.description
        assert metric.attributes["http.client.connection.pool.name"] == pool.name
        assert isinstance(metric.histogram, Histogram) == (metric.kind == "histogram")
        assert isinstance(metric.value, int) == (metric.kind != "histogram")
        key = (metric.name, tuple(sorted(metric.attributes.items(), key=str)))
        assert key not in seen
        seen.add(key)


def test_metrics_describe_the_pool_default_or_the_given_pool(new_pool: NewPool) -> None:
    pool = new_pool(max_connections=5)
    assert [metric.value for metric in _find(pool_metrics(pool.name), "http.client.connection.max")] == [5]
    [default] = {metric.attributes["http.client.connection.pool.name"] for metric in pool_metrics()}
    assert default == "default"
    with pytest.raises(TypeError):
        SimpleConnectionPool(5)  # type: ignore[arg-type]


def test_the_metrics_cost_an_import_only_when_asked_for() -> None:
    program = (
        "import sys, fast_litellm\n"
        "assert 'fast_litellm.pool.metrics' not in sys.modules\n"
        "fast_litellm.pool_metrics\n"
        "assert 'opentelemetry' not in sys.modules and 'prometheus_client' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert fast_litellm.pool_metrics is pool_metrics
