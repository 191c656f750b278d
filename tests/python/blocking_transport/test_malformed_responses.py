"""Servers that violate HTTP, stop halfway, or send more than one response."""

from __future__ import annotations

import threading
from collections.abc import Callable

import httpx
import pytest

from peers.scripted import Connection, Gate, Script, ScriptedServer
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]

OK = b"HTTP/1.1 200 OK\r\n"

MALFORMED = {
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "no such version": b"HTTP/3.7 200 OK\r\n\r\n",
    "status is no number": b"HTTP/1.1 abc OK\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a header without a colon": OK + b"no colon\r\n\r\n",
    "a space before the colon": OK + b"content-length : 3\r\n\r\nabc",
    "an empty header name": OK + b": value\r\n\r\n",
    "NUL in a header": OK + b"x: a\x00b\r\ncontent-length: 0\r\n\r\n",
    "bare CR in a header": OK + b"x: a\rb\r\ncontent-length: 0\r\n\r\n",
    "two different content-lengths": OK + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    "content-length as a list": OK + b"content-length: 3, 4\r\n\r\nabcd",
    "a negative content-length": OK + b"content-length: -3\r\n\r\nabc",
    "a content-length with a sign": OK + b"content-length: +3\r\n\r\nabc",
    "a content-length beyond 64 bits": OK + b"content-length: 99999999999999999999\r\n\r\nabc",
    "two different content-lengths with transfer-encoding": OK
    + b"content-length: 3\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "another transfer-encoding with content-length": OK
    + b"transfer-encoding: gzip, chunked\r\ncontent-length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "a chunk extension of garbage": OK + b"transfer-encoding: chunked\r\n\r\n3;,;\r\nabc\r\n0\r\n\r\n",
    "a chunk size line that ends in LF": OK + b"transfer-encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
    "a chunk size that is no number": OK + b"transfer-encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n",
    "a negative chunk size": OK + b"transfer-encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n",
    "a chunk size beyond 64 bits": OK + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "a chunk longer than its size": OK + b"transfer-encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
    "headers over 256 KiB": OK + b"x: " + b"a" * (300 * 1024) + b"\r\n\r\n",
    "endless headers": OK + b"x: y\r\n" * 60_000 + b"\r\n",
}

#: In order HTTP, but the connection ends before the response does.
TRUNCATED = {
    "nothing at all": b"",
    "half a status line": b"HTTP/1.1 20",
    "half the headers": OK + b"content-le",
    "no body": OK + b"content-length: 10\r\n\r\n",
    "half a body": OK + b"content-length: 10\r\n\r\nhalf",
    "half a chunk": OK + b"transfer-encoding: chunked\r\n\r\nA\r\nhalf",
    "no last chunk": OK + b"transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "no end of the trailers": OK + b"transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
    "only an interim response": b"HTTP/1.1 100 Continue\r\n\r\n",
}


def _answering_once(answer: bytes) -> Script:
    """Answers the first connection with these bytes, and every other one correctly."""

    async def script(connection: Connection) -> None:
        await connection.request()
        if connection.number > 1:
            await connection.respond(b"well")
        else:
            await connection.send(answer)
            await connection.client_closed()

    return script


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_response_is_refused_and_its_connection_closed(
    client: httpx.Client, serve: Serve, answer: bytes
) -> None:
    server = serve(_answering_once(answer))
    with pytest.raises(httpx.RemoteProtocolError) as caught:
        client.post(server.url, content=b"paid for")
    assert str(caught.value)
    assert caught.value.request.method == "POST"
    server.wait_until(lambda counts: counts.open == 0, "the client close")
    assert client.get(server.url).text == "well"
    assert [request.method for request in server.requests] == ["POST", "GET"], "a POST was sent twice"


@pytest.mark.parametrize("answer", TRUNCATED.values(), ids=TRUNCATED.keys())
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_an_early_end_is_a_read_error_and_a_post_is_not_sent_again(
    client: httpx.Client, serve: Serve, certificates: Certificates, answer: bytes, tls: bool
) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(answer)

    server = serve(script, tls=certificates.server if tls else None)
    with pytest.raises(httpx.ReadError) as caught:
        client.post(server.url, content=b"paid for")
    assert caught.value.bytes_sent > 0  # type: ignore[attr-defined]
    assert len(server.requests) == 1


def test_a_reset_in_the_middle_is_a_read_error(client: httpx.Client, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(OK + b"content-length: 10\r\n\r\nhalf")
        connection.reset()

    with pytest.raises(httpx.ReadError) as caught:
        client.get(serve(script).url)
    assert isinstance(caught.value.__cause__, ConnectionResetError)


SMUGGLED = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nsmuggled"
BEFORE = {
    "content-length": OK + b"content-length: 2\r\n\r\nok",
    "chunked": OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "304": b"HTTP/1.1 304 Not Modified\r\ncontent-length: 8\r\n\r\n",
}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("when", ["in the same write", "while idle"])
@pytest.mark.parametrize("before", [*BEFORE, "HEAD"])
def test_bytes_after_a_response_never_reach_the_next_request(
    client: httpx.Client, serve: Serve, certificates: Certificates, before: str, when: str, tls: bool
) -> None:
    smuggle, smuggled = Gate(), threading.Event()

    async def script(connection: Connection) -> None:
        if connection.number > 1:
            await connection.request()
            await connection.respond(b"mine")
            return
        await connection.request()
        answer = BEFORE.get(before, OK + b"content-length: 8\r\n\r\n")
        if when == "in the same write":
            await connection.send(answer + SMUGGLED)
        else:
            await connection.send(answer)
            await smuggle.passed()
            await connection.send(SMUGGLED)
        smuggled.set()
        await connection.client_closed()

    server = serve(script, tls=certificates.server if tls else None)
    client.request("HEAD" if before == "HEAD" else "GET", server.url)
    smuggle.open()
    assert smuggled.wait(20)
    assert client.post(server.url, content=b"next").text == "mine"
    assert server.connections == 2
