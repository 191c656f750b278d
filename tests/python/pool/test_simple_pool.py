"""`SimpleConnectionPool` and its functions: leases, requests, names, bad input."""

from __future__ import annotations

import gc
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

import fast_litellm
from fast_litellm import SimpleConnectionPool
from fast_litellm.exceptions import PoolClosed, StaleLease
from peers.nginx import Nginx
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok, until
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]
NewPool = Callable[..., SimpleConnectionPool]


@pytest.fixture
def pool(new_pool: NewPool) -> SimpleConnectionPool:
    return new_pool()


# Leases


def test_a_lease_connects_on_first_use_and_is_used_again(pool: SimpleConnectionPool, serve: Serve) -> None:
    server = serve(serve_ok)
    for number in range(3):
        held = pool.get_connection(server.url)
        assert held is not None
        assert server.connections == min(number, 1)
        assert pool.request(held, "GET", f"/{number}").text == f"GET /{number}"
        assert pool.return_connection(held) is True
    assert server.connections == 1


def test_ids_are_never_reused_and_a_returned_id_is_stale(pool: SimpleConnectionPool, serve: Serve) -> None:
    server = serve(serve_ok)
    seen = set()
    for _ in range(100):
        held = pool.get_connection(server.url)
        assert held is not None
        assert pool.health_check(held)
        seen.add(held)
        assert pool.return_connection(held) is True
        assert pool.return_connection(held) is False
        assert pool.remove_connection(held) is False
        assert pool.health_check(held) is False
        with pytest.raises(StaleLease):
            pool.request(held, "GET", "/")
    assert len(seen) == 100
    server.wait_until(lambda counts: counts.connections >= 1, "the connection")
    assert (server.connections, pool.get_stats()["connections_opened"]) == (1, 1)
    assert pool.get_stats()["active_connections"] == 0


@pytest.mark.parametrize(
    "stale", ["", "0", "0000000000000000", "ffffffffffffffff", "x" * 16, "\u00e9" * 16, "1" * 1000]
)
def test_an_unknown_id_changes_nothing(pool: SimpleConnectionPool, serve: Serve, stale: str) -> None:
    held = pool.get_connection(serve(serve_ok).url)
    assert held is not None
    before = pool.get_stats()
    assert pool.return_connection(stale) is False
    assert pool.remove_connection(stale) is False
    assert pool.health_check(stale) is False
    assert pool.get_stats() == before
    assert pool.return_connection(held) is True


def test_an_id_of_another_pool_is_stale(new_pool: NewPool, serve: Serve) -> None:
    one, other = new_pool(), new_pool()
    server = serve(serve_ok)
    held = one.get_connection(server.url)
    taken = other.get_connection(server.url)
    assert held is not None
    assert taken is not None
    assert held != taken
    assert other.return_connection(held) is False
    assert one.return_connection(held) is True
    assert other.return_connection(taken) is True


def test_get_connection_returns_none_at_once_at_the_limit(new_pool: NewPool, serve: Serve) -> None:
    pool = new_pool(max_connections_per_endpoint=2)
    server = serve(serve_ok)
    held = [pool.get_connection(server.url) for _ in range(3)]
    assert held[2] is None
    assert pool.return_connection(held[0] or "") is True
    again = pool.get_connection(server.url)
    assert again is not None
    for each in (held[1], again):
        assert pool.return_connection(each or "") is True


def test_with_a_timeout_the_caller_queues(new_pool: NewPool, serve: Serve) -> None:
    pool = new_pool(max_connections_per_endpoint=1)
    server = serve(serve_ok)
    held = pool.get_connection(server.url)
    assert held is not None
    assert pool.get_connection(server.url, timeout=0.02) is None
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(pool.get_connection, server.url, timeout=20)
        until(lambda: pool.get_stats()["waiters"] == 1)
        pool.return_connection(held)
        got = waiting.result(20)
    assert got is not None
    assert got != held
    assert pool.return_connection(got)


def test_a_removed_connection_is_closed(pool: SimpleConnectionPool, serve: Serve) -> None:
    server = serve(serve_ok)
    held = pool.get_connection(server.url)
    assert held is not None
    assert pool.health_check(held)
    assert pool.remove_connection(held) is True
    server.wait_until(lambda counts: (counts.connections, counts.open) == (1, 0), "the connection close")
    assert pool.get_stats()["total_connections"] == 0


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_health_check_reports_whether_the_peer_is_alive(
    pool: SimpleConnectionPool, serve: Serve, certificates: Certificates, tls: bool
) -> None:
    leave = Gate()

    async def script(connection: Connection) -> None:
        await leave.passed()

    server = serve(script, tls=certificates.server if tls else None)
    held = pool.get_connection(server.url)
    assert held is not None
    assert pool.health_check(held) is True
    server.wait_until(lambda counts: counts.connections == 1, "the connection")
    assert pool.health_check(held) is True
    leave.open()
    server.wait_until(lambda counts: counts.open == 0, "its own close")
    until(lambda: not pool.health_check(held))
    assert pool.return_connection(held) is True
    assert pool.get_stats()["total_connections"] == 0


def test_a_health_check_of_a_dead_peer_is_false(pool: SimpleConnectionPool) -> None:
    with ScriptedServer(serve_ok) as server:
        pass
    held = pool.get_connection(server.url)
    assert held is not None
    assert pool.health_check(held) is False
    assert pool.return_connection(held) is True
    assert pool.get_stats()["active_connections"] == 0


def test_a_lease_lasts_as_long_as_its_block(pool: SimpleConnectionPool, serve: Serve) -> None:
    server = serve(serve_ok)
    lease = pool.lease(server.url)
    with lease as connection:
        assert connection.health_check()
        assert connection.request("GET", "/one").text == "GET /one"
        assert connection.request("POST", "/two", content="text").text == "POST /two"
        assert pool.get_stats()["active_connections"] == 1
        assert connection.id in repr(connection)
        with pytest.raises(RuntimeError, match="open already"), lease:
            pass
    assert pool.get_stats()["active_connections"] == 0
    with pytest.raises(StaleLease, match="not open"):
        connection.request("GET", "/")
    with lease as connection:
        connection.request("GET", "/three")
    assert server.connections == 1


def test_an_exception_in_the_block_returns_the_lease(pool: SimpleConnectionPool, serve: Serve) -> None:
    def fail_in_the_block() -> None:
        with pool.lease(serve(serve_ok).url) as connection:
            connection.request("GET", "/")
            raise KeyError

    with pytest.raises(KeyError):
        fail_in_the_block()
    assert pool.get_stats()["active_connections"] == 0


def test_a_dropped_lease_is_returned(pool: SimpleConnectionPool, serve: Serve) -> None:
    lease = pool.lease(serve(serve_ok).url).__enter__()
    assert pool.open_leases() == 1
    del lease
    gc.collect()
    assert pool.open_leases() == 0


def test_a_lease_that_is_not_available_in_time_is_a_pool_timeout(new_pool: NewPool, serve: Serve) -> None:
    pool = new_pool(max_connections_per_endpoint=1)
    url = serve(serve_ok).url
    with pool.lease(url), pytest.raises(httpx.PoolTimeout, match=url), pool.lease(url, timeout=0.02):
        pass


# Requests


def test_a_request_may_name_the_endpoint_alone(pool: SimpleConnectionPool, nginx: Nginx) -> None:
    response = pool.request(nginx.urls.tls13, "POST", "/path?q=1", headers={"X-A": "1"}, content=b"body")
    assert response.status_code == 200
    assert response.reason_phrase == "OK"
    assert response.http_version == "HTTP/1.1"
    assert response.text == "POST /path?q=1"
    assert response.content == b"POST /path?q=1"
    headers = dict(response.headers)
    assert headers["x-protocol"] == "TLSv1.3"
    assert [(name.decode(), value.decode()) for name, value in response.raw_headers] == response.headers
    again = pool.request(nginx.urls.tls13, "GET", "/")
    assert dict(again.headers)["x-connection"] == headers["x-connection"]


def test_headers_may_be_a_mapping_or_pairs_of_text_or_bytes(pool: SimpleConnectionPool, serve: Serve) -> None:
    server = serve(serve_ok)
    forms: list[Any] = [{"X-A": "1"}, [("X-A", "1"), ("X-A", "2")], [(b"X-A", b"1")], None]
    for headers in forms:
        pool.request(server.url, "GET", "/", headers=headers)
    seen = [[pair for pair in request.headers if pair[0] == "X-A"] for request in server.requests]
    assert seen == [[("X-A", "1")], [("X-A", "1"), ("X-A", "2")], [("X-A", "1")], []]
    assert all(request.header("host") == f"127.0.0.1:{server.port}" for request in server.requests)


def test_json_is_read(pool: SimpleConnectionPool, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.respond(b'{"a": [1, null]}')

    assert pool.request(serve(script).url, "GET", "/").json() == {"a": [1, None]}


def test_errors_of_requests_are_httpxs(pool: SimpleConnectionPool, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        request = await connection.request()
        if request.target == "/malformed":
            await connection.send(b"nonsense\r\n\r\n")
        await connection.client_closed()

    url = serve(script).url
    with pytest.raises(httpx.RemoteProtocolError):
        pool.request(url, "GET", "/malformed")
    with pytest.raises(httpx.ReadTimeout):
        pool.request(url, "GET", "/silent", timeout=0.05)
    with pytest.raises(httpx.ReadTimeout):
        pool.request(url, "GET", "/silent", timeout=(None, 0.05, None, None))
    with pytest.raises(httpx.ConnectError):
        pool.request("http://nothing.invalid", "GET", "/")
    assert pool.get_stats()["active_connections"] == 0


@pytest.mark.parametrize("target", ["/a b", "/a\r\nX: y", "/\x00", ""])
def test_a_target_that_would_break_the_request_is_refused(
    pool: SimpleConnectionPool, serve: Serve, target: str
) -> None:
    server = serve(serve_ok)
    with pytest.raises((ValueError, httpx.LocalProtocolError)):
        pool.request(server.url, "GET", target)
    assert pool.request(server.url, "GET", "/next").text == "GET /next"
    assert len(server.requests) == 1


# Names


def test_equal_names_are_the_same_pool() -> None:
    name = f"named-{uuid.uuid4()}"
    pool = SimpleConnectionPool(name, max_connections_per_endpoint=3)
    try:
        assert SimpleConnectionPool(name) is pool
        assert SimpleConnectionPool(name, max_connections_per_endpoint=3) is pool
        with pytest.raises(ValueError, match=r"max_connections_per_endpoint=3, not 4"):
            SimpleConnectionPool(name, max_connections_per_endpoint=4)
        assert SimpleConnectionPool(name) is pool
        assert pool.name == name
    finally:
        pool.close()


def test_a_closed_pools_name_is_free_again(serve: Serve) -> None:
    server = serve(serve_ok)
    name = f"named-{uuid.uuid4()}"
    pool = SimpleConnectionPool(name, max_connections=1)
    pool.request(server.url, "GET", "/")
    pool.close()
    pool.close()
    assert pool.closed
    server.wait_until(lambda counts: counts.open == 0, "the idle connection close")
    with pytest.raises(PoolClosed):
        pool.get_connection(server.url)
    with pytest.raises(PoolClosed):
        pool.request(server.url, "GET", "/")
    other = SimpleConnectionPool(name, max_connections=2)
    assert other is not pool
    other.close()


def test_closing_a_pool_wakes_waiting_callers(new_pool: NewPool, serve: Serve) -> None:
    pool = new_pool(max_connections_per_endpoint=1)
    url = serve(serve_ok).url
    held = pool.get_connection(url)
    assert held is not None
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(pool.get_connection, url, timeout=None)
        until(lambda: pool.get_stats()["waiters"] == 1)
        pool.close()
        with pytest.raises(PoolClosed):
            waiting.result(20)
    pool.return_connection(held)
    assert pool.open_leases() == 0


# The functions on the pool "default"


def test_the_functions_work_on_the_pool_default(serve: Serve) -> None:
    server = serve(serve_ok)
    before = fast_litellm.get_connection_pool_stats()["active_connections"]
    held = fast_litellm.get_connection(server.url)
    assert held is not None
    assert fast_litellm.health_check_connection(held) is True
    assert fast_litellm.get_connection_pool_stats()["active_connections"] == before + 1
    assert fast_litellm.return_connection(held) is True
    assert fast_litellm.return_connection(held) is False
    held = fast_litellm.get_connection(server.url, timeout=1)
    assert held is not None
    assert fast_litellm.remove_connection(held) is True
    assert fast_litellm.cleanup_expired_connections() == 0
    assert SimpleConnectionPool().get_stats() == fast_litellm.get_connection_pool_stats()
    server.wait_until(lambda counts: counts.connections == 1, "the connection")


# Statistics


def test_the_statistics_count_what_happened(new_pool: NewPool, nginx: Nginx, serve: Serve) -> None:
    pool = new_pool()
    server = serve(serve_ok)
    for _ in range(3):
        pool.request(nginx.urls.tls13, "GET", "/")
        pool.request(server.url, "GET", "/")
    with pool.lease(server.url) as connection:
        connection.health_check()
        stats = pool.get_stats()
    assert stats["total_connections"] == stats["active_connections"] + stats["idle_connections"] == 2
    assert (stats["active_connections"], stats["idle_connections"]) == (1, 1)
    assert (stats["dials"], stats["handshakes"], stats["resumed"], stats["waiters"]) == (2, 1, 0, 0)
    assert stats["connections_opened"] == 2
    assert stats["reused"] == 5
    for name in ("evicted", "expired", "dial_failures", "pool_timeouts"):
        assert stats[name] == 0
    endpoints = {endpoint["name"]: endpoint for endpoint in _endpoints(stats)}
    [mine] = [endpoint for name, endpoint in endpoints.items() if name.startswith(server.url)]
    assert (mine["total_connections"], mine["active_connections"]) == (1, 1)


def _endpoints(stats: dict[str, Any]) -> Iterator[dict[str, Any]]:
    endpoints = stats["endpoints"]
    if isinstance(endpoints, dict):
        yield from ({"name": name, **values} for name, values in endpoints.items())
    else:
        yield from endpoints


def test_errors_are_counted_by_kind(pool: SimpleConnectionPool, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"nonsense\r\n\r\n")

    url = serve(script).url
    for _ in range(2):
        with pytest.raises(httpx.RemoteProtocolError):
            pool.request(url, "GET", "/")
    assert pool.get_stats()["errors"]["remote_protocol"] == 2


def test_cleanup_closes_what_has_expired(new_pool: NewPool, serve: Serve) -> None:
    pool = new_pool(idle_timeout=0.01)
    server = serve(serve_ok)
    pool.request(server.url, "GET", "/")
    until(lambda: pool.cleanup() + pool.get_stats()["expired"] >= 1)
    server.wait_until(lambda counts: counts.open == 0, "the connection close")
    assert pool.get_stats()["expired"] == 1


def test_a_pool_at_its_total_evicts_the_longest_idle_connection(new_pool: NewPool, serve: Serve) -> None:
    pool = new_pool(max_connections=2)
    servers = [serve(serve_ok) for _ in range(3)]
    for server in servers:
        pool.request(server.url, "GET", "/")
    servers[0].wait_until(lambda counts: counts.open == 0, "the eviction")
    assert servers[1].counts.open == servers[2].counts.open == 1
    assert pool.get_stats()["evicted"] == 1


def test_the_repr_shows_the_number_of_connections(pool: SimpleConnectionPool, serve: Serve) -> None:
    pool.request(serve(serve_ok).url, "GET", "/")
    assert repr(pool) == f"<SimpleConnectionPool {pool.name!r}: 1 connections, 0 active, 1 idle>"


# Bad input


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("", "(?i)scheme|empty"),
        ("example.com", "(?i)scheme"),
        ("ftp://example.com", "(?i)scheme"),
        ("http://", "(?i)host"),
        ("http://:80", "(?i)host"),
        ("http://host:0", "(?i)port"),
        ("http://host:65536", "(?i)port"),
        ("http://host:port", "(?i)port"),
        ("http://user:secret@host", "(?i)user"),
        ("http://ho st", "(?i)host|space|character"),
        ("http://host\r\nX: y", "(?i)host|character|control"),
        ("http://[::1", "(?i)bracket|host|IPv6"),
    ],
)
def test_a_bad_endpoint_is_a_value_error_that_says_what_is_wrong(
    pool: SimpleConnectionPool, endpoint: str, words: str
) -> None:
    for call in (
        lambda: pool.get_connection(endpoint),
        lambda: pool.lease(endpoint).__enter__(),
        lambda: pool.warm(endpoint, 1),
    ):
        with pytest.raises(ValueError, match=words) as caught:
            call()
        assert "secret" not in str(caught.value)
    assert pool.get_stats()["total_connections"] == 0


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [
        ("max_connections_per_endpoint", -1, "at least 1.*-1"),
        ("max_connections_per_endpoint", 0, "at least 1.*0"),
        ("max_connections", -5, "at least 1.*-5"),
        ("max_idle_connections", -1, "at least 0.*-1"),
        ("idle_timeout", -0.5, r"at least 0.*-0\.5"),
        ("idle_timeout", float("nan"), "at least 0.*nan"),
        ("leak_after", -1, "at least 0.*-1"),
        ("leak_after", float("nan"), "at least 0.*nan"),
        ("max_lifetime", -1, "at least 0.*-1"),
        ("dns_lifetime", -1, "at least 0.*-1"),
        ("dns_lifetime", float("nan"), "at least 0.*nan"),
    ],
)
def test_a_limit_below_its_least_is_refused_by_name(limit: str, value: float, words: str) -> None:
    name = f"refused-{uuid.uuid4()}"
    with pytest.raises(ValueError, match=f"{limit}.*{words}"):
        SimpleConnectionPool(name, **{limit: value})  # type: ignore[arg-type]
    SimpleConnectionPool(name).close()  # the name was not taken


@pytest.mark.parametrize("value", ["5", True, [1]])
def test_a_limit_that_is_no_number_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match="max_connections"):
        SimpleConnectionPool(f"refused-{uuid.uuid4()}", max_connections=value)


def test_dns_lifetime_cannot_be_none() -> None:
    with pytest.raises(TypeError, match=r"dns_lifetime must be a number of seconds, not None"):
        SimpleConnectionPool(f"refused-{uuid.uuid4()}", dns_lifetime=None)  # type: ignore[arg-type]


def test_wrong_types_are_type_errors(pool: SimpleConnectionPool) -> None:
    untyped: Any = pool
    for call in (
        lambda: untyped.get_connection(None),
        lambda: untyped.get_connection(b"http://host"),
        lambda: untyped.return_connection(7),
        lambda: untyped.request("http://127.0.0.1:1", 5, "/"),
        lambda: SimpleConnectionPool(5),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError):
            call()


# Pools that nothing refers to


def test_a_pool_that_nothing_refers_to_ends(serve: Serve) -> None:
    server = serve(serve_ok)
    name = f"named-{uuid.uuid4()}"
    assert SimpleConnectionPool(name).request(server.url, "GET", "/").status_code == 200
    server.wait_until(lambda counts: counts.connections == 1 and counts.open == 0, "the end of its connection")
    other = SimpleConnectionPool(name, max_connections=2)  # its settings are forgotten too
    other.close()


def test_a_lease_keeps_its_pool_alive(serve: Serve) -> None:
    server = serve(serve_ok)
    name = f"named-{uuid.uuid4()}"
    held = SimpleConnectionPool(name).get_connection(server.url)
    assert held is not None
    gc.collect()
    assert SimpleConnectionPool(name).request(held, "GET", "/").status_code == 200
    gc.collect()
    assert server.counts.open == 1
    assert SimpleConnectionPool(name).return_connection(held) is True
    server.wait_until(lambda counts: counts.open == 0, "the end of its connection")


def test_a_transport_keeps_its_pool_alive(serve: Serve) -> None:
    server = serve(serve_ok)
    name = f"named-{uuid.uuid4()}"
    with httpx.Client(transport=fast_litellm.HTTPTransport(pool=name)) as client:
        for _ in range(3):
            gc.collect()
            assert client.get(server.url).status_code == 200
        assert SimpleConnectionPool(name).get_stats()["connections_opened"] == 1
    del client
    gc.collect()
    assert SimpleConnectionPool(name).get_stats()["connections_opened"] == 0


def test_the_default_pool_stays(serve: Serve) -> None:
    server = serve(serve_ok)
    SimpleConnectionPool().request(server.url, "GET", "/")
    gc.collect()
    SimpleConnectionPool().request(server.url, "GET", "/")
    assert server.connections == 1


def test_many_origins_leave_no_endpoints_behind(new_pool: NewPool) -> None:
    pool = new_pool(max_connections=1000)
    for number in range(20_000):
        held = pool.get_connection(f"http://host-{number}.invalid")
        assert held is not None
        assert pool.return_connection(held)
    pool.cleanup()
    pool.cleanup()
    assert len(pool.get_stats()["endpoints"]) < 10_000
