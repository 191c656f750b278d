"""Uploads that an HTTP/2 server gives no room for: each ends by its own timeouts, and no other stream with it.

httpx's transport is not asked: there, a body that waits for credit holds back the other requests of its connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from peers.http2_scripted import (
    FIRST_WINDOW,
    ClientLeft,
    Code,
    Http2Peer,
    Http2Request,
    Setting,
    answer_to,
    data,
    headers,
    window_update,
)
from peers.scripted import Connection, Gate, ScriptedServer, until
from support.http2 import OURS_ALONE

MakeClient = Callable[..., httpx.Client]
Serve = Callable[..., ScriptedServer]

pytestmark = OURS_ALONE

BODY = b"x" * 1_000_000
SHORT = 0.1  # seconds


class _Stalling:
    """A script: gives no room but `more`, answers no upload before it has all of it, and begins the response to /slow,
    which /finish ends. Gives room for whole uploads from `room` on. Serves others."""

    def __init__(self, *, most_streams: int = 100, more: bytes = b"") -> None:
        self._most_streams = most_streams
        self._more = more
        self.room = Gate()
        self.begun: set[str] = set()
        self.resets: dict[str, int] = {}
        self.uploaded: dict[str, int] = {}

    async def __call__(self, connection: Connection) -> None:
        most: dict[int, int] = {Setting.MAX_CONCURRENT_STREAMS: self._most_streams}
        peer = await Http2Peer.begin(connection, most, credit=False, more=self._more)
        giving = asyncio.create_task(self._give_room(peer))
        slow: Http2Request | None = None
        answered: set[int] = set()
        try:
            while True:
                await peer.frame()
                self.begun = {request.path for request in peer.streams.values()}
                for request in list(peer.streams.values()):
                    if request.stream in answered or not (request.complete or request.path == "/slow"):
                        continue
                    answered.add(request.stream)
                    if request.path == "/slow":
                        slow = request
                        await peer.send(headers(request.stream, (":status", "200")), data(request.stream, b"half"))
                        continue
                    if request.path == "/finish":
                        assert slow is not None
                        await peer.send(data(slow.stream, b"half", end=True))
                    peer.processed(request)
                    await peer.respond(request, answer_to(request.path, str(len(request.body)).encode()))
        except ClientLeft:
            giving.cancel()
            self.resets = {peer.streams[stream].path: code for stream, code in peer.resets.items()}
            self.uploaded = {request.path: len(request.body) for request in peer.streams.values() if request.body}

    async def _give_room(self, peer: Http2Peer) -> None:
        await self.room.passed()
        for stream in (0, *peer.streams):
            await peer.send(window_update(stream, 2**24))


def _only(**timeouts: float) -> httpx.Timeout:
    """These timeouts, and for the rest what only a failing test takes."""
    return httpx.Timeout(20, **timeouts)


@pytest.mark.parametrize(
    "more", [b"", window_update(0, 2**30)], ids=["the connection has no room", "the stream has no room"]
)
def test_a_stalled_upload_times_out_alone(make_client: MakeClient, serve: Serve, more: bytes) -> None:
    script = _Stalling(more=more)
    client, server = make_client(http1=False), serve(script)
    with client.stream("GET", f"{server.url}/slow") as slow:
        pieces = slow.iter_raw()
        assert next(pieces) == b"half"
        with pytest.raises(httpx.WriteTimeout) as raised:
            client.post(f"{server.url}/stalled", content=BODY, timeout=_only(write=SHORT))
        assert raised.value.request.url.path == "/stalled"
        assert raised.value.phase == "write"  # type: ignore[attr-defined]
        assert client.get(f"{server.url}/finish").content == answer_to("/finish", b"0")
        assert b"".join(pieces) == b"half"
    client.close()
    server.wait_until(lambda counts: counts.open == 0, "the client close")
    assert script.resets == {"/stalled": Code.CANCEL}
    assert script.uploaded == {"/stalled": FIRST_WINDOW}
    assert server.connections == 1


def test_an_upload_with_patience_outlasts_those_without(make_client: MakeClient, serve: Serve) -> None:
    """They wait for room on the same connection."""
    script = _Stalling()
    client, server = make_client(http1=False), serve(script)
    assert client.get(f"{server.url}/warm").status_code == 200
    with ThreadPoolExecutor(1) as thread:
        patient = thread.submit(client.post, f"{server.url}/patient", content=BODY)
        until(lambda: "/patient" in script.begun)
        for number in range(2):
            with pytest.raises(httpx.WriteTimeout):
                client.post(f"{server.url}/stalled/{number}", content=BODY, timeout=_only(write=SHORT))
        assert client.get(f"{server.url}/next").status_code == 200
        script.room.open()
        assert patient.result(60).content == answer_to("/patient", str(len(BODY)).encode())
    client.close()
    server.wait_until(lambda counts: counts.open == 0, "the client close")
    assert script.resets == {"/stalled/0": Code.CANCEL, "/stalled/1": Code.CANCEL}
    assert server.connections == 1


def test_the_wait_for_a_stream_that_a_stalled_upload_has_is_a_pool_timeout(
    make_client: MakeClient, serve: Serve
) -> None:
    script = _Stalling(most_streams=1)
    client, server = make_client(http1=False, limits=httpx.Limits(max_connections=1)), serve(script)
    assert client.get(f"{server.url}/warm").status_code == 200
    with pytest.raises(httpx.WriteTimeout):
        client.post(f"{server.url}/stalled", content=BODY, timeout=_only(write=SHORT))
    assert client.get(f"{server.url}/next").status_code == 200, "the stream of the upload was not given back"
    with ThreadPoolExecutor(2) as threads:
        upload = threads.submit(client.post, f"{server.url}/patient", content=BODY)
        until(lambda: "/patient" in script.begun)
        with pytest.raises(httpx.PoolTimeout):
            client.get(f"{server.url}/early", timeout=_only(pool=SHORT))
        late = threads.submit(client.get, f"{server.url}/late")
        script.room.open()
        assert upload.result(60).content == answer_to("/patient", str(len(BODY)).encode())
        assert late.result(60).content == answer_to("/late", b"0")
    assert [request.target for request in server.requests] == ["/warm", "/next", "/patient", "/late"]
    assert server.connections == 1
