"""What httpx makes of the frames of a response: its content ends with END_STREAM, however that comes, and is what the
content-length says, which binds no response without a body."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import httpx
import pytest

from peers.http2_scripted import Http2Peer, answer_to, data, headers
from peers.scripted import Connection, Script, ScriptedServer
from support.http2 import OURS_ALONE

MakeClient = Callable[..., httpx.Client]
Serve = Callable[..., ScriptedServer]
Frames = Callable[[int], bytes]

_OK = (":status", "200")
_TRAILER = ("x-trailer", "last")


def _answering(frames: Frames) -> Script:
    """Answers the first request with these frames, and serves the rest."""

    async def script(connection: Connection) -> None:
        peer = await Http2Peer.begin(connection)
        await peer.send(frames((await peer.request()).stream))
        await peer.serve()

    return script


def _length(value: int) -> tuple[str, str]:
    return ("content-length", str(value))


#: Responses with the content b"content".
ENDS: dict[str, Frames] = {
    "with the last data": lambda stream: headers(stream, _OK, _length(7)) + data(stream, b"content", end=True),
    "with empty data": lambda stream: (
        headers(stream, _OK, _length(7)) + data(stream, b"content") + data(stream, end=True)
    ),
    "with data in pieces": lambda stream: (
        headers(stream, _OK) + b"".join(data(stream, bytes([each])) for each in b"content") + data(stream, end=True)
    ),
    "with trailers": lambda stream: (
        headers(stream, _OK, _length(7)) + data(stream, b"content") + headers(stream, _TRAILER, end=True)
    ),
    "with trailers that repeat fields of the head": lambda stream: (
        headers(stream, _OK, ("x-field", "of the head"))
        + data(stream, b"content")
        + headers(stream, ("x-field", "of the trailers"), ("set-cookie", "late=1"), end=True)
    ),
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("frames", ENDS.values(), ids=ENDS.keys())
def test_the_content_ends_with_its_stream(
    make_client: MakeClient, serve: Serve, frames: Frames, streamed: bool
) -> None:
    """Trailers are dropped: they are neither headers nor cookies."""
    client, server = make_client(http1=False), serve(_answering(frames))
    if streamed:
        with client.stream("GET", server.url) as response:
            assert b"".join(response.iter_raw()) == b"content"
    else:
        response = client.get(server.url)
        assert response.content == b"content"
    assert response.headers.get("x-field", "of the head") == "of the head"
    assert "x-trailer" not in response.headers
    assert dict(client.cookies) == {}
    following = client.get(f"{server.url}/next")
    assert (following.content, following.extensions["stream_id"]) == (answer_to("/next"), 3)


#: Responses without content: the method of their request, and their frames.
EMPTY: dict[str, tuple[str, Frames]] = {
    "the head alone": ("GET", lambda stream: headers(stream, _OK, end=True)),
    "a head, and trailers": ("GET", lambda stream: headers(stream, _OK) + headers(stream, _TRAILER, end=True)),
    "a length of 0": ("GET", lambda stream: headers(stream, _OK, _length(0), end=True)),
    "a length of 0, and empty data": ("GET", lambda stream: headers(stream, _OK, _length(0)) + data(stream, end=True)),
    "HEAD, with a length": ("HEAD", lambda stream: headers(stream, _OK, _length(1000), end=True)),
    "304, with the length of what was not modified": (
        "GET",
        lambda stream: headers(stream, (":status", "304"), _length(1000), end=True),
    ),
    "304": ("GET", lambda stream: headers(stream, (":status", "304"), end=True)),
    "204": ("GET", lambda stream: headers(stream, (":status", "204"), end=True)),
}


@pytest.mark.parametrize(("method", "frames"), EMPTY.values(), ids=EMPTY.keys())
def test_a_response_may_have_no_content(make_client: MakeClient, serve: Serve, method: str, frames: Frames) -> None:
    client, server = make_client(http1=False), serve(_answering(frames))
    assert client.request(method, server.url).content == b""
    assert client.get(f"{server.url}/next").content == answer_to("/next")
    assert server.connections == 1


#: Bodies that are not as long as the content-length says.
LIES: dict[str, Frames] = {
    "shorter": lambda stream: headers(stream, _OK, _length(8)) + data(stream, b"content", end=True),
    "longer": lambda stream: headers(stream, _OK, _length(6)) + data(stream, b"content", end=True),
    "shorter, with trailers": lambda stream: (
        headers(stream, _OK, _length(8)) + data(stream, b"content") + headers(stream, _TRAILER, end=True)
    ),
    "none": lambda stream: headers(stream, _OK, _length(7), end=True),
    "longer than 0": lambda stream: headers(stream, _OK, _length(0)) + data(stream, b"content", end=True),
}


@pytest.mark.parametrize("frames", LIES.values(), ids=LIES.keys())
def test_a_body_of_another_length_than_it_says_is_an_error(
    make_client: MakeClient, serve: Serve, engine: str, frames: Frames
) -> None:
    if engine == "stock" and frames in (LIES["none"], LIES["shorter, with trailers"]):
        pytest.skip("case: the h2 package looks at the length in DATA alone")
    client, server = make_client(http1=False), serve(_answering(frames))
    # The h2 package says that it is the client's fault, and httpx's transport loses the connection.
    with pytest.raises(httpx.RemoteProtocolError if engine == "ours" else httpx.LocalProtocolError):
        client.get(server.url)
    if engine == "ours":
        assert client.get(f"{server.url}/next").extensions["stream_id"] == 3


@OURS_ALONE
@pytest.mark.parametrize("length", [6, 8], ids=["longer", "shorter"])
def test_what_came_before_the_lie_is_read(make_client: MakeClient, serve: Serve, length: int) -> None:
    async def script(connection: Connection) -> None:
        peer = await Http2Peer.begin(connection)
        request = await peer.request()
        await peer.send(headers(request.stream, _OK, _length(length)), data(request.stream, b"conte"))
        await peer.round_trip()
        await peer.send(data(request.stream, b"nt", end=True))
        await peer.serve()

    client, server = make_client(http1=False), serve(script)
    with client.stream("GET", server.url) as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"conte"
        with pytest.raises(httpx.RemoteProtocolError):
            b"".join(pieces)
    assert client.get(f"{server.url}/next").extensions["stream_id"] == 3


def test_a_coded_body_is_decoded_and_its_length_is_that_of_the_code(make_client: MakeClient, serve: Serve) -> None:
    coded = gzip.compress(b"content" * 100)
    client = make_client(http1=False)
    server = serve(
        _answering(
            lambda stream: (
                headers(stream, _OK, ("content-encoding", "gzip"), _length(len(coded))) + data(stream, coded, end=True)
            )
        )
    )
    response = client.get(server.url)
    assert (response.content, response.num_bytes_downloaded) == (b"content" * 100, len(coded))
