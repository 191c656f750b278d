"""A kept connection that turns out to be dead, under litellm's handlers: what is sent again is the same request, and
its response is whole.

litellm itself sends any request again after the errors by which stock httpx and aiohttp report that a kept connection
ended, a POST that the server read included. Ours sends again only what may be, and raises `ReadError` else, which
litellm hands on.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from peers.scripted import Connection, ScriptedServer, server_context

Serve = Callable[..., ScriptedServer]
#: Makes any request one that may be sent again.
ONCE = {"Idempotency-Key": "the first"}
FRAMES = [f"data: frame-{number}\n\n".encode() for number in range(6)]


def dropping(drop: str, answer: Callable[[Connection], Any]) -> Callable[[Connection], Any]:
    """A script that answers the first request of each connection, reads the second, and drops the connection."""

    async def script(connection: Connection) -> None:
        await connection.request()
        await answer(connection)
        await connection.request()
        if drop == "reset":
            connection.reset()
        else:
            connection.hang_up()

    return script


async def ok(connection: Connection) -> None:
    await connection.respond(b"ok")


@pytest.fixture(params=["end", "reset"])
def drop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Handler:
    """A handler of litellm with one kept connection, and how often it handed a request to httpx."""

    def __init__(self, litellm: Any, mode: Any, url: str, **keywords: Any) -> None:
        self.sent: list[str] = []
        self._mode = mode
        self._handler = mode.handler(litellm, **keywords)
        self._handler.client.event_hooks["request"].append(self._record if mode.is_async else self._note)
        self._url = url
        assert self.send("post", data=b"{}").status_code == 200

    def send(self, method: str, **keywords: Any) -> Any:
        return self._mode.do(getattr(self._handler, method)(self._url, **keywords))

    def read(self, response: Any) -> bytes:
        async def whole() -> bytes:
            return b"".join([piece async for piece in response.aiter_bytes()])

        return bytes(self._mode.run(whole())) if self._mode.is_async else b"".join(response.iter_bytes())

    def body(self, data: bytes) -> Any:
        """A streamed one, which can be read once."""

        def pieces() -> Iterator[bytes]:
            yield data

        async def apieces() -> AsyncIterator[bytes]:
            yield data

        return apieces() if self._mode.is_async else pieces()

    def close(self) -> None:
        self._mode.do(self._handler.close())

    def _note(self, request: httpx.Request) -> None:
        self.sent.append(request.method)

    async def _record(self, request: httpx.Request) -> None:
        self._note(request)


@pytest.fixture
def handler(accelerated: Any, mode: Any) -> Iterator[Callable[..., Handler]]:
    """handler(url, ...) -> a `Handler`, closed after the test."""
    made: list[Handler] = []

    def make(url: str, **keywords: Any) -> Handler:
        made.append(Handler(accelerated, mode, url, **keywords))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("method", ["put", "delete"])
def test_a_method_that_may_be_sent_again_is_sent_again_unchanged(
    method: str, drop: str, serve: Serve, handler: Any
) -> None:
    server = serve(dropping(drop, ok))
    client = handler(f"{server.url}/things?key=1")
    assert client.send(method, data=b'{"n": 1}').status_code == 200
    assert len(server.requests) == 3
    dropped, again = server.requests[-2:]
    assert again.raw_head == dropped.raw_head
    assert again.method == method.upper()
    assert again.body == dropped.body == b'{"n": 1}'
    assert client.sent == ["POST", method.upper()]  # the pool did it, below httpx


@pytest.mark.parametrize("method", ["post", "patch"])
def test_a_post_that_the_server_read_is_sent_once(method: str, drop: str, serve: Serve, handler: Any) -> None:
    server = serve(dropping(drop, ok))
    client = handler(server.url)
    with pytest.raises(httpx.ReadError):
        client.send(method, data=b'{"n": 1}')
    assert len(server.requests) == len(client.sent) == 2


def test_a_post_with_an_idempotency_key_is_sent_again_unchanged(drop: str, serve: Serve, handler: Any) -> None:
    payload = b'{"prompt": "' + b"x" * 256 + b'"}'
    server = serve(dropping(drop, ok))
    client = handler(server.url)
    assert client.send("post", content=payload, headers=ONCE).status_code == 200
    assert [request.body for request in server.requests] == [b"{}", payload, payload]


def test_the_streamed_response_to_what_was_sent_again_is_readable_to_its_end(
    drop: str, serve: Serve, handler: Any
) -> None:
    async def frames(connection: Connection) -> None:
        await connection.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for frame in FRAMES:
            await connection.send(b"%x\r\n%b\r\n" % (len(frame), frame))
        await connection.send(b"0\r\n\r\n")

    server = serve(dropping(drop, frames))
    client = handler(server.url)
    response = client.send("post", data=b"{}", headers=ONCE, stream=True)
    assert client.read(response) == b"".join(FRAMES)
    assert len(server.requests) == 3


def test_a_body_that_can_be_read_once_is_not_sent_again_as_nothing(drop: str, serve: Serve, handler: Any) -> None:
    server = serve(dropping(drop, ok))
    client = handler(server.url)
    with pytest.raises(httpx.NetworkError):
        client.send("post", content=client.body(b'{"prompt": "sent once"}'), headers=ONCE)
    assert [request.body for request in server.requests] == [b"{}", b'{"prompt": "sent once"}']


def test_an_upload_that_is_sent_again_has_its_file(drop: str, serve: Serve, handler: Any) -> None:
    server = serve(dropping(drop, ok))
    client = handler(server.url)
    sound = b"RIFF" + b"\0" * 2048
    with pytest.raises(httpx.ReadError):
        client.send("post", files={"file": ("audio.wav", sound, "audio/wav")})
    assert sound in server.requests[-1].body
    assert len(server.requests) == 2


def test_an_upload_that_may_be_sent_again_is_never_sent_without_its_file(drop: str, serve: Serve, handler: Any) -> None:
    """httpx gives an upload as a stream, of which a part went out: whether it can be sent again or not, no request
    comes without the file."""
    sound = b"RIFF" + b"\0" * 2048

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: Any) -> int:
            raise io.UnsupportedOperation("seek")

    server = serve(dropping(drop, ok))
    client = handler(server.url)
    for file in (sound, Pipe(sound)):
        try:
            client.send("post", files={"file": ("audio.wav", file, "audio/wav")}, headers=ONCE)
        except httpx.NetworkError:
            pass
    assert all(sound in request.body for request in server.requests if b"audio.wav" in request.body)


def test_an_error_of_what_was_sent_again_shows_no_key(drop: str, serve: Serve, handler: Any) -> None:
    secret = "sk-not-a-real-key-0123456789"

    async def answer(connection: Connection) -> None:
        await connection.respond(b"no", "200 OK" if connection.number == 1 else "401 Unauthorized")

    server = serve(dropping(drop, answer))
    client = handler(f"{server.url}/x?key={secret}")
    with pytest.raises(httpx.HTTPStatusError) as raised:
        client.send("post", data=b"{}", headers=ONCE)
    assert "key=[REDACTED_API_KEY]" in str(raised.value)
    assert secret not in str(raised.value)
    assert len(server.requests) == 3


def test_what_is_sent_again_keeps_the_handlers_tls(drop: str, serve: Serve, handler: Any, certificates: Any) -> None:
    server = serve(dropping(drop, ok), tls=server_context(certificates.server))
    client = handler(server.url, ssl_verify=False)
    assert client.send("put", data=b"{}").status_code == 200
    assert len(server.requests) == 3
