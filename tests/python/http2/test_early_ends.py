"""HTTP/2 connections that end in the middle of a response: an error, never a short answer, and no POST twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from peers.http2_scripted import Http2Peer, answer_to, data, headers
from peers.scripted import Connection, Script, ScriptedServer
from support.http2 import OURS_ALONE

MakeClient = Callable[..., httpx.Client]
Serve = Callable[..., ScriptedServer]

_OK = (":status", "200")
#: What was sent of the response to the second request.
PARTS: dict[str, Callable[[int], bytes]] = {
    "nothing": lambda stream: b"",
    "half a frame header": lambda stream: headers(stream, _OK)[:5],
    "half a header block": lambda stream: headers(stream, _OK, ("x-field", "value"))[:-3],
    "the head": lambda stream: headers(stream, _OK),
    "half of the body": lambda stream: headers(stream, _OK, ("content-length", "8")) + data(stream, b"half"),
    "half of a body of unknown length": lambda stream: headers(stream, _OK) + data(stream, b"half"),
    "a body without its end": lambda stream: headers(stream, _OK, ("content-length", "4")) + data(stream, b"half"),
}
#: How the server ends the connection.
ENDS = ("closed", "reset", "half closed", "TLS closed", "TLS closed without notice")


def _ending(part: Callable[[int], bytes], how: str, half_closed: threading.Event | None = None) -> Script:
    """`half_closed`: is set when the client's kernel has that end."""

    async def script(connection: Connection) -> None:
        peer = await Http2Peer.begin(connection)
        if connection.number > 1:
            await peer.serve()
        await peer.respond(await peer.request(), b"warm")
        request = await peer.request()
        peer.processed(request)
        await peer.send(part(request.stream))
        if how == "reset":
            connection.reset()
        elif how == "half closed":
            connection._writer.write_eof()
            if half_closed is not None:
                half_closed.set()
            await peer.client_closed()
        elif how == "TLS closed without notice":
            connection.hang_up()

    return script


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS.keys())
def test_an_early_end_is_an_error_and_a_post_is_not_sent_again(
    make_client: MakeClient,
    serve: Serve,
    serve_tls: Serve,
    engine: str,
    part: Callable[[int], bytes],
    how: str,
) -> None:
    server = (serve_tls if how.startswith("TLS") else serve)(_ending(part, how))
    client = make_client(http1=how.startswith("TLS"))
    assert client.get(f"{server.url}/warm").text == "warm"
    # httpx's transport calls the end of a stream a RemoteProtocolError, on which callers of ours would send again.
    with pytest.raises(httpx.ReadError if engine == "ours" else (httpx.ReadError, httpx.RemoteProtocolError)):
        client.post(f"{server.url}/post", content=b"paid for")
    assert client.get(f"{server.url}/next").content == answer_to("/next")
    assert [(request.method, request.target) for request in server.requests] == [("POST", "/post"), ("GET", "/next")]


@pytest.mark.parametrize("how", ENDS)
def test_a_complete_response_counts_whatever_follows(
    make_client: MakeClient, serve: Serve, serve_tls: Serve, how: str, engine: str
) -> None:
    def whole(stream: int) -> bytes:
        return headers(stream, _OK) + data(stream, b"whole", end=True)

    if how == "reset":
        pytest.skip("case: a reset takes back what the client's kernel has and it has not read")
    half_closed = threading.Event()
    server = (serve_tls if how.startswith("TLS") else serve)(_ending(whole, how, half_closed))
    client = make_client(http1=how.startswith("TLS"))
    assert client.get(f"{server.url}/warm").text == "warm"
    assert client.post(f"{server.url}/post", content=b"paid for").text == "whole"
    if engine == "stock":  # learns of the end by its next request, which fails
        return
    if how == "half closed":
        assert half_closed.wait(60)
    else:
        server.wait_until(lambda counts: counts.open == 0, "its own end of the connection")
    assert client.get(f"{server.url}/next").content == answer_to("/next")
    assert [(request.method, request.target) for request in server.requests] == [("POST", "/post"), ("GET", "/next")]


@OURS_ALONE
def test_every_request_of_a_connection_that_ends_gets_an_error(make_client: MakeClient, serve: Serve) -> None:
    """(Threads of httpx's transport race for stream ids.)"""

    async def script(connection: Connection) -> None:
        peer = await Http2Peer.begin(connection, {3: 100})
        if connection.number > 1:
            await peer.serve()
        await peer.respond(await peer.request(), b"warm")
        for _ in range(5):
            peer.processed(await peer.request())

    server = serve(script)
    client = make_client(http1=False)
    assert client.get(f"{server.url}/warm").text == "warm"
    with ThreadPoolExecutor(5) as threads:
        posts = [threads.submit(client.post, f"{server.url}/{number}", content=b"paid for") for number in range(5)]
        errors = [post.exception(60) for post in posts]
    assert [error for error in errors if not isinstance(error, (httpx.ReadError, httpx.RemoteProtocolError))] == []
    assert client.get(f"{server.url}/next").content == answer_to("/next")
    assert [request.method for request in server.requests] == ["POST"] * 5 + ["GET"]
