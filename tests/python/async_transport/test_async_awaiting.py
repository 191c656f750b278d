"""An awaited operation belongs to one task: no other task takes its result, ends its wait, or leaves it asleep."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import anyio
import httpx
import pytest
import sniffio

from async_transport.conftest import STOCK, leases
from fast_litellm import AsyncHTTPTransport, SimpleConnectionPool
from fast_litellm.exceptions import cannot_watch
from fast_litellm.runtime.event_loops import event_loop
from peers import child
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok
from support.backends import ASYNCIO_BACKENDS, BACKENDS, complaints_of, new_loop, run, until
from support.sockets import sockets_to

Serve = Callable[..., ScriptedServer]

pytestmark = pytest.mark.skipif(STOCK, reason="case: of ours")

_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=AsyncHTTPTransport(), timeout=None)


def _arrived(server: ScriptedServer, connections: int) -> None:
    """Blocks, the loop with it, until so many connections have something to read."""
    end = time.monotonic() + 20
    while sum(1 for one in sockets_to(server.port) if one.unread > 0) < connections:
        assert time.monotonic() < end, "nothing came"


async def _begun(client: httpx.AsyncClient, url: str) -> tuple[httpx.Response, Any]:
    """A response, and the transport's own stream of it."""
    response = await client.send(client.build_request("GET", url), stream=True)
    return response, response.stream._stream  # type: ignore[union-attr]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("backend", ASYNCIO_BACKENDS)
def test_a_loop_that_a_task_stopped_and_that_is_closed_keeps_no_other_tasks(
    serve: Serve, backend: str, error: type[BaseException]
) -> None:
    """All tasks got their leases in one turn, and then the first of them stopped the loop."""
    server = serve(serve_ok)
    with closing(SimpleConnectionPool("ended loops", max_connections_per_endpoint=3)) as pool:

        async def end_the_loop() -> None:
            async with pool.lease(server.url, timeout=20):
                raise error

        async def lease() -> None:
            async with pool.lease(server.url, timeout=20):
                pass

        async def main() -> None:
            held = [pool.get_connection(server.url) for _ in range(3)]
            tasks = [asyncio.ensure_future(work()) for work in (end_the_loop, lease, lease)]
            await until(lambda: pool.get_stats()["waiters"] == 3)
            for connection in held:
                assert connection is not None
                pool.return_connection(connection)
            await asyncio.gather(*tasks)

        with complaints_of(new_loop(backend), expected="was") as loop:  # "destroyed but pending", "never retrieved"
            with pytest.raises(error):
                loop.run_until_complete(main())
            loop.close()
        del loop
        gc.collect()
        assert pool.get_stats()["active_connections"] == 0
        assert all(pool.get_connection(server.url, timeout=20) for _ in range(3))


def test_a_read_that_was_deferred_and_abandoned_does_not_block_a_later_read(serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(_HEAD + b"1\r\nx\r\n" * 400_000 + b"0\r\n\r\n")
        await connection.client_closed()

    server = serve(script)

    async def main() -> None:
        async with _client() as client:
            _, stream = await _begun(client, server.url)
            exchange = stream._exchange
            for _ in range(100):  # reads that never wait, until one is put off
                _arrived(server, 1)
                begun = exchange.read(event_loop(cannot_watch))
                if begun.pending:
                    break
                await begun
            else:
                raise AssertionError("none was put off")
            begun.send(None)
            with pytest.raises(asyncio.CancelledError):
                begun.throw(asyncio.CancelledError())
            async with asyncio.timeout(20) if hasattr(asyncio, "timeout") else contextlib.nullcontext():
                for _ in range(40):
                    with pytest.raises(httpx.LocalProtocolError):
                        await exchange.read(event_loop(cannot_watch))

    asyncio.run(main())


@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_reader_of_a_response_that_another_threads_loop_closes_gets_an_error(
    serve: Serve, backend: str, debug: bool
) -> None:
    """Although its own loop has nothing else to wake it."""

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(_HEAD + b"1\r\nx\r\n")
        await connection.client_closed()

    server = serve(script)
    client = _client()
    responses: list[httpx.Response] = []
    waits = threading.Event()

    async def read() -> None:
        if debug and backend != "trio":
            asyncio.get_running_loop().set_debug(True)
        response, _ = await _begun(client, server.url)
        pieces = response.aiter_raw()
        assert await pieces.__anext__() == b"x"
        responses.append(response)
        waits.set()
        with pytest.raises(httpx.ReadError, match="closed by another task"):
            await pieces.__anext__()

    async def close() -> None:
        stream: Any = responses[0].stream
        await until(lambda: stream._stream._exchange.pending)
        await stream._stream.aclose()

    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(run, backend, read)
        assert waits.wait(20)
        run(backend, close)
        reading.result(20)
    assert leases(client) == 0


async def test_a_second_concurrent_reader_is_refused_and_takes_nothing_from_the_first(serve: Serve) -> None:
    """Also when the first reader's piece has arrived and only its task has not resumed yet."""
    if sniffio.current_async_library() == "trio":
        pytest.skip("case: its tasks resume in any order")
    gates = {"/neighbour": Gate(), "/reader": Gate()}

    async def script(connection: Connection) -> None:
        request = await connection.request()
        if request.target == "/reader":
            await connection.send(_HEAD + b"5\r\nfirst\r\n")
        await gates[request.target].passed()
        if request.target == "/reader":
            await connection.send(b"6\r\nsecond\r\n0\r\n\r\n")
        else:
            await connection.respond(b"ok")
        await connection.client_closed()

    server = serve(script)
    got: list[bytes] = []
    refused: list[str] = []
    async with _client() as client:
        _, stream = await _begun(client, f"{server.url}/reader")
        pieces = stream.__aiter__()
        assert await pieces.__anext__() == b"first"

        async def neighbour() -> None:
            await client.get(f"{server.url}/neighbour")
            with pytest.raises(httpx.LocalProtocolError) as error:
                await stream.__aiter__().__anext__()
            refused.append(str(error.value))

        async def reader() -> None:
            async for piece in pieces:
                got.append(piece)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(neighbour)
                await until(lambda: len(server.requests) == 2)
                group.start_soon(reader)
                await until(lambda: stream._exchange.pending)
                for number, target in enumerate(gates):  # the first to arrive is resumed first
                    gates[target].open()
                    _arrived(server, number + 1)
        assert refused == ["another task is using this response"]
        assert got == [b"second"]
        await stream.aclose()
    assert leases(client) == 0


def test_a_second_task_that_awaits_the_same_operation_is_refused_and_changes_nothing(serve: Serve) -> None:
    gate = Gate()

    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            await gate.passed()
            await connection.respond(b"mine")

    server = serve(script)
    with closing(SimpleConnectionPool("awaited twice")) as pool:

        async def wait(call: Any) -> Any:
            return await call

        async def main() -> None:
            def begin() -> Any:
                return pool.start_request(event_loop(cannot_watch), server.url, "GET", "/", None, None, None)

            call = begin()
            first = asyncio.ensure_future(wait(call))
            await asyncio.sleep(0)
            for _ in range(3):
                with pytest.raises(RuntimeError, match="another task is awaiting this"):
                    await asyncio.ensure_future(wait(call))
            gate.open()
            assert (await first).content == b"mine"
            # gather and wait_for take it for something to make a task of.
            assert [response.status_code for response in await asyncio.gather(begin(), begin())] == [200, 200]
            assert (await asyncio.wait_for(begin(), 20)).content == b"mine"

        asyncio.run(main())


@pytest.mark.parametrize("raised", [ValueError, SystemExit])
def test_each_error_of_a_woken_task_is_reported(serve: Serve, raised: type[BaseException]) -> None:
    """For several in one turn. Only tasks await an operation, so callbacks stand for other awaiters."""
    gate = Gate()

    async def script(connection: Connection) -> None:
        await connection.request()
        await gate.passed()
        await connection.respond(b"ok")
        await connection.client_closed()

    server = serve(script)
    reported: list[BaseException] = []
    with closing(SimpleConnectionPool("errors", max_connections_per_endpoint=8)) as pool:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
        ends: list[BaseException] = []

        async def main() -> None:
            def wake(_: Any) -> None:
                error = raised(len(reported))
                ends.append(error)
                raise error

            calls = [
                pool.start_request(event_loop(cannot_watch), server.url, "GET", "/", None, None, None) for _ in range(4)
            ]
            for call in calls:
                assert call.send(None) is call  # type: ignore[attr-defined]
                call.add_done_callback(wake)  # type: ignore[attr-defined]
            await until(lambda: len(server.requests) == 4)
            gate.open()
            _arrived(server, 4)
            await until(lambda: len(ends) == 4)

        while True:
            try:
                loop.run_until_complete(main() if not ends else until(lambda: len(ends) == 4))
                break
            except SystemExit as error:
                reported.append(error)
        loop.close()
    assert len(reported) == 4
    assert {type(error) for error in reported} == {raised}


def test_under_trio_as_a_guest_of_asyncio_the_task_is_trios(serve: Serve) -> None:
    trio = pytest.importorskip("trio")
    server = serve(serve_ok)

    async def guest() -> str:
        async with _client() as client:
            return (await client.get(f"{server.url}/guest")).text

    async def host() -> Any:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        trio.lowlevel.start_guest_run(
            guest, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=done.set_result
        )
        outcome = await done
        async with _client() as client:
            assert (await client.get(f"{server.url}/host")).text == "GET /host"
        return outcome.unwrap()

    assert asyncio.run(host()) == "GET /guest"


@pytest.mark.parametrize("kept", ["a local", "a finally"])
def test_the_interpreter_ends_while_objects_of_a_task_are_finalized(serve: Serve, kept: str) -> None:
    """In a daemon thread, whose loop was closed."""

    async def never(connection: Connection) -> None:
        await connection.request()
        await connection.client_closed()

    server = serve(never)
    done = child.run(
        """
        import asyncio, sys, threading, time
        from fast_litellm import SimpleConnectionPool

        url, kept = sys.argv[1:]
        pool = SimpleConnectionPool("finalized")
        finalizing = threading.Event()

        def finalize():
            finalizing.set()
            while True:
                time.sleep(0.001)

        class Slow:
            def __del__(self):
                finalize()

        async def hold(_):
            await pool.arequest(url, "GET", "/")

        async def end():
            try:
                await pool.arequest(url, "GET", "/")
            finally:
                finalize()

        def work():
            loop = asyncio.new_event_loop()

            async def begin():
                asyncio.ensure_future(hold(Slow()) if kept == "a local" else end())
                await asyncio.sleep(0.05)

            loop.run_until_complete(begin())
            loop.close()

        threading.Thread(target=work, daemon=True).start()
        assert finalizing.wait(20)
        """,
        server.url,
        kept,
    )
    assert done.returncode == 0, done.stderr
