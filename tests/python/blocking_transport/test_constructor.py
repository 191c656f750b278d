"""Every argument of httpx.HTTPTransport is honoured, or refused when the transport is made."""

from __future__ import annotations

import inspect
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from blocking_transport.conftest import MakeClient
from fast_litellm import HTTPTransport, SimpleConnectionPool
from fast_litellm.exceptions import PoolClosed
from peers.nginx import Nginx
from peers.scripted import ScriptedServer, serve_ok

Serve = Callable[..., ScriptedServer]


def test_the_arguments_are_httpxs_own_in_httpxs_order() -> None:
    stock = inspect.signature(httpx.HTTPTransport).parameters
    ours = inspect.signature(HTTPTransport).parameters
    assert list(ours)[: len(stock)] == list(stock)
    for name, parameter in stock.items():
        assert ours[name].kind == parameter.kind
        assert ours[name].default == parameter.default


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"http1": False}, ValueError, "http1=False"),
        ({"http1": False, "http2": True, "verify": ssl.create_default_context()}, ValueError, "http1=False.*context"),
        ({"retries": -1}, ValueError, "retries.*-1"),
        ({"limits": httpx.Limits(max_connections=-1)}, ValueError, "max_connections.*-1"),
        ({"limits": httpx.Limits(max_connections=0)}, ValueError, "max_connections.*0"),
        ({"limits": httpx.Limits(max_keepalive_connections=-1)}, ValueError, "max_keepalive_connections.*-1"),
        ({"limits": httpx.Limits(keepalive_expiry=-1)}, ValueError, "keepalive_expiry.*-1"),
        ({"verify": 3}, TypeError, "verify.*int"),
        ({"cert": ("a", "b", "c", "d")}, ValueError, "cert.*4"),
        ({"local_address": "not an address"}, ValueError, "not an address"),
        ({"socket_options": [(1, 2, None, 3)]}, ValueError, "socket_options"),
    ],
)
def test_an_unsupported_argument_is_refused(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        HTTPTransport(**arguments)


def test_a_unix_socket_is_used(make_client: MakeClient, nginx: Nginx) -> None:
    client = make_client(uds=nginx.unix_socket)
    assert client.get("http://any.example/x").text == "GET /x"


def test_the_local_address_is_bound(make_client: MakeClient, serve: Serve) -> None:
    client = make_client(local_address="127.0.0.2")
    with client.stream("GET", serve(serve_ok).url) as response:
        assert response.extensions["network_stream"].get_extra_info("client_addr")[0] == "127.0.0.2"


def test_socket_options_are_set(make_client: MakeClient, serve: Serve) -> None:
    linger = b"\x01\x00\x00\x00\x07\x00\x00\x00"
    client = make_client(
        socket_options=[
            (socket.SOL_SOCKET, socket.SO_PRIORITY, 5),
            (socket.SOL_SOCKET, socket.SO_LINGER, linger),
        ]
    )
    with _socket_of(client, serve(serve_ok)) as connection:
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY) == 5
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == linger


def test_connections_are_made_with_no_delay_and_keepalive_probes(client: httpx.Client, serve: Serve) -> None:
    with _socket_of(client, serve(serve_ok)) as connection:
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 30
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 5
        assert not connection.get_inheritable()


def test_retries_repeat_only_the_connect(
    make_client: MakeClient, new_pool: Callable[..., SimpleConnectionPool]
) -> None:
    with ScriptedServer(serve_ok) as server:
        pass  # no process listens there any more
    for retries in (0, 1):
        pool = new_pool()
        with pytest.raises(httpx.ConnectError):
            make_client(pool=pool, retries=retries).get(server.url)
        assert pool.get_stats()["dials"] == 1 + retries


def test_a_pool_may_be_named(
    make_client: MakeClient, serve: Serve, new_pool: Callable[..., SimpleConnectionPool]
) -> None:
    pool = new_pool()
    server = serve(serve_ok)
    make_client(pool=pool.name).get(server.url)
    make_client(pool=pool).get(server.url)
    assert server.connections == 1
    assert pool.get_stats()["idle_connections"] == 1


def test_transports_without_a_pool_share_nothing(make_client: MakeClient, serve: Serve) -> None:
    server = serve(serve_ok)
    make_client().get(server.url)
    make_client().get(server.url)
    assert server.connections == 2


def test_a_request_on_a_closed_transport_reports_that_it_is_closed(serve: Serve) -> None:
    server = serve(serve_ok)
    transport = HTTPTransport()
    with transport:
        assert transport.handle_request(httpx.Request("GET", server.url)).read() == b"GET /"
    transport.close()  # again: no harm
    with pytest.raises(PoolClosed, match="closed"):
        transport.handle_request(httpx.Request("GET", server.url))


def test_the_repr_describes_the_transport(serve: Serve, new_pool: Callable[..., SimpleConnectionPool]) -> None:
    server = serve(serve_ok)
    with HTTPTransport() as transport:
        transport.handle_request(httpx.Request("GET", server.url)).read()
        assert repr(transport) == "<HTTPTransport on its own pool: 1 requests, 0 open>"
    pool = new_pool()
    with HTTPTransport(pool=pool) as transport:
        assert repr(transport) == f"<HTTPTransport on pool '{pool.name}': 0 requests, 0 open>"


@contextmanager
def _socket_of(client: httpx.Client, server: ScriptedServer) -> Iterator[socket.socket]:
    """The socket of a connection to the server, as a duplicate."""
    with (
        client.stream("GET", server.url) as response,
        response.extensions["network_stream"].get_extra_info("socket") as connection,
    ):
        yield connection
