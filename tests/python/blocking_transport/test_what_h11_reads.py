"""Answers that break the letter of HTTP/1.1 and that httpx's own transport reads: they are read here too, since the
request behind them was processed. Where that leaves doubt about the end of the answer, the connection ends with it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import httpx
import pytest

from fast_litellm import HTTPTransport, SimpleConnectionPool, accelerate
from peers.scripted import Connection, Script, ScriptedServer
from support.h11_reading import ByteServer, Reading, read_with, read_with_h11

Serve = Callable[..., ScriptedServer]

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n"

#: Read and unambiguous: the connection is used again.
CLEAR = {
    "the same content-length twice": OK + b"content-length: 2\r\nContent-Length: 2\r\n\r\nok",
    "content-length as a list of equal numbers": OK + b"content-length: 2, 2\r\n\r\nok",
    "control bytes in a value": OK + b"x: a\x01\x02\x1f\x7fb\r\ncontent-length: 2\r\n\r\nok",
    "control bytes in a reason": b"HTTP/1.1 200 O\x1bK\x08\r\ncontent-length: 2\r\n\r\nok",
    "no reason, and control bytes in a folded value": b"HTTP/1.1 200\r\nx: a\x01\r\n b\r\ncontent-length: 2\r\n\r\nok",
    "a folded value over 4 KiB": OK
    + b"x: "
    + b"y" * 3000
    + b"\r\n "
    + b"y" * 3000
    + b"\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.9": b"HTTP/1.9 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "a space behind a chunk size": CHUNKED + b"\r\n2 \r\nok\r\n0\r\n\r\n",
    "spaces and tabs behind chunk sizes": CHUNKED + b"\r\n1  \t \r\no\r\n1;a=b  \r\nk\r\n0      \r\n\r\n",
    "control bytes in a trailer": CHUNKED + b"\r\n2\r\nok\r\n0\r\nx: \x01\r\n\r\n",
    "equal lengths in an interim answer": b"HTTP/1.1 103 Hints\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n"
    + OK
    + b"content-length: 2\r\n\r\nok",
}

#: Read, and in doubt: the connection is closed behind it.
IN_DOUBT = {
    "content-length with transfer-encoding": OK
    + b"content-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "transfer-encoding with content-length": CHUNKED + b"content-length: 9\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "transfer-encoding with equal content-lengths": CHUNKED
    + b"content-length: 2\r\ncontent-length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "LF alone all through the head": b"HTTP/1.1 200 OK\nx: y\ncontent-length: 2\n\nok",
    "LF alone behind the status line": b"HTTP/1.1 200 OK\ncontent-length: 2\r\n\r\nok",
    "LF alone behind a header": OK + b"x: y\ncontent-length: 2\r\n\r\nok",
    "LF alone as the empty line": OK + b"content-length: 2\r\n\nok",
    "LF alone behind trailers": CHUNKED + b"\r\n2\r\nok\r\n0\r\nx: y\n\r\n",
    "LF alone behind the last chunk": CHUNKED + b"\r\n2\r\nok\r\n0\r\n\n",
    "LF alone in an interim answer": b"HTTP/1.1 100 Continue\n\n" + OK + b"content-length: 2\r\n\r\nok",
    "a length among the trailers": CHUNKED + b"\r\n2\r\nok\r\n0\r\ncontent-length: 5\r\n\r\n",
    "a coding among the trailers": CHUNKED + b"\r\n2\r\nok\r\n0\r\ntransfer-encoding: chunked\r\n\r\n",
    "a Connection that is no list": OK + b"connection: keep-alive; x=y\r\ncontent-length: 2\r\n\r\nok",
    "a Connection of quoted text": OK + b'connection: "keep alive", \x01\r\ncontent-length: 2\r\n\r\nok',
    "a Proxy-Connection that is no list": OK + b"proxy-connection: ??\r\ncontent-length: 2\r\n\r\nok",
}

READ = {**CLEAR, **IN_DOUBT}

#: What both refuse, or read alike, at the borders of what is read.
AT_THE_BORDER = {
    "NUL in a value": OK + b"x: a\x00b\r\ncontent-length: 0\r\n\r\n",
    "NUL in a reason": b"HTTP/1.1 200 O\x00K\r\ncontent-length: 0\r\n\r\n",
    "a bare CR in a value": OK + b"x: a\rb\r\ncontent-length: 0\r\n\r\n",
    "a doubled CR": OK + b"x: a\r\r\ncontent-length: 0\r\n\r\n",
    "a doubled CR behind LF alone": b"HTTP/1.1 200 OK\nx: a\r\r\ncontent-length: 0\r\n\r\n",
    "different lengths": OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok!",
    "a list of different lengths": OK + b"content-length: 2, 3\r\n\r\nok!",
    "a list with a hole": OK + b"content-length: 2,,2\r\n\r\nok",
    "a list that ends in a comma": OK + b"content-length: 2,\r\n\r\nok",
    "equal lengths of other digits": OK + b"content-length: 2\r\ncontent-length: 02\r\n\r\nok",
    "a signed length": OK + b"content-length: +2\r\n\r\nok",
    "another coding": OK + b"transfer-encoding: gzip\r\n\r\nok",
    "chunked twice": CHUNKED + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a bad length beside chunks": CHUNKED + b"content-length: x\r\n\r\n0\r\n\r\n",
    "a chunk size line of LF alone": CHUNKED + b"\r\n2\nok\r\n0\r\n\r\n",
    "chunk data that ends in LF alone": CHUNKED + b"\r\n2\r\nok\n0\r\n\r\n",
    "a space before a chunk size": CHUNKED + b"\r\n 2\r\nok\r\n0\r\n\r\n",
    "a space within a chunk size": CHUNKED + b"\r\n1 0\r\nok\r\n0\r\n\r\n",
    "a chunk size with 0x": CHUNKED + b"\r\n0x2\r\nok\r\n0\r\n\r\n",
    "a trailer without a colon": CHUNKED + b"\r\n2\r\nok\r\n0\r\nx\r\n\r\n",
    "a space before the first trailer": CHUNKED + b"\r\n2\r\nok\r\n0\r\n x: y\r\n\r\n",
    "a header without a colon behind LF alone": b"HTTP/1.1 200 OK\nx\n\n",
    "a space before the colon": OK + b"x : y\r\ncontent-length: 0\r\n\r\n",
    "a space before the first header": OK + b" x: y\r\ncontent-length: 0\r\n\r\n",
    "an empty line before the status line": b"\r\n" + OK + b"content-length: 0\r\n\r\n",
    "an empty line of LF before the status line": b"\n" + OK + b"content-length: 0\r\n\r\n",
    "two spaces before the status": b"HTTP/1.1  200 OK\r\n\r\n",
    "a reason without its space": b"HTTP/1.1 200OK\r\n\r\n",
    "a status under 100": b"HTTP/1.1 099 Low\r\n\r\n",
    "a version of two digits": b"HTTP/1.10 200 OK\r\n\r\n",
    "a folded value": OK + b"x: one\r\n  two\r\n\tthree\r\ncontent-length: 2\r\n\r\nok",
    "a fold of nothing": OK + b"x: one\r\n \r\ncontent-length: 2\r\n\r\nok",
    "a body until the close": b"HTTP/1.1 200 OK\nx: y\n\nall of\n\nthis",
    "no body for 304": b"HTTP/1.1 304 Not Modified\ncontent-length: 5\n\n",
    "an early end": b"HTTP/1.1 200 OK\ncontent-length: 5\n\nok",
    "101 that was not asked for": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nok",
    "an early end of chunks": CHUNKED + b"\r\n2 \r\nok\r\n",
}

#: Refused here alone, on purpose: what a shared connection cannot afford, or what cannot be counted.
STRICTER = {
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/0.9 with a head": b"HTTP/0.9 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "a chunk extension of garbage": CHUNKED + b"\r\n2;,;\r\nok\r\n0\r\n\r\n",
    "a chunk extension without a name": CHUNKED + b"\r\n2;\r\nok\r\n0\r\n\r\n",
    "a bare CR in a chunk extension": CHUNKED + b"\r\n2;a\rb\r\nok\r\n0\r\n\r\n",
    "a control byte in a chunk extension": CHUNKED + b'\r\n2;a="\x01"\r\nok\r\n0\r\n\r\n',
}


@pytest.fixture
def byte_server() -> Iterator[ByteServer]:
    server = ByteServer()
    yield server
    server.close()


def _answering_first(answer: bytes) -> Script:
    """Answers the first request on each connection so, and every other one with the connection's number."""

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(answer)
        while True:
            await connection.request()
            await connection.respond(str(connection.number).encode())

    return script


@pytest.mark.parametrize("answer", READ.values(), ids=READ.keys())
def test_a_response_is_read_as_httpx_reads_it(client: httpx.Client, byte_server: ByteServer, answer: bytes) -> None:
    expected = read_with_h11(answer)
    assert expected.refused is None
    assert read_with(client, byte_server, answer) == expected
    with httpx.Client() as stock:
        assert read_with(stock, byte_server, answer) == expected


@pytest.mark.parametrize("answer", AT_THE_BORDER.values(), ids=AT_THE_BORDER.keys())
def test_a_response_that_httpx_refuses_is_refused_too(
    client: httpx.Client, byte_server: ByteServer, answer: bytes
) -> None:
    expected, ours = read_with_h11(answer), read_with(client, byte_server, answer)
    assert (ours.refused is None) == (expected.refused is None), (expected, ours)
    if ours.refused is None:
        assert ours == expected


@pytest.mark.parametrize("answer", STRICTER.values(), ids=STRICTER.keys())
def test_only_these_responses_are_refused_here_and_read_by_httpx(
    client: httpx.Client, byte_server: ByteServer, answer: bytes
) -> None:
    assert read_with_h11(answer).refused is None
    assert read_with(client, byte_server, answer).refused is not None


@pytest.mark.parametrize("answer", CLEAR.values(), ids=CLEAR.keys())
def test_an_unambiguous_response_leaves_its_connection_in_use(
    client: httpx.Client, serve: Serve, answer: bytes
) -> None:
    server = serve(_answering_first(answer))
    assert client.post(server.url, content=b"paid for").content == b"ok"
    assert client.get(server.url).text == "1"
    assert server.connections == 1


@pytest.mark.parametrize("answer", IN_DOUBT.values(), ids=IN_DOUBT.keys())
def test_an_ambiguous_response_is_read_and_its_connection_closed(
    client: httpx.Client, serve: Serve, answer: bytes
) -> None:
    server = serve(_answering_first(answer))
    assert client.post(server.url, content=b"paid for").content == b"ok"
    server.wait_until(lambda counts: counts.open == 0, "the client close")
    assert [request.method for request in server.requests] == ["POST"]


@pytest.mark.parametrize("answer", IN_DOUBT.values(), ids=IN_DOUBT.keys())
def test_bytes_after_an_ambiguous_response_reach_no_other_request(
    client: httpx.Client, serve: Serve, answer: bytes
) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        if connection.number == 1:
            await connection.send(answer + b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nsmuggled")
            await connection.client_closed()
        else:
            await connection.respond(b"mine")

    server = serve(script)
    assert client.get(server.url).content == b"ok"
    assert client.get(server.url).text == "mine"
    assert server.connections == 2


def test_accelerated_clients_and_a_pool_read_the_same_responses(
    serve: Serve, new_pool: Callable[..., SimpleConnectionPool]
) -> None:
    server = serve(_answering_first(IN_DOUBT["LF alone all through the head"]))
    with accelerate(httpx.Client(timeout=20)) as client:
        assert client.post(server.url, content=b"paid for").content == b"ok"
    assert new_pool().request(server.url, "POST", "/", content=b"paid for").content == b"ok"
    server.wait_until(lambda counts: counts.open == 0, "the clients close")
    assert server.connections == 2


# Changed at random: whatever becomes of them, both read the same, or the difference is one of the above.

SEEDS = [
    OK + b"content-length: 5\r\n\r\nhello",
    CHUNKED + b"\r\n5\r\nhello\r\n3;a=b\r\nabc\r\n0\r\nx: y\r\n\r\n",
    OK + b"x: y\r\nx-cookie: a=b; c\r\nConnection: close\r\n\r\nall of it",
    b"HTTP/1.0 404 Not Found\r\nx: one\r\n two\r\nContent-Length: 2\r\n\r\nno",
    b"HTTP/1.1 204 No Content\r\nConnection: keep-alive, x\r\nProxy-Connection: a\r\n\r\n",
    *READ.values(),
]
TELLING = b'\r\n\t\0 :;,"\\0159afx=\x7f\xff\x01'


def _changed(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(changed))
        kind = rng.randrange(5)
        if kind == 0:
            changed[place] = rng.choice(TELLING)
        elif kind == 1:
            del changed[place : place + rng.randint(1, 3)]
        elif kind == 2:
            changed[place:place] = changed[place : place + rng.randint(1, 20)]
        elif kind == 3:
            changed[place:place] = bytes([rng.choice(TELLING)])
        else:
            changed = changed.replace(b"\r\n", b"\n", 1)
        changed = changed or bytearray(b"H")
    return bytes(changed)


def _on_purpose(theirs: Reading, ours: Reading) -> bool:
    if ours.refused is None:  # framing among trailers is dropped; a fold is joined with one space, whatever came before
        if theirs.refused is not None:
            return "Content-Length" in theirs.refused or "Transfer-Encoding" in theirs.refused
        return ours._replace(headers=_single_spaced(ours)) == theirs._replace(headers=_single_spaced(theirs))
    return any(
        reason in ours.refused
        for reason in (
            "an HTTP version other than",
            "chunk extension",
            "CR without LF in the framing of a chunk",
            "a malformed chunk size",  # over 64 bits
            "not one number",  # over 64 bits
        )
    )


def _single_spaced(reading: Reading) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name, b" ".join(value.split())) for name, value in reading.headers)


@pytest.mark.parametrize("seed", range(4))
def test_a_randomly_changed_response_is_read_as_httpx_reads_it(seed: int, byte_server: ByteServer) -> None:
    rng = random.Random(seed)  # always the same changes, so that a failure can be met again
    different = []
    with httpx.Client(transport=HTTPTransport(), timeout=20) as client:
        for _ in range(400):
            data, method = _changed(rng.choice(SEEDS), rng), rng.choice(["POST", "POST", "HEAD"])
            theirs, ours = read_with_h11(data, method), read_with(client, byte_server, data, method)
            same = ours == theirs if theirs.refused is None else ours.refused is not None
            if not same and not _on_purpose(theirs, ours):
                different.append((method, data, theirs, ours))
    assert different == []
