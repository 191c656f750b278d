"""Not run, only type-checked: code that users may write, with the types of its results."""

from typing import Any

import httpx
from typing_extensions import assert_type

import fast_litellm
from fast_litellm import HTTPTransport, Metric, SimpleConnectionPool, pool_metrics
from fast_litellm._core import Response
from fast_litellm.pool.lease import Lease


def pools() -> None:
    pool = SimpleConnectionPool("name", max_connections=10, max_connections_per_endpoint=None, idle_timeout=1.5)
    connection = pool.get_connection("https://localhost", timeout=None)
    assert_type(connection, str | None)
    if connection is not None:
        assert_type(pool.health_check(connection), bool)
        response = pool.request(connection, "GET", "/", headers={"a": "b"}, content="text", timeout=(1, 2, None, 4))
        assert_type(response, Response)
        assert_type(response.headers, list[tuple[str, str]])
        assert_type(response.content, bytes)
        assert_type(pool.return_connection(connection), bool)
    with pool.lease("https://localhost", timeout=5) as lease:
        assert_type(lease, Lease)
        assert_type(lease.request("GET", "/").status_code, int)
    assert_type(pool.get_stats(), dict[str, Any])
    assert_type(pool.warm("https://localhost", 5), int)
    assert_type(pool.drain(timeout=None), bool)
    SimpleConnectionPool("watched", leak_after=30)


def functions() -> None:
    assert_type(fast_litellm.get_connection("https://localhost"), str | None)
    assert_type(fast_litellm.return_connection("id"), bool)
    assert_type(fast_litellm.get_connection_pool_stats(), dict[str, Any])
    assert_type(fast_litellm.ACCELERATION_AVAILABLE, bool)


def metrics() -> None:
    for metric in pool_metrics("default"):
        assert_type(metric, Metric)
        assert_type(metric.value, int | None)
        assert_type(metric.attributes, dict[str, str | int | bool])


def transports() -> None:
    with httpx.Client(transport=HTTPTransport(verify="ca.pem", cert=("c", "k", "p"), pool="default")) as client:
        assert_type(client.get("https://localhost"), httpx.Response)
    HTTPTransport(limits=httpx.Limits(max_connections=5), socket_options=[(1, 2, 3), (1, 2, b"x")], retries=2)


def mistakes() -> None:
    HTTPTransport(verify=1.5)  # type: ignore[arg-type]
    HTTPTransport(pool=5)  # type: ignore[arg-type]
    SimpleConnectionPool(max_connections="5")  # type: ignore[arg-type]
    SimpleConnectionPool(leak_after="5")  # type: ignore[arg-type]
    SimpleConnectionPool().get_connection(b"https://localhost")  # type: ignore[arg-type]
    fast_litellm.get_connection()  # type: ignore[call-arg]
