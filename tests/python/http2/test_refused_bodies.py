"""Bodies of requests that an HTTP/2 server refuses (REFUSED_STREAM, GOAWAY) before or after it has read a part of them:
bytes are sent again whole, and what may be made only once is not sent again, in whole or in part."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from peers.http2_scripted import Code, Http2Peer, Http2Request, answer_to, goaway, rst_stream
from peers.scripted import Connection, ScriptedServer
from support.http2 import OURS_ALONE

MakeClient = Callable[..., httpx.Client]
Serve = Callable[..., ScriptedServer]

PIECES = [b"first half, ", b"second half"]
WHOLE = b"".join(PIECES)

REFUSALS: dict[str, Callable[[Http2Request], bytes]] = {
    "REFUSED_STREAM": lambda request: rst_stream(request.stream, Code.REFUSED_STREAM),
    "GOAWAY": lambda request: goaway(request.stream - 2),
}


class _Refusing:
    """A script: answers /warm, refuses the next request of the first connection, and serves what follows. `attempts`:
    the bodies of the requests to /upload as far as they came."""

    def __init__(self, refusal: Callable[[Http2Request], bytes], *, after: int) -> None:
        self._refusal = refusal
        self._after = after
        self.attempts: list[bytes] = []

    async def __call__(self, connection: Connection) -> None:
        peer = await Http2Peer.begin(connection)
        if connection.number == 1:
            await peer.respond(await peer.request(), b"warm")
            refused = await peer.head()
            while len(refused.body) < self._after:
                await peer.frame()
            self.attempts.append(bytes(refused.body))
            await peer.send(self._refusal(refused))
        while True:
            request = await peer.request()
            peer.processed(request)
            if request.path == "/upload":
                self.attempts.append(bytes(request.body))
            await peer.respond(request, answer_to(request.path, bytes(request.body)))


def _generator() -> Iterator[bytes]:
    yield from PIECES


#: Bodies that httpx gives piece by piece. Only a generator tells that it was used up: the others would be made a second
#: time without what is missing.
ONCE: dict[str, Callable[[], Any]] = {
    "generator": _generator,
    "iterator": lambda: iter(PIECES),
    "file": lambda: io.BytesIO(WHOLE),
}


@pytest.mark.parametrize("body", ONCE.values(), ids=ONCE.keys())
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
def test_a_body_that_is_made_once_is_not_sent_again(
    make_client: MakeClient,
    serve: Serve,
    engine: str,
    refusal: Callable[[Http2Request], bytes],
    body: Callable[[], Any],
) -> None:
    if engine == "stock" and refusal is REFUSALS["GOAWAY"]:
        pytest.skip("case: httpx's transport sends what is left of the iterator, or fails in h2")
    script = _Refusing(refusal, after=len(PIECES[0]))
    client, server = make_client(http1=False), serve(script)
    assert client.get(f"{server.url}/warm").text == "warm"
    with pytest.raises(httpx.RemoteProtocolError) as raised:
        client.post(f"{server.url}/upload", content=body())
    if engine == "ours":
        assert "REFUSED_STREAM" in str(raised.value) or "GOAWAY" in str(raised.value)
    assert client.get(f"{server.url}/next").content == answer_to("/next")
    assert len(script.attempts) == 1
    assert [request.target for request in server.requests] == ["/next"]


#: Bodies that are in memory.
AGAIN: dict[str, dict[str, Any]] = {
    "bytes": {"content": WHOLE},
    "JSON": {"json": {"a": 1}},
    "form": {"data": {"a": "1"}},
}


@OURS_ALONE
@pytest.mark.parametrize("body", AGAIN.values(), ids=AGAIN.keys())
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
def test_a_body_in_memory_is_sent_again_whole(
    make_client: MakeClient,
    serve: Serve,
    refusal: Callable[[Http2Request], bytes],
    body: dict[str, Any],
) -> None:
    """httpx's transport fails, or sends it again, as the frames happen to come."""
    script = _Refusing(refusal, after=0)
    client, server = make_client(http1=False), serve(script)
    assert client.get(f"{server.url}/warm").text == "warm"
    sent = httpx.Request("POST", server.url, **body).content
    assert client.post(f"{server.url}/upload", **body).content == answer_to("/upload", sent)
    assert script.attempts[1:] == [sent]
    assert [request.body for request in server.requests] == [sent]
