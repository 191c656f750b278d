"""Windows and limits of streams that an HTTP/2 server sets, changes under load, or never opens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from peers.http2_scripted import (
    FIRST_WINDOW,
    Http2Peer,
    Setting,
    answer_to,
    data,
    headers,
    settings,
    window_update,
)
from peers.scripted import Connection, Gate, ScriptedServer
from support.http2 import OURS_ALONE

MakeClient = Callable[..., httpx.Client]
Serve = Callable[..., ScriptedServer]

LARGE = 2**30
PIECE = b"x" * 65_536


@pytest.mark.parametrize("how", ["bytes", "iterator"])
@pytest.mark.parametrize("window", [0, 1000, None], ids=["none", "1000 bytes", "the first one"])
def test_a_body_that_gets_no_credit_is_a_write_timeout(
    make_client: MakeClient, serve: Serve, engine: str, window: int | None, how: str
) -> None:
    if engine == "stock" and window is not None:
        pytest.skip("case: httpx's transport takes a window below 0 for room")

    async def script(connection: Connection) -> None:
        first = {} if window is None else {Setting.INITIAL_WINDOW_SIZE: window}
        peer = await Http2Peer.begin(connection, first, credit=False)
        while True:
            request = await peer.head()
            if request.path == "/next":
                await peer.respond(request, b"next")

    client, server = make_client(http1=False), serve(script)
    # httpx's transport waits for credit in a read.
    limit = httpx.Timeout(20, write=0.2) if engine == "ours" else httpx.Timeout(20, read=0.2)
    content = PIECE * 16 if how == "bytes" else iter([PIECE] * 16)
    with pytest.raises(httpx.WriteTimeout if engine == "ours" else httpx.ReadTimeout):
        client.post(f"{server.url}/large", content=content, timeout=limit)
    assert client.get(f"{server.url}/next").text == "next"


def test_an_iterator_is_asked_for_no_more_than_the_server_takes(
    make_client: MakeClient, serve: Serve, engine: str
) -> None:
    """And a body that waits for credit does not hold back others (it does over httpx's transport)."""
    full, go_on = threading.Event(), Gate()
    made = 0

    def body() -> Iterator[bytes]:
        nonlocal made
        for _ in range(128):
            made += len(PIECE)
            yield PIECE

    async def script(connection: Connection) -> None:
        peer = await Http2Peer.begin(connection, {Setting.MAX_CONCURRENT_STREAMS: 100}, credit=False)
        upload = await peer.head()
        while len(upload.body) < FIRST_WINDOW:
            await peer.frame()
        full.set()
        if engine == "ours":
            await peer.respond(await peer.request(), b"meanwhile")
        await go_on.passed()
        assert len(upload.body) == FIRST_WINDOW
        peer.credit = True
        await peer.send(window_update(0, FIRST_WINDOW), window_update(upload.stream, FIRST_WINDOW))
        await peer.rest_of(upload)
        await peer.respond(upload, str(len(upload.body)).encode())
        await peer.client_closed()

    client, server = make_client(http1=False), serve(script)
    with ThreadPoolExecutor(1) as thread:
        upload = thread.submit(client.post, f"{server.url}/upload", content=body())
        assert full.wait(60), "the server never got a window of the body"
        if engine == "ours":
            assert client.get(f"{server.url}/meanwhile").text == "meanwhile"
        assert made <= FIRST_WINDOW + 8 * len(PIECE)
        go_on.open()
        assert upload.result(60).text == str(128 * len(PIECE))


@OURS_ALONE
def test_windows_that_shrink_under_load_are_kept_to(make_client: MakeClient, serve: Serve) -> None:
    """The server takes back the window that it gave, which is then below 0. (httpx's transport takes that for room.)"""
    counted: list[int] = []

    async def script(connection: Connection) -> None:
        peer = await Http2Peer.begin(connection, {Setting.INITIAL_WINDOW_SIZE: 500_000}, credit=False)
        await peer.send(window_update(0, LARGE))
        upload = await peer.head()
        while len(upload.body) < 100_000:
            await peer.frame()
        await peer.send(settings({Setting.INITIAL_WINDOW_SIZE: 0}))
        while peer.settings_acks < 2:
            await peer.frame()
        before = len(upload.body)  # the client has seen that its window is below zero
        assert before <= 500_000
        await peer.send(window_update(upload.stream, before))  # now it is 0
        given = 0
        for step in (1, 1000, 100_000):
            await peer.send(window_update(upload.stream, step))
            given += step
            while len(upload.body) < before + given:
                await peer.frame()
                assert len(upload.body) <= before + given, "more than the window"
        counted.append(given)
        await peer.send(settings({Setting.INITIAL_WINDOW_SIZE: 2**24}))
        await peer.rest_of(upload)
        await peer.respond(upload, str(len(upload.body)).encode())
        await peer.client_closed()

    client, server = make_client(http1=False), serve(script)
    response = client.post(f"{server.url}/upload", content=iter([PIECE] * 64))
    assert response.text == str(64 * len(PIECE))
    assert counted == [101_001]


def _in_threads(client: httpx.Client, server: ScriptedServer, count: int) -> list[bytes]:
    """The answers to so many requests at once, each on its own path."""
    with ThreadPoolExecutor(count) as threads:
        sent = [threads.submit(client.post, f"{server.url}/{number}", content=b"body") for number in range(count)]
        return [each.result(60).content for each in sent]


@OURS_ALONE
def test_a_limit_of_streams_that_shrinks_under_load_is_kept_to(make_client: MakeClient, serve: Serve) -> None:
    """Over httpx's transport, threads race for stream ids."""
    most: list[int] = []

    async def script(connection: Connection) -> None:
        peer = await Http2Peer.begin(connection, {Setting.MAX_CONCURRENT_STREAMS: 10})
        await peer.respond(await peer.request(), b"warm")
        first = await peer.request()
        await peer.send(settings({Setting.MAX_CONCURRENT_STREAMS: 2}))
        while peer.settings_acks < 2:
            await peer.frame()
        answered = {1}
        early = set(peer.streams) - answered  # opened before the client knew
        request = first
        while True:
            await peer.rest_of(request)
            # Gives streams that are beyond the limit time to arrive: two round trips.
            for _ in range(2):
                await peer.round_trip()
            late = set(peer.streams) - answered - early
            most.append(len(late))
            answered.add(request.stream)
            await peer.respond(request, answer_to(request.path))
            request = await peer.head()

    server = serve(script)
    client = make_client(http1=False, limits=httpx.Limits(max_connections=1))
    assert client.get(f"{server.url}/warm").text == "warm"
    assert _in_threads(client, server, 20) == [answer_to(f"/{number}") for number in range(20)]
    assert 1 <= max(most) <= 2
    assert server.connections == 1


@OURS_ALONE
def test_a_limit_of_no_streams_holds_requests_back_until_it_is_raised(make_client: MakeClient, serve: Serve) -> None:
    """httpx's transport takes a limit of 0 for none, and h2 refuses the request."""
    raised = Gate()

    async def script(connection: Connection) -> None:
        peer = await Http2Peer.begin(connection, {Setting.MAX_CONCURRENT_STREAMS: 10})
        held = await peer.request()
        await peer.send(settings({Setting.MAX_CONCURRENT_STREAMS: 0}))
        while peer.settings_acks < 2:
            await peer.frame()
        await peer.send(headers(held.stream, (":status", "200")), data(held.stream, b"half"))
        await raised.passed()
        await peer.send(settings({Setting.MAX_CONCURRENT_STREAMS: 10}), data(held.stream, b"half", end=True))
        await peer.serve()

    server = serve(script)
    client = make_client(http1=False, limits=httpx.Limits(max_connections=1))
    with client.stream("GET", f"{server.url}/held") as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"half"
        with pytest.raises(httpx.PoolTimeout):
            client.get(f"{server.url}/early", timeout=httpx.Timeout(20, pool=0.1))
        with ThreadPoolExecutor(1) as thread:
            late = thread.submit(client.get, f"{server.url}/late")
            raised.open()
            assert b"".join(pieces) == b"half"
            assert late.result(60).content == answer_to("/late")
    assert [request.target for request in server.requests] == ["/late"]
    assert server.connections == 1


def test_padding_is_credited(make_client: MakeClient, serve: Serve) -> None:
    """Padding counts against windows: without credit for it, this response would stop."""
    frames = 8_000  # more than the window of a stream

    async def script(connection: Connection) -> None:
        peer = await Http2Peer.begin(connection)
        request = await peer.request()
        await peer.send(headers(request.stream, (":status", "200")))
        for number in range(frames):
            await peer.send_data(request, b"a", padding=255, end=number == frames - 1)
        await peer.serve()

    client, server = make_client(http1=False), serve(script)
    with client.stream("GET", f"{server.url}/padded") as response:
        assert sum(map(len, response.iter_raw())) == frames
    assert client.get(f"{server.url}/next").content == answer_to("/next")


def test_a_large_response_within_its_windows_is_complete(make_client: MakeClient, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        peer = await Http2Peer.begin(connection)
        request = await peer.request()
        await peer.send(headers(request.stream, (":status", "200")))
        for number in range(2000):
            await peer.send_data(request, bytes([number % 256]) * 16_384, end=number == 1999)
        await peer.serve()

    client, server = make_client(http1=False), serve(script)
    assert client.get(f"{server.url}/large").content == b"".join(bytes([n % 256]) * 16_384 for n in range(2000))
    assert client.get(f"{server.url}/next").content == answer_to("/next")
