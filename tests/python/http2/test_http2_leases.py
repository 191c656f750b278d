"""Leases of HTTP/2 connections (`get_connection`, `lease`): each is one caller's, also behind a GOAWAY."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

import fast_litellm
from fast_litellm import SimpleConnectionPool
from peers.http2_scripted import ClientLeft, Code, Http2Peer, Setting, data, goaway, headers, http2_context, rst_stream
from peers.scripted import Connection, Gate, ScriptedServer, until
from support.certificates import Certificates

NewPool = Callable[..., SimpleConnectionPool]


class _Server:
    """A script: answers with the connection's number. Says GOAWAY on the first connection once `leave` is open, refuses
    /refused once, and ends the response to /held with /finish."""

    def __init__(self) -> None:
        self.leave = Gate()
        self.left = threading.Event()
        self._refused = False

    async def __call__(self, connection: Connection) -> None:
        peer = await Http2Peer.begin(connection, {Setting.MAX_CONCURRENT_STREAMS: 100})
        leaving = asyncio.create_task(self._leave(connection, peer))
        held = 0
        try:
            while True:
                request = await peer.request()
                if request.path == "/refused" and not self._refused:
                    self._refused = True
                    await peer.send(rst_stream(request.stream, Code.REFUSED_STREAM))
                    continue
                peer.processed(request)
                if request.path == "/held":
                    held = request.stream
                    await peer.send(headers(held, (":status", "200")), data(held, b"half"))
                    continue
                if request.path == "/finish":
                    await peer.send(data(held, b"half", end=True))
                await peer.respond(request, str(connection.number).encode())
        except ClientLeft:
            leaving.cancel()

    async def _leave(self, connection: Connection, peer: Http2Peer) -> None:
        if connection.number == 1:
            await self.leave.passed()
            await peer.send(goaway(max(peer.streams)))
            self.left.set()

    def say_goodbye(self) -> None:
        """Returns once the client has the frame, whether it has read it or not."""
        self.leave.open()
        assert self.left.wait(60)


@pytest.fixture
def script() -> _Server:
    return _Server()


@pytest.fixture
def server(script: _Server, certificates: Certificates) -> Iterator[ScriptedServer]:
    with ScriptedServer(script, tls=http2_context(certificates.server)) as server:
        yield server


@pytest.fixture
def pool(new_pool: NewPool) -> SimpleConnectionPool:
    return new_pool(http2=True)


@pytest.fixture
def client(pool: SimpleConnectionPool, certificates: Certificates) -> Iterator[httpx.Client]:
    transport = fast_litellm.HTTPTransport(pool=pool, http2=True, verify=str(certificates.ca_file))
    with httpx.Client(transport=transport, timeout=20) as client:
        yield client


def _leased(pool: SimpleConnectionPool, url: str) -> str:
    held = pool.get_connection(url)
    assert held is not None
    return held


def _ask(pool: SimpleConnectionPool, connection: str, target: str = "/", **more: Any) -> str:
    response = pool.request(connection, "POST", target, timeout=20, **more)
    assert response.http_version == "HTTP/2"
    return response.text


def test_a_lease_shares_its_connection_with_no_request(
    pool: SimpleConnectionPool, client: httpx.Client, server: ScriptedServer
) -> None:
    first, second = _leased(pool, server.url), _leased(pool, server.url)
    assert [_ask(pool, first), _ask(pool, second), client.get(server.url).text] == ["1", "2", "3"]
    stats = pool.get_stats()
    assert (stats["http2_connections"], stats["active_connections"], stats["open_streams"]) == (3, 2, 0)
    assert pool.health_check(first)
    assert pool.return_connection(first)
    assert pool.return_connection(second)
    assert not pool.health_check(first), "a lease that was given back is stale"


def test_requests_and_leases_take_each_others_idle_connections(
    pool: SimpleConnectionPool, client: httpx.Client, server: ScriptedServer
) -> None:
    assert client.get(server.url).text == "1"
    with pool.lease(server.url) as lease:
        assert _ask(pool, lease.id) == "1"
    assert client.get(server.url).text == "1"
    assert server.connections == 1


def test_a_lease_whose_connection_got_a_goaway_connects_anew(
    pool: SimpleConnectionPool, script: _Server, server: ScriptedServer
) -> None:
    held = _leased(pool, server.url)
    assert _ask(pool, held) == "1"
    script.say_goodbye()
    assert _ask(pool, held, "/after", content=b"paid for") == "2"
    assert [(request.target, request.body) for request in server.requests] == [("/", b""), ("/after", b"paid for")]
    assert pool.return_connection(held)
    assert _ask(pool, server.url) == "2"


def test_a_health_check_sees_a_goaway(pool: SimpleConnectionPool, script: _Server, server: ScriptedServer) -> None:
    """And the lease may be used on: its next request connects."""
    held = _leased(pool, server.url)
    assert _ask(pool, held) == "1"
    assert pool.health_check(held)
    script.say_goodbye()
    assert not pool.health_check(held)
    assert _ask(pool, held) == "2"
    assert pool.health_check(held)
    assert pool.return_connection(held)


def test_a_parked_connection_that_got_a_goaway_carries_no_further_request(
    pool: SimpleConnectionPool, script: _Server, server: ScriptedServer
) -> None:
    held = _leased(pool, server.url)
    assert _ask(pool, held) == "1"
    assert pool.return_connection(held)
    script.say_goodbye()
    held = _leased(pool, server.url)
    assert _ask(pool, held, "/after", content=b"paid for") == "2"
    assert pool.return_connection(held)
    assert [request.target for request in server.requests] == ["/", "/after"]
    assert pool.get_stats()["total_connections"] == 1


def test_an_idle_connection_that_got_a_goaway_is_closed_though_its_server_leaves_it_open(
    pool: SimpleConnectionPool, script: _Server, server: ScriptedServer
) -> None:
    held = _leased(pool, server.url)
    assert _ask(pool, held) == "1"
    assert pool.return_connection(held)
    assert pool.get_stats()["idle_connections"] == 1
    script.say_goodbye()
    until(lambda: pool.get_stats()["total_connections"] == 0)


def test_a_lease_is_taken_while_a_stream_outlasts_a_goaway(
    pool: SimpleConnectionPool, client: httpx.Client, script: _Server, server: ScriptedServer
) -> None:
    with client.stream("GET", f"{server.url}/held") as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"half"
        script.say_goodbye()
        with pool.lease(server.url) as lease:
            assert _ask(pool, lease.id) == "2"
            until(lambda: client.get(server.url).text == "3")  # the client has read the GOAWAY
            assert pool.get_stats()["open_streams"] == 1
    assert [request.target for request in server.requests].count("/held") == 1


def test_a_lease_sends_a_refused_request_again(pool: SimpleConnectionPool, server: ScriptedServer) -> None:
    with pool.lease(server.url) as lease:
        assert _ask(pool, lease.id, "/refused", content=b"paid for") in ("1", "2")
    assert [(request.target, request.body) for request in server.requests] == [("/refused", b"paid for")]
    assert pool.get_stats()["retried_unread"] == 1


def test_a_lease_in_an_event_loop(pool: SimpleConnectionPool, script: _Server, server: ScriptedServer) -> None:
    async def main() -> list[str]:
        async with pool.lease(server.url) as lease:
            first = await lease.request("GET", "/", timeout=20)
            await asyncio.to_thread(script.say_goodbye)
            second = await lease.request("POST", "/after", content=b"paid for", timeout=20)
            return [first.text, second.text]

    assert asyncio.run(main()) == ["1", "2"]
    assert [request.target for request in server.requests] == ["/", "/after"]
    assert pool.open_leases() == 0
