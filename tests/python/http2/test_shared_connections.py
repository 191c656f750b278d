"""Who shares an HTTP/2 connection, and who waits for one: homes, limits, and ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from typing import Any

import httpx
import pytest

import fast_litellm
from fast_litellm import SimpleConnectionPool
from fast_litellm.exceptions import PoolClosed
from peers.http2_scripted import Http2Peer, Setting, data, headers, http2_context
from peers.scripted import Gate, ScriptedServer, until

H2: dict[str, Any] = {"http1": False, "http2": True}


def in_thread(function: Any) -> tuple[threading.Thread, list[Any]]:
    got: list[Any] = []

    def run() -> None:
        try:
            got.append(function())
        except BaseException as error:
            got.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, got


async def _count_connection(connection: Any) -> None:
    with contextlib.suppress(ConnectionError):
        peer = await Http2Peer.begin(connection, {Setting.MAX_CONCURRENT_STREAMS: 100})
        while True:
            request = await peer.request()
            await peer.respond(request, str(connection.number).encode())


def test_a_negotiate_request_shares_no_connection() -> None:
    gate = Gate()

    async def script(connection: Any) -> None:
        peer = await Http2Peer.begin(connection, {Setting.MAX_CONCURRENT_STREAMS: 100})
        while True:
            request = await peer.request()
            await peer.respond(request, str(connection.number).encode())

    with ScriptedServer(script) as server:
        pool = SimpleConnectionPool("negotiate-first")
        a = httpx.Client(transport=fast_litellm.HTTPTransport(pool=pool, **H2), timeout=20)
        b = httpx.Client(transport=fast_litellm.HTTPTransport(pool=pool, **H2), timeout=20)
        with b.stream("GET", server.url + "/open") as open_response:
            anonymous = b.get(server.url).text
            authenticated = a.get(server.url, headers={"authorization": "Negotiate abc"}).text
            assert anonymous != authenticated, "an authenticated request went over another client's connection"
            open_response.read()
        gate.open()


def test_a_connection_that_a_negotiate_request_authenticated_serves_no_other_client() -> None:
    gate = Gate()

    async def script(connection: Any) -> None:
        peer = await Http2Peer.begin(connection, {Setting.MAX_CONCURRENT_STREAMS: 100})
        while True:
            request = await peer.request()
            if request.path == "/held":
                await peer.send(headers(request.stream, (":status", "200")))
                await peer.send(data(request.stream, str(connection.number).encode()))
            else:
                await peer.respond(request, str(connection.number).encode())

    with ScriptedServer(script) as server:
        pool = SimpleConnectionPool("negotiate-second")
        a = httpx.Client(transport=fast_litellm.HTTPTransport(pool=pool, **H2), timeout=20)
        b = httpx.Client(transport=fast_litellm.HTTPTransport(pool=pool, **H2), timeout=20)
        with a.stream("GET", server.url + "/held", headers={"authorization": "Negotiate abc"}) as response:
            authenticated = next(response.iter_raw()).decode()
            assert b.get(server.url).text != authenticated, "another client's request went over the authenticated one"
        gate.open()


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_streamed_body_with_a_content_length_ends(mode: str) -> None:
    async def script(connection: Any) -> None:
        peer = await Http2Peer.begin(connection)
        while True:
            request = await peer.request()
            await peer.respond(request, bytes(request.body))

    with ScriptedServer(script) as server:
        if mode == "sync":
            client = httpx.Client(transport=fast_litellm.HTTPTransport(**H2), timeout=20)
            got = client.post(server.url, content=iter([b"ab", b"cd"]), headers={"content-length": "4"})
            assert got.content == b"abcd"
        else:

            async def body() -> Any:
                yield b"ab"
                yield b"cd"

            async def main() -> bytes:
                async with httpx.AsyncClient(transport=fast_litellm.AsyncHTTPTransport(**H2), timeout=20) as client:
                    return (await client.post(server.url, content=body(), headers={"content-length": "4"})).content

            assert asyncio.run(main()) == b"abcd"


def test_a_callers_connect_timeout_is_not_anothers() -> None:
    """One dial is under way for both."""
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts, and never shakes hands
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        pool = SimpleConnectionPool("connect-timeouts")
        transport = fast_litellm.HTTPTransport(pool=pool, http2=True, verify=False)
        hasty = httpx.Client(transport=transport, timeout=httpx.Timeout(20, connect=0.3))
        patient = httpx.Client(transport=transport, timeout=20)
        one, first = in_thread(lambda: hasty.get(url))
        two, second = in_thread(lambda: patient.get(url))
        one.join(30)
        assert isinstance(first[0], httpx.ConnectTimeout)
        assert second == []
    # The kernel resets what nobody has accepted.
    two.join(30)
    assert isinstance(second[0], httpx.ConnectError)


def test_close_ends_the_wait_for_a_stream() -> None:
    async def script(connection: Any) -> None:
        peer = await Http2Peer.begin(connection, {Setting.MAX_CONCURRENT_STREAMS: 1})
        request = await peer.request()
        await peer.send(headers(request.stream, (":status", "200")))
        await peer.client_closed()

    with ScriptedServer(script) as server:
        transport = fast_litellm.HTTPTransport(limits=httpx.Limits(max_connections=1), **H2)
        client = httpx.Client(transport=transport, timeout=None)
        request = client.build_request("GET", server.url)
        response = client.send(request, stream=True)
        thread, _ = in_thread(lambda: client.get(server.url))
        client.close()
        thread.join(30)
        assert not thread.is_alive(), "it waits for ever"
        response.close()


async def _whole_requests(connection: Any) -> None:
    """Answers a request once all of it (END_STREAM) is there."""
    peer = await Http2Peer.begin(connection, {Setting.MAX_CONCURRENT_STREAMS: 100})
    while True:
        request = await peer.request()
        await peer.respond(request, str(len(request.body)).encode())


def test_a_traced_get_is_whole() -> None:
    with ScriptedServer(_whole_requests) as server:
        client = httpx.Client(transport=fast_litellm.HTTPTransport(**H2), timeout=20)
        told: list[str] = []
        trace = lambda name, info: told.append(name)  # noqa: E731
        assert client.get(server.url, extensions={"trace": trace}).text == "0"


def test_a_multipart_upload_ends() -> None:
    with ScriptedServer(_whole_requests) as server:
        client = httpx.Client(transport=fast_litellm.HTTPTransport(**H2), timeout=20)
        assert int(client.post(server.url, files={"f": b"x" * 1000}).text) > 1000


@pytest.mark.parametrize("protocols", [H2, {}])
def test_closing_a_transport_ends_its_waits(protocols: dict[str, Any]) -> None:
    async def http2(connection: Any) -> None:
        peer = await Http2Peer.begin(connection, {Setting.MAX_CONCURRENT_STREAMS: 1})
        request = await peer.request()
        await peer.send(headers(request.stream, (":status", "200")))
        await peer.client_closed()

    async def http1(connection: Any) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
        await connection.client_closed()

    with ScriptedServer(http2 if protocols else http1) as server:
        pool = SimpleConnectionPool(f"closing-{len(protocols)}")
        transport = fast_litellm.HTTPTransport(pool=pool, limits=httpx.Limits(max_connections=1), **protocols)
        client = httpx.Client(transport=transport, timeout=None)
        response = client.send(client.build_request("GET", server.url), stream=True)
        thread, _ = in_thread(lambda: client.get(server.url))
        client.close()
        thread.join(30)
        alive = thread.is_alive()
        response.close()
        assert not alive, "it waits for ever"


def test_a_caller_of_another_origin_gets_its_turn_at_the_pools_limit() -> None:
    """One connection in all; requests to one origin overlap all the time."""
    with ScriptedServer(_count_connection) as busy, ScriptedServer(_count_connection) as other:
        pool = SimpleConnectionPool("in-all", max_connections=1)

        async def main() -> Any:
            transport = fast_litellm.AsyncHTTPTransport(pool=pool, **H2)
            async with httpx.AsyncClient(transport=transport, timeout=httpx.Timeout(60, pool=30)) as client:
                done = False

                async def loop() -> None:
                    while not done:
                        await client.get(busy.url)

                tasks = [asyncio.create_task(loop()) for _ in range(5)]
                await asyncio.sleep(0.2)
                try:
                    return (await client.get(other.url)).status_code
                finally:
                    done = True
                    await asyncio.gather(*tasks, return_exceptions=True)

        assert asyncio.run(main()) == 200


def test_a_busy_connection_is_no_leak(caplog: Any) -> None:
    with ScriptedServer(_count_connection) as server:
        pool = SimpleConnectionPool("leaks", leak_after=1.5)

        async def main() -> None:
            transport = fast_litellm.AsyncHTTPTransport(pool=pool, **H2)
            async with httpx.AsyncClient(transport=transport, timeout=20) as client:
                end = time.monotonic() + 4

                async def loop() -> None:
                    while time.monotonic() < end:
                        await client.get(server.url)

                await asyncio.gather(*[loop() for _ in range(5)])

        asyncio.run(main())
        assert [each.getMessage() for each in caplog.records if each.name == "fast_litellm"] == []


def test_a_transport_at_its_own_limit_holds_up_no_other() -> None:
    async def script(connection: Any) -> None:
        peer = await Http2Peer.begin(connection, {Setting.MAX_CONCURRENT_STREAMS: 1})
        while True:
            request = await peer.request()
            await peer.send(headers(request.stream, (":status", "200"), end=request.path != "/held"))

    with ScriptedServer(script) as server:
        pool = SimpleConnectionPool("own-limits")
        one = httpx.Client(
            transport=fast_litellm.HTTPTransport(pool=pool, limits=httpx.Limits(max_connections=1), **H2), timeout=30
        )
        free = httpx.Client(transport=fast_litellm.HTTPTransport(pool=pool, **H2), timeout=20)
        with one.stream("GET", server.url + "/held"):
            thread, _ = in_thread(lambda: one.get(server.url))
            for _ in range(20):  # whether it is queued by now or not
                assert free.get(server.url).status_code == 200
        thread.join(30)


async def _holding(connection: Any) -> None:
    """Never ends the response to /held; answers others with the connection's number."""
    with contextlib.suppress(ConnectionError):
        peer = await Http2Peer.begin(connection, {Setting.MAX_CONCURRENT_STREAMS: 100})
        while True:
            request = await peer.request()
            if request.path == "/held":
                await peer.send(headers(request.stream, (":status", "200")))
            else:
                await peer.respond(request, str(connection.number).encode())


def test_at_the_pools_limit_threads_share_an_event_loops_connection() -> None:
    """A response is held for as long as it takes: the connection would not come back before."""
    with ScriptedServer(_holding) as server:
        pool = SimpleConnectionPool("homes", max_connections_per_endpoint=1)
        blocking = httpx.Client(transport=fast_litellm.HTTPTransport(pool=pool, **H2), timeout=20)

        async def main() -> list[str]:
            transport = fast_litellm.AsyncHTTPTransport(pool=pool, **H2)
            async with (
                httpx.AsyncClient(transport=transport, timeout=20) as client,
                client.stream("GET", server.url + "/held"),
            ):
                there = await asyncio.to_thread(blocking.get, server.url)
                here = await client.get(server.url)
                return [there.text, here.text]

        assert asyncio.run(main()) == ["1", "1"]
        assert server.counts.connections == 1


def test_a_draining_pool_takes_no_further_request() -> None:
    with ScriptedServer(_holding) as server:
        pool = SimpleConnectionPool("draining")
        client = httpx.Client(transport=fast_litellm.HTTPTransport(pool=pool, **H2), timeout=20)
        with client.stream("GET", server.url + "/held"):
            assert client.get(server.url).text == "1"
            drain, _ = in_thread(lambda: pool.drain(20))

            def refused() -> bool:
                try:
                    client.get(server.url)
                except PoolClosed:
                    return True
                return False

            until(refused)
        drain.join(60)


def test_a_connection_past_its_lifetime_takes_no_further_stream() -> None:
    with ScriptedServer(_holding) as server:
        pool = SimpleConnectionPool("lifetime", max_lifetime=0.5)
        client = httpx.Client(transport=fast_litellm.HTTPTransport(pool=pool, **H2), timeout=20)
        with client.stream("GET", server.url + "/held"):
            until(lambda: client.get(server.url).text != "1")


def test_a_response_that_another_loop_reads_leaves_the_connection_watched(certificates: Any) -> None:
    """Under an ssl.SSLContext no other thread would see what comes later."""
    gate = Gate()

    async def script(connection: Any) -> None:
        peer = await Http2Peer.begin(connection, {Setting.MAX_CONCURRENT_STREAMS: 100})
        streamed = await peer.request()
        await peer.send(headers(streamed.stream, (":status", "200")))
        waiting = await peer.request()
        await peer.send(data(streamed.stream, b"piece"))
        await gate.passed()
        await peer.respond(waiting, b"answer")
        await peer.client_closed()

    with ScriptedServer(script, tls=http2_context(certificates.server)) as server:
        verify = ssl.create_default_context(cafile=str(certificates.ca_file))
        transport = fast_litellm.AsyncHTTPTransport(verify=verify, http1=False, http2=True)
        client = httpx.AsyncClient(transport=transport, timeout=20)

        async def main() -> str:
            streamed = await client.send(client.build_request("GET", server.url + "/a"), stream=True)
            task = asyncio.create_task(client.get(server.url + "/b"))

            async def elsewhere() -> bytes:
                return await anext(streamed.aiter_raw())

            assert await asyncio.to_thread(asyncio.run, elsewhere()) == b"piece"
            gate.open()
            return (await task).text

        assert asyncio.run(main()) == "answer"


def test_the_statistics_count_streams_apart_from_connections() -> None:
    with ScriptedServer(_holding) as server:
        pool = SimpleConnectionPool("streams")
        client = httpx.Client(transport=fast_litellm.HTTPTransport(pool=pool, **H2), timeout=20)
        with client.stream("GET", server.url + "/held"):
            client.get(server.url)
            stats = pool.get_stats()
            assert (stats["http2_connections"], stats["open_streams"], stats["streams"]) == (1, 1, 2)
            assert (stats["total_connections"], stats["active_connections"]) == (1, 1)
        stats = pool.get_stats()
        assert (stats["http2_connections"], stats["open_streams"], stats["streams"]) == (1, 0, 2)
        assert (stats["active_connections"], stats["idle_connections"]) == (0, 1)


def test_callers_of_a_silent_server_time_out_side_by_side() -> None:
    """One after the other, they would take minutes."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:  # accepts, and never shakes hands
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"

        async def main() -> list[Any]:
            transport = fast_litellm.AsyncHTTPTransport(http2=True, verify=False)
            async with httpx.AsyncClient(transport=transport, timeout=httpx.Timeout(None, connect=1)) as client:
                all_of_them = asyncio.gather(*[client.get(url) for _ in range(100)], return_exceptions=True)
                return await asyncio.wait_for(all_of_them, 60)

        assert {type(outcome) for outcome in asyncio.run(main())} == {httpx.ConnectTimeout}
