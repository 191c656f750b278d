"""Errors over HTTP/2: their class is httpx's, and the next request of the same client works."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from peers.http2_application import HELLO
from peers.http2_scripted import Http2Peer, data, headers, http2_context, serve_http2
from peers.scripted import Connection, Script, ScriptedServer
from support.certificates import Certificates
from support.http2 import over

MakeClient = Callable[..., httpx.Client]

every_application = over("nginx", "hypercorn", "go", "node", schemes=("https", "http"))


@every_application
def test_a_refused_connection(client: httpx.Client, origin: Any, unused_port: int) -> None:
    scheme = origin.url.partition(":")[0]
    with pytest.raises(httpx.ConnectError):
        client.get(f"{scheme}://127.0.0.1:{unused_port}/")
    assert client.get(f"{origin.url}/hello").content == HELLO


@pytest.mark.parametrize("which", ["expired", "wrong_host", "unknown_issuer"])
@over("nginx")
def test_a_wrong_certificate(client: httpx.Client, origin: Any, which: str, certificates: Certificates) -> None:
    with ScriptedServer(serve_http2, tls=http2_context(getattr(certificates, which))) as server:
        with pytest.raises(httpx.ConnectError, match=r"(?i)certificate"):
            client.post(server.url, content=b"secret")
        assert server.requests == []
    assert client.get(f"{origin.url}/hello").content == HELLO


@every_application
def test_a_read_timeout_before_the_answer(client: httpx.Client, origin: Any) -> None:
    with pytest.raises(httpx.ReadTimeout) as raised:
        client.get(f"{origin.url}/never", timeout=httpx.Timeout(20, read=0.1))
    assert raised.value.request.url.path == "/never"
    assert client.get(f"{origin.url}/hello").content == HELLO


def _half_of_the_first(answered: threading.Event) -> Script:
    """Half a response to the head of the first request, which sets the event."""

    async def script(connection: Connection) -> None:
        peer = await Http2Peer.begin(connection)
        if connection.number == 1:
            request = await peer.head()
            await peer.send(headers(request.stream, (":status", "200")), data(request.stream, b"half"))
            answered.set()
        await peer.serve()

    return script


def test_a_read_timeout_in_the_body(make_client: MakeClient, serve_tls: Callable[..., ScriptedServer]) -> None:
    """The half has come before the request is complete: on a busy machine, too, no read has to wait for it."""
    answered = threading.Event()

    def body() -> Iterator[bytes]:
        yield b"bo"
        assert answered.wait(60)
        yield b"dy"

    server = serve_tls(_half_of_the_first(answered))
    client = make_client()
    with client.stream("POST", f"{server.url}/first", content=body(), timeout=httpx.Timeout(20, read=0.5)) as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"half"
        with pytest.raises(httpx.ReadTimeout):
            next(pieces)
    assert client.get(f"{server.url}/next").text == "answer to /next "


async def _one_request(connection: Connection) -> None:
    peer = await Http2Peer.begin(connection)
    request = await peer.request()
    peer.processed(request)
    await peer.respond(request, b"answer")
    if connection.number > 1:
        await peer.serve()


def test_a_pool_that_is_full_is_a_pool_timeout(make_client: MakeClient, serve: Callable[..., ScriptedServer]) -> None:
    """One connection, which is another origin's."""
    held, wanted = serve(_half_of_the_first(threading.Event())), serve(serve_http2)
    client = make_client(http1=False, limits=httpx.Limits(max_connections=1))
    with client.stream("GET", f"{held.url}/held") as response:
        pieces = response.iter_raw()  # whose end closes the response
        assert next(pieces) == b"half"
        with pytest.raises(httpx.PoolTimeout):
            client.get(f"{wanted.url}/wanted", timeout=httpx.Timeout(20, pool=0.1))
    assert client.get(f"{wanted.url}/next").text == "answer to /next "
