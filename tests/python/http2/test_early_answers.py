"""Answers that come while the request's body is still being sent: an error ends the upload, a success does not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from peers.http2_scripted import (
    FIRST_WINDOW,
    ClientLeft,
    Code,
    Http2Peer,
    Http2Request,
    answer_to,
    data,
    headers,
    rst_stream,
    window_update,
)
from peers.scripted import Connection, Gate, ScriptedServer
from support.http2 import OURS_ALONE

MakeClient = Callable[..., httpx.Client]
Serve = Callable[..., ScriptedServer]

PIECE = b"x" * 65_536
PIECES = 64


class _Body:
    """An iterator that counts what was asked of it."""

    def __init__(self) -> None:
        self.made = 0

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(PIECES):
            self.made += 1
            yield PIECE


class _Answering:
    """A script: once the first window of /upload is full, `answer` sends what follows. Serves all others."""

    def __init__(self, answer: Callable[[Http2Peer, Http2Request], Any]) -> None:
        self._answer = answer
        self.peer: Http2Peer | None = None
        self.ended = threading.Event()

    async def __call__(self, connection: Connection) -> None:
        self.peer = await Http2Peer.begin(connection, credit=False)
        upload = await self.peer.head()
        while len(upload.body) < FIRST_WINDOW:
            await self.peer.frame()
        await self.peer.send(window_update(0, 2**30))  # the stream alone is short of room
        await self._answer(self.peer, upload)
        try:
            await self.peer.serve()
        except ClientLeft:
            self.ended.set()

    def upload(self) -> Http2Request:
        """How the upload ended, once the client has closed the connection."""
        assert self.ended.wait(60)
        assert self.peer is not None
        return self.peer.streams[1]


def _too_large(stream: int, *, body: bytes = b"too much") -> bytes:
    return headers(stream, (":status", "413")) + data(stream, body, end=True)


@OURS_ALONE
@pytest.mark.parametrize("how", ["bytes", "iterator"])
@pytest.mark.parametrize("code", [None, Code.NO_ERROR, Code.CANCEL], ids=["no reset", "NO_ERROR", "CANCEL"])
def test_an_error_ends_the_upload_and_is_the_response(
    make_client: MakeClient, serve: Serve, code: Code | None, how: str
) -> None:
    """RFC 9113 section 8.1: RST_STREAM(NO_ERROR) behind a complete response asks for no more of the request. httpx's
    transport waits for credit, until its read timeout."""

    async def answer(peer: Http2Peer, upload: Http2Request) -> None:
        await peer.send(_too_large(upload.stream), b"" if code is None else rst_stream(upload.stream, code))

    script, body = _Answering(answer), _Body()
    client, server = make_client(http1=False), serve(script)
    content: Any = PIECE * PIECES if how == "bytes" else body
    response = client.post(f"{server.url}/upload", content=content)
    assert (response.status_code, response.text) == (413, "too much")
    following = client.get(f"{server.url}/next")
    assert (following.content, following.extensions["stream_id"]) == (answer_to("/next"), 3)
    assert body.made < PIECES
    client.close()
    upload = script.upload()
    assert (len(upload.body), upload.complete) == (FIRST_WINDOW, False), "the upload went on behind the answer"
    assert script.peer is not None
    assert script.peer.resets.keys() == ({1} if code is None else set()), "who ends a stream says so once"
    assert server.connections == 1


@OURS_ALONE
def test_the_body_of_an_error_is_read_behind_the_end_of_the_upload(make_client: MakeClient, serve: Serve) -> None:
    """It comes in pieces, the last of them after the client has stopped its upload."""
    head_read = Gate()

    async def answer(peer: Http2Peer, upload: Http2Request) -> None:
        await peer.send(headers(upload.stream, (":status", "413")), data(upload.stream, b"too "))
        await head_read.passed()
        await peer.send(data(upload.stream, b"much", end=True), rst_stream(upload.stream, Code.NO_ERROR))

    script = _Answering(answer)
    client, server = make_client(http1=False), serve(script)
    with client.stream("POST", f"{server.url}/upload", content=PIECE * PIECES) as response:
        assert response.status_code == 413
        head_read.open()
        assert response.read() == b"too much"
    assert client.get(f"{server.url}/next").content == answer_to("/next")


@OURS_ALONE
def test_an_error_whose_body_does_not_end_is_no_response(make_client: MakeClient, serve: Serve) -> None:
    """A reset that comes before END_STREAM cuts the body short, whatever its code."""

    async def answer(peer: Http2Peer, upload: Http2Request) -> None:
        half = headers(upload.stream, (":status", "413")) + data(upload.stream, b"too ")
        await peer.send(half, rst_stream(upload.stream, Code.NO_ERROR))

    client, server = make_client(http1=False), serve(_Answering(answer))
    with pytest.raises(httpx.RemoteProtocolError):
        client.post(f"{server.url}/upload", content=PIECE * PIECES)
    assert client.get(f"{server.url}/next").content == answer_to("/next")


@OURS_ALONE
def test_a_success_without_the_whole_body_is_the_response(make_client: MakeClient, serve: Serve) -> None:
    """The server has seen enough, and resets the rest of the request. httpx's transport waits for credit."""

    async def answer(peer: Http2Peer, upload: Http2Request) -> None:
        complete = headers(upload.stream, (":status", "200")) + data(upload.stream, b"seen enough", end=True)
        await peer.send(complete, rst_stream(upload.stream, Code.NO_ERROR))

    client, server = make_client(http1=False), serve(_Answering(answer))
    assert client.post(f"{server.url}/upload", content=PIECE * PIECES).text == "seen enough"
    assert client.get(f"{server.url}/next").content == answer_to("/next")


@pytest.mark.parametrize("how", ["bytes", "iterator"])
def test_an_upload_goes_on_behind_the_head_of_a_success(make_client: MakeClient, serve: Serve, how: str) -> None:
    async def answer(peer: Http2Peer, upload: Http2Request) -> None:
        await peer.send(headers(upload.stream, (":status", "200")), data(upload.stream, b"begun, "))
        await peer.send(window_update(upload.stream, 2**24))
        await peer.rest_of(upload)
        await peer.send(data(upload.stream, f"got {len(upload.body)}".encode(), end=True))

    body = _Body()
    client, server = make_client(http1=False), serve(_Answering(answer))
    content: Any = PIECE * PIECES if how == "bytes" else body
    response = client.post(f"{server.url}/upload", content=content)
    assert (response.status_code, response.text) == (200, f"begun, got {PIECES * len(PIECE)}")
    assert body.made == (PIECES if how == "iterator" else 0)
    assert client.get(f"{server.url}/next").content == answer_to("/next")
    assert server.connections == 1
