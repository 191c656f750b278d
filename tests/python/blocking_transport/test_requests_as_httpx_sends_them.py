"""Unusual requests that httpx's own transport accepts and sends."""

from __future__ import annotations

import contextlib
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from blocking_transport.conftest import MakeClient
from fast_litellm import SimpleConnectionPool, accelerate
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok

Serve = Callable[..., ScriptedServer]

CHUNKED = ("Transfer-Encoding", "chunked")


def _framing(server: ScriptedServer) -> list[tuple[str, str]]:
    names = ("content-length", "transfer-encoding")
    return [(name.lower(), value) for name, value in server.requests[-1].headers if name.lower() in names]


@pytest.mark.parametrize(
    "headers",
    [
        [CHUNKED],
        [CHUNKED, ("Content-Length", "4")],
        [("Content-Length", "4"), CHUNKED],
        [("Content-Length", "4"), ("Content-Length", "4"), CHUNKED],
        [("Content-Length", "9"), ("transfer-encoding", "Chunked")],
    ],
)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_chunks_that_the_caller_asks_for_are_sent_without_a_length(
    client: httpx.Client, serve: Serve, headers: list[tuple[str, str]], streamed: bool
) -> None:
    server = serve(serve_ok)
    for _ in range(2):  # the connection is used again
        client.post(server.url, content=iter([b"bo", b"dy"]) if streamed else b"body", headers=headers)
        assert server.requests[-1].body == b"body"
        assert [(name, value.lower()) for name, value in _framing(server)] == [("transfer-encoding", "chunked")]
    assert server.connections == 1


def test_an_empty_chunked_body_is_sent_chunked(client: httpx.Client, serve: Serve) -> None:
    server = serve(serve_ok)
    client.post(server.url, content=b"", headers=[CHUNKED])
    assert server.requests[-1].body == b""
    assert _framing(server) == [("transfer-encoding", "chunked")]


@pytest.mark.parametrize("lengths", [["4", "4"], ["4, 4"], ["4", "4,4", "4"]])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_repeated_content_length_is_sent_once(
    client: httpx.Client, serve: Serve, lengths: list[str], streamed: bool
) -> None:
    server = serve(serve_ok)
    headers = [("Content-Length", length) for length in lengths]
    client.post(server.url, content=iter([b"bo", b"dy"]) if streamed else b"body", headers=headers)
    assert server.requests[-1].body == b"body"
    assert _framing(server) == [("content-length", "4")]


@pytest.mark.parametrize(
    "headers",
    [
        [("Content-Length", "4"), ("Content-Length", "5")],
        [("Content-Length", "4, 5")],
        [("Content-Length", "4"), ("Content-Length", "5"), CHUNKED],
        [("Content-Length", "x"), CHUNKED],
        [CHUNKED, CHUNKED],
        [("Transfer-Encoding", "gzip, chunked")],
    ],
)
def test_framing_that_contradicts_itself_or_the_body_is_refused(
    client: httpx.Client, serve: Serve, headers: list[tuple[str, str]]
) -> None:
    server = serve(serve_ok)
    with pytest.raises(httpx.LocalProtocolError):
        client.post(server.url, content=b"body", headers=headers)
    with pytest.raises(httpx.LocalProtocolError), httpx.Client() as stock:
        stock.post(server.url, content=b"body", headers=headers)


@pytest.mark.parametrize("target", ["/other?x=y", b"/other?x=y", "http://elsewhere/other", "*"])
def test_a_target_is_text_or_bytes(client: httpx.Client, serve: Serve, target: Any) -> None:
    server = serve(serve_ok)
    client.get(f"{server.url}/path", extensions={"target": target})
    assert server.requests[-1].target == (target if isinstance(target, str) else target.decode())


@pytest.mark.parametrize("target", ["/\u00e9", None, bytearray(b"/x"), 5])
def test_a_target_of_another_kind_is_refused_as_by_httpx(client: httpx.Client, serve: Serve, target: Any) -> None:
    server = serve(serve_ok)
    with pytest.raises(TypeError) as theirs, httpx.Client() as stock:
        stock.get(server.url, extensions={"target": target})
    with pytest.raises(TypeError) as ours:
        client.get(server.url, extensions={"target": target})
    assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize("target", ["", "/a b", "/a\r\nx: y", "/\x7f"])
def test_a_target_that_would_end_its_line_is_refused(client: httpx.Client, serve: Serve, target: str) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        client.get(serve(serve_ok).url, extensions={"target": target})


def test_a_request_without_timeouts_keeps_its_other_extensions(client: httpx.Client, serve: Serve) -> None:
    server = serve(serve_ok)
    request = httpx.Request("GET", server.url, extensions={"target": "/other"})
    client._transport.handle_request(request).read()
    assert server.requests[-1].target == "/other"


def test_accelerated_clients_and_pools_send_the_same(
    serve: Serve, new_pool: Callable[..., SimpleConnectionPool]
) -> None:
    server = serve(serve_ok)
    with accelerate(httpx.Client(timeout=20)) as client:
        client.post(server.url, content=b"body", headers=[CHUNKED], extensions={"target": "/other"})
    assert (server.requests[-1].target, server.requests[-1].body) == ("/other", b"body")
    assert _framing(server) == [("transfer-encoding", "chunked")]
    new_pool().request(server.url, "POST", "/", headers=[CHUNKED, ("Content-Length", "4")], content=b"body")
    assert server.requests[-1].body == b"body"
    assert _framing(server) == [("transfer-encoding", "chunked")]


# Unix sockets without a file.


@pytest.fixture
def abstract_server() -> Iterator[str]:
    """A server on an abstract Unix socket, by its name."""
    name = f"\0fast_litellm {uuid.uuid4()}"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(name)
    listener.listen()
    peers = []

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            peers.append(peer)
            with peer:
                while peer.recv(65536):
                    peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nabstract")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield name
    for peer in [listener, *peers]:  # shared pools keep their connections
        with contextlib.suppress(OSError):
            peer.shutdown(socket.SHUT_RDWR)
    thread.join(20)
    listener.close()


def test_an_abstract_unix_socket_is_connected_to(make_client: MakeClient, abstract_server: str) -> None:
    client = make_client(uds=abstract_server)
    response = client.get("http://localhost/")
    assert response.text == "abstract"
    stream = response.extensions["network_stream"]
    assert stream.get_extra_info("server_addr") == abstract_server.encode()
    client.close()


def test_an_accelerated_client_keeps_its_abstract_unix_socket(abstract_server: str) -> None:
    with accelerate(httpx.Client(transport=httpx.HTTPTransport(uds=abstract_server), timeout=20)) as client:
        assert client.get("http://localhost/").text == "abstract"


def test_an_abstract_unix_socket_that_is_not_there_is_named_in_the_error(make_client: MakeClient) -> None:
    with pytest.raises(httpx.ConnectError, match="unix:@no such name"):
        make_client(uds="\0no such name").get("http://localhost/")


# Timeouts of nothing, or less.


@pytest.mark.parametrize("seconds", [-1, -0.5, float("-inf"), 0])
def test_an_idle_connection_is_found_even_with_a_tiny_pool_timeout(
    client: httpx.Client, serve: Serve, seconds: float
) -> None:
    server = serve(serve_ok)
    client.get(server.url)
    client.get(server.url, timeout=httpx.Timeout(20, pool=seconds, connect=seconds))
    assert server.connections == 1


@pytest.mark.parametrize("seconds", [-1, 0])
def test_a_negative_timeout_acts_as_zero(client: httpx.Client, serve: Serve, seconds: float) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.client_closed()

    end = Gate()

    async def deaf(connection: Connection) -> None:
        connection.pause()  # a peer that reads may be fast enough for a write that waits for nothing
        await end.passed()
        connection.hang_up()

    with pytest.raises(httpx.ConnectTimeout):
        client.get("http://192.0.2.1/", timeout=httpx.Timeout(20, connect=seconds))
    with pytest.raises(httpx.ReadTimeout):
        client.get(serve(script).url, timeout=httpx.Timeout(20, read=seconds))
    with pytest.raises(httpx.WriteTimeout):
        client.post(serve(deaf).url, content=b"x" * (1 << 24), timeout=httpx.Timeout(20, write=seconds))
    end.open()


def test_a_timeout_that_is_not_a_number_is_refused(client: httpx.Client, serve: Serve) -> None:
    with pytest.raises(ValueError, match="read timeout"):
        client.get(serve(serve_ok).url, timeout=httpx.Timeout(20, read=float("nan")))


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_small_write_with_a_timeout_of_zero_is_sent_as_with_httpx(
    client: httpx.Client, client_kind: str, serve: Serve, seconds: float
) -> None:
    """httpx's synchronous transport writes what needs no wait; its asynchronous one does not begin."""
    server = serve(serve_ok)
    timeout = httpx.Timeout(20, write=seconds)
    if client_kind == "sync":
        assert client.post(server.url, content=b"body", timeout=timeout).status_code == 200
    else:
        with pytest.raises(httpx.WriteTimeout) as caught:
            client.post(server.url, content=b"body", timeout=timeout)
        assert caught.value.bytes_sent == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("seconds", [1e-4, 1e-6, 1e-9])
def test_a_response_that_has_arrived_is_read_even_with_a_tiny_timeout(
    client: httpx.Client, serve: Serve, seconds: float
) -> None:
    answered = threading.Event()

    async def script(connection: Connection) -> None:
        await connection.request_head()
        await connection.respond(b"early")
        answered.set()
        await connection.client_closed()

    def body() -> Iterator[bytes]:
        yield b"bo"
        assert answered.wait(20)
        yield b"dy"

    server = serve(script)
    assert client.post(server.url, content=body(), timeout=httpx.Timeout(20, read=seconds)).text == "early"
