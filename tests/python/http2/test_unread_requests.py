"""Requests that an HTTP/2 server says it did not process (GOAWAY, REFUSED_STREAM): sent again, and no others are.

`requests` of the servers are those that they processed, and `Seen` those that reached them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from peers.http2_scripted import Code, Http2Peer, Http2Request, Setting, answer_to, goaway, rst_stream
from peers.scripted import Connection, Script, ScriptedServer
from support.http2 import OURS_ALONE

MakeClient = Callable[..., httpx.Client]
Serve = Callable[..., ScriptedServer]

BODY = b"paid for"
ENDLESS = 2**31 - 1
#: What a request is told that may have been processed.
FAILED = (httpx.ReadError, httpx.RemoteProtocolError)


class Seen:
    """The requests that reached the server: the number of the connection, and what the request was."""

    def __init__(self) -> None:
        self.requests: list[tuple[int, str, str, bytes]] = []

    def note(self, connection: Connection, request: Http2Request) -> Http2Request:
        one = (connection.number, request.field(":method"), request.path, bytes(request.body))
        self.requests.append(one)
        return request


def _processed(server: ScriptedServer) -> list[tuple[str, str, bytes]]:
    return [(request.method, request.target, request.body) for request in server.requests]


def _first_connection(seen: Seen, then: Callable[[Http2Peer, Http2Request], Any], *, warm: bool) -> Script:
    """The first connection answers /warm, if wanted, and does `then` with the next request. All others serve."""

    async def script(connection: Connection) -> None:
        peer = await Http2Peer.begin(connection, {Setting.MAX_CONCURRENT_STREAMS: 100})
        if connection.number == 1:
            if warm:
                await peer.respond(await peer.request(), b"warm")
            await then(peer, seen.note(connection, await peer.request()))
            await peer.client_closed()
        while True:
            request = seen.note(connection, await peer.request())
            peer.processed(request)
            await peer.respond(request, answer_to(request.path, bytes(request.body)))

    return script


def _client(make_client: MakeClient, server: ScriptedServer, *, warm: bool) -> httpx.Client:
    client = make_client(http1=False)
    if warm:
        assert client.get(f"{server.url}/warm").text == "warm"
    return client


@OURS_ALONE
@pytest.mark.parametrize("code", [Code.NO_ERROR, Code.ENHANCE_YOUR_CALM], ids=["no error", "an error"])
def test_a_first_request_above_the_last_id_is_sent_again(make_client: MakeClient, serve: Serve, code: int) -> None:
    """httpx's transport takes the last id 0 for none, and fails."""
    seen = Seen()

    async def refuse(peer: Http2Peer, request: Http2Request) -> None:
        await peer.send(goaway(0, code))

    server = serve(_first_connection(seen, refuse, warm=False))
    client = _client(make_client, server, warm=False)
    assert client.post(f"{server.url}/post", content=BODY).content == answer_to("/post", BODY)
    assert _processed(server) == [("POST", "/post", BODY)]
    assert [connection for connection, *_ in seen.requests] == [1, 2]


@pytest.mark.parametrize("how", ["stays open", "closes"])
def test_a_later_request_above_the_last_id_is_sent_again(make_client: MakeClient, serve: Serve, how: str) -> None:
    seen = Seen()

    async def refuse(peer: Http2Peer, request: Http2Request) -> None:
        await peer.send(goaway(1))
        if how == "closes":
            raise ConnectionResetError

    server = serve(_first_connection(seen, refuse, warm=True))
    client = _client(make_client, server, warm=True)
    assert client.post(f"{server.url}/post", content=BODY).content == answer_to("/post", BODY)
    assert client.get(f"{server.url}/next").content == answer_to("/next")
    assert _processed(server) == [("POST", "/post", BODY), ("GET", "/next", b"")]
    assert [connection for connection, *_ in seen.requests] == [1, 2, 2]


@OURS_ALONE
@pytest.mark.parametrize("last", [3, 5, ENDLESS], ids=["at it", "above it", "endless"])
def test_a_request_up_to_the_last_id_is_answered_and_the_next_goes_elsewhere(
    make_client: MakeClient, serve: Serve, last: int
) -> None:
    """httpx's transport fails such a request unless its answer came together with the GOAWAY."""
    seen = Seen()

    async def answer_later(peer: Http2Peer, request: Http2Request) -> None:
        await peer.send(goaway(last))
        await peer.round_trip()  # the client has read the GOAWAY
        peer.processed(request)
        await peer.respond(request, answer_to("/post", BODY))

    server = serve(_first_connection(seen, answer_later, warm=True))
    client = _client(make_client, server, warm=True)
    assert client.post(f"{server.url}/post", content=BODY).content == answer_to("/post", BODY)
    assert client.get(f"{server.url}/next").content == answer_to("/next")
    assert _processed(server) == [("POST", "/post", BODY), ("GET", "/next", b"")]
    assert [connection for connection, *_ in seen.requests] == [1, 2]


@pytest.mark.parametrize("last", [3, ENDLESS], ids=["at it", "endless"])
@pytest.mark.parametrize("code", [Code.NO_ERROR, Code.INTERNAL_ERROR], ids=["no error", "an error"])
def test_a_post_up_to_the_last_id_that_gets_no_answer_fails(
    make_client: MakeClient, serve: Serve, last: int, code: int
) -> None:
    seen = Seen()

    async def process_and_leave(peer: Http2Peer, request: Http2Request) -> None:
        peer.processed(request)
        await peer.send(goaway(last, code))
        raise ConnectionResetError

    server = serve(_first_connection(seen, process_and_leave, warm=True))
    client = _client(make_client, server, warm=True)
    with pytest.raises(FAILED):
        client.post(f"{server.url}/post", content=BODY)
    assert client.get(f"{server.url}/next").content == answer_to("/next")
    assert _processed(server) == [("POST", "/post", BODY), ("GET", "/next", b"")]


@OURS_ALONE
def test_a_goaway_in_two_steps_loses_no_request(make_client: MakeClient, serve: Serve) -> None:
    """As nginx, Envoy and Go shut down: first the endless id, then the last one that is served. httpx's transport fails
    what was not answered before the first."""
    seen = Seen()

    async def script(connection: Connection) -> None:
        peer = await Http2Peer.begin(connection, {Setting.MAX_CONCURRENT_STREAMS: 100})
        if connection.number == 1:
            await peer.respond(await peer.request(), b"warm")
            requests = [seen.note(connection, await peer.request()) for _ in range(10)]
            await peer.send(goaway(ENDLESS))
            served = requests[:6]
            await peer.send(goaway(max(request.stream for request in served)))
            for request in reversed(served):
                peer.processed(request)
                await peer.respond(request, answer_to(request.path, bytes(request.body)))
            await peer.client_closed()
        while True:
            request = seen.note(connection, await peer.request())
            peer.processed(request)
            await peer.respond(request, answer_to(request.path, bytes(request.body)))

    server = serve(script)
    client = _client(make_client, server, warm=True)
    paths = [f"/post/{number}" for number in range(10)]
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda path: client.post(server.url + path, content=path.encode()).content, paths))
    assert answers == [answer_to(path, path.encode()) for path in paths]
    assert sorted(_processed(server)) == [("POST", path, path.encode()) for path in sorted(paths)]
    assert [connection for connection, *_ in seen.requests].count(1) == 10


@OURS_ALONE
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_refused_stream_is_sent_again(make_client: MakeClient, serve: Serve, method: str) -> None:
    """httpx's transport fails with a RemoteProtocolError."""
    seen = Seen()

    async def refuse(peer: Http2Peer, request: Http2Request) -> None:
        await peer.send(rst_stream(request.stream, Code.REFUSED_STREAM))
        while True:  # the second attempt may come here
            again = seen.note(peer._connection, await peer.request())
            peer.processed(again)
            await peer.respond(again, answer_to(again.path, bytes(again.body)))

    server = serve(_first_connection(seen, refuse, warm=True))
    client = _client(make_client, server, warm=True)
    content = BODY if method == "POST" else b""
    answer = client.request(method, f"{server.url}/path", content=content).content
    assert answer == answer_to("/path", content)
    assert _processed(server) == [(method, "/path", content)]
    assert len(seen.requests) == 2


@OURS_ALONE
def test_a_stream_that_is_always_refused_fails_in_the_end(make_client: MakeClient, serve: Serve) -> None:
    """httpx's transport does not try again."""
    seen = Seen()

    async def script(connection: Connection) -> None:
        peer = await Http2Peer.begin(connection)
        while True:
            request = seen.note(connection, await peer.request())
            if request.path == "/next":
                await peer.respond(request, b"next")
            else:
                await peer.send(rst_stream(request.stream, Code.REFUSED_STREAM))

    server = serve(script)
    client = _client(make_client, server, warm=False)
    with pytest.raises(httpx.TransportError):
        client.post(f"{server.url}/post", content=BODY)
    assert 1 <= len(seen.requests) <= 20
    assert client.get(f"{server.url}/next").text == "next"


@pytest.mark.parametrize("code", [Code.CANCEL, Code.INTERNAL_ERROR, Code.NO_ERROR], ids=lambda code: code.name)
def test_a_post_whose_stream_was_reset_is_not_sent_again(make_client: MakeClient, serve: Serve, code: Code) -> None:
    seen = Seen()

    async def reset(peer: Http2Peer, request: Http2Request) -> None:
        peer.processed(request)
        await peer.send(rst_stream(request.stream, code))
        await peer.serve()

    server = serve(_first_connection(seen, reset, warm=True))
    client = _client(make_client, server, warm=True)
    with pytest.raises(FAILED):
        client.post(f"{server.url}/post", content=BODY)
    assert client.get(f"{server.url}/next").content == answer_to("/next")
    assert _processed(server) == [("POST", "/post", BODY), ("GET", "/next", b"")]
    assert server.connections == 1


def test_an_iterator_that_was_used_up_is_not_sent_again_in_part(make_client: MakeClient, serve: Serve) -> None:
    """A body that cannot be made a second time is sent whole, or not at all."""
    seen = Seen()

    def once() -> Iterator[bytes]:
        yield b"first half, "
        yield b"second half"

    async def refuse(peer: Http2Peer, request: Http2Request) -> None:
        await peer.send(rst_stream(request.stream, Code.REFUSED_STREAM))
        await peer.serve()

    server = serve(_first_connection(seen, refuse, warm=True))
    client = _client(make_client, server, warm=True)
    with pytest.raises((*FAILED, httpx.WriteError, httpx.StreamConsumed)):
        client.post(f"{server.url}/post", content=once())
    assert client.get(f"{server.url}/next").content == answer_to("/next")
    assert _processed(server) == [("GET", "/next", b"")]


@OURS_ALONE
def test_a_goaway_to_an_idle_connection_costs_no_request(make_client: MakeClient, serve: Serve) -> None:
    """httpx's transport learns of it by its next request, which may fail."""
    seen = Seen()

    async def script(connection: Connection) -> None:
        peer = await Http2Peer.begin(connection)
        request = seen.note(connection, await peer.request())
        peer.processed(request)
        await peer.respond(request, answer_to(request.path, bytes(request.body)))
        if connection.number == 1:
            await peer.send(goaway(request.stream))
            return
        await peer.serve()

    server = serve(script)
    client = _client(make_client, server, warm=False)
    assert client.get(f"{server.url}/first").content == answer_to("/first")
    server.wait_until(lambda counts: counts.open == 0, "the end of its own first connection")
    assert client.post(f"{server.url}/post", content=BODY).content == answer_to("/post", BODY)
    assert _processed(server) == [("GET", "/first", b""), ("POST", "/post", BODY)]
