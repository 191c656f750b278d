"""Each of the four timeouts, at each place where it can end a wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import httpx
import pytest

from blocking_transport.conftest import MakeClient
from fast_litellm import SimpleConnectionPool
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]
SHORT = 0.05  # seconds


def _only(**timeouts: float) -> httpx.Timeout:
    """These timeouts, and no others."""
    return httpx.Timeout(None, **timeouts)


async def _silent(connection: Connection) -> None:
    await connection.client_closed()


def test_an_unanswered_handshake_is_a_connect_timeout(client: httpx.Client, serve: Serve) -> None:
    server = serve(_silent)
    with pytest.raises(httpx.ConnectTimeout, match=f"127.0.0.1:{server.port}") as caught:
        client.get(server.url.replace("http:", "https:"), timeout=_only(connect=SHORT))
    assert caught.value.code == "connect_timeout"  # type: ignore[attr-defined]
    assert caught.value.bytes_sent == 0  # type: ignore[attr-defined]


def test_a_missing_response_head_is_a_read_timeout(client: httpx.Client, serve: Serve) -> None:
    server = serve(_silent)
    with pytest.raises(httpx.ReadTimeout, match=f"127.0.0.1:{server.port}") as caught:
        client.post(server.url, content=b"body", timeout=_only(read=SHORT))
    assert caught.value.phase == "read_head"  # type: ignore[attr-defined]
    assert caught.value.bytes_sent > 0  # type: ignore[attr-defined]
    server.wait_until(lambda counts: counts.open == 0, "the client close")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_body_that_stalls_is_a_read_timeout(
    client: httpx.Client, serve: Serve, certificates: Certificates, tls: bool
) -> None:
    """The half has come before the request is complete: on a busy machine, too, no read has to wait for it."""
    answered = threading.Event()

    async def script(connection: Connection) -> None:
        await connection.request_head()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        answered.set()
        await connection.client_closed()

    def body() -> Iterator[bytes]:
        yield b"bo"
        assert answered.wait(60)
        yield b"dy"

    server = serve(script, tls=certificates.server if tls else None)
    with client.stream("POST", server.url, content=body(), timeout=_only(read=SHORT)) as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"half"
        with pytest.raises(httpx.ReadTimeout) as caught:
            next(pieces)
    assert caught.value.phase == "read_body"  # type: ignore[attr-defined]
    assert caught.value.request.method == "POST"
    server.wait_until(lambda counts: counts.open == 0, "the client close")


def test_the_read_timeout_is_for_each_read_not_for_the_whole_body(client: httpx.Client, serve: Serve) -> None:
    turns = [Gate() for _ in range(4)]

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")
        for turn in turns:
            await turn.passed()
            await connection.send(b"x")

    timers = [threading.Timer(0.8 * (number + 1), turn.open) for number, turn in enumerate(turns)]
    for timer in timers:
        timer.start()
    # The whole takes 3.2 s.
    assert client.get(serve(script).url, timeout=_only(read=3.0)).content == b"xxxx"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_peer_that_does_not_read_is_a_write_timeout(
    client: httpx.Client, serve: Serve, certificates: Certificates, tls: bool, streamed: bool
) -> None:
    done = Gate()

    async def script(connection: Connection) -> None:
        connection.pause()
        await done.passed()

    def body() -> Iterator[bytes]:
        for _ in range(1000):
            yield b"x" * 65536

    server = serve(script, tls=certificates.server if tls else None)
    content = body() if streamed else b"x" * 65_536_000
    with pytest.raises(httpx.WriteTimeout) as caught:
        client.post(server.url, content=content, timeout=_only(write=SHORT))
    assert caught.value.phase == "write"  # type: ignore[attr-defined]
    done.open()


def test_a_pool_that_stays_full_is_a_pool_timeout(make_client: MakeClient, serve: Serve) -> None:
    client = make_client(limits=httpx.Limits(max_connections=1))
    server = serve(serve_ok)
    with client.stream("GET", server.url), pytest.raises(httpx.PoolTimeout) as caught:
        client.get(server.url, timeout=_only(pool=SHORT))
    assert caught.value.code == "pool_timeout"  # type: ignore[attr-defined]
    assert client.get(server.url).status_code == 200
    assert server.connections == 1


def test_a_shared_pool_that_stays_full_is_a_pool_timeout_too(
    make_client: MakeClient, serve: Serve, new_pool: Callable[..., SimpleConnectionPool]
) -> None:
    pool = new_pool(max_connections_per_endpoint=1)
    holder, other = make_client(pool=pool), make_client(pool=pool)
    server = serve(serve_ok)
    with holder.stream("GET", server.url), pytest.raises(httpx.PoolTimeout):
        other.get(server.url, timeout=_only(pool=SHORT))
    assert other.get(server.url).status_code == 200


def test_without_timeouts_a_request_waits(make_client: MakeClient, serve: Serve) -> None:
    answer = Gate()

    async def script(connection: Connection) -> None:
        await connection.request()
        await answer.passed()
        await connection.respond(b"at last")

    server = serve(script)
    client = make_client(timeout=None)

    def let_it_answer() -> None:
        server.wait_until(lambda counts: bool(counts.requests), "the request")
        answer.open()

    server_saw = threading.Thread(target=let_it_answer)
    server_saw.start()
    assert client.get(server.url).text == "at last"
    server_saw.join()


def test_a_timeout_of_one_request_does_not_apply_to_the_next_on_the_connection(
    client: httpx.Client, serve: Serve
) -> None:
    answer = Gate()

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.respond(b"first")
        await connection.request()
        await answer.passed()
        await connection.respond(b"second")

    server = serve(script)
    assert client.get(server.url, timeout=_only(read=2.0)).text == "first"
    threading.Timer(3.0, answer.open).start()
    assert client.get(server.url, timeout=_only(read=20.0)).text == "second"
    assert server.connections == 1
