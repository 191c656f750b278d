"""Ctrl-C ends a task on a loop wherever it waits, and leaves no lease open."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from async_transport.conftest import STOCK
from peers import child
from peers.scripted import Connection, Gate, ScriptedServer
from support.backends import BACKENDS
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]

pytestmark = pytest.mark.skipif(STOCK, reason="case: a child of ours")

_PROGRAM = """
    import asyncio, contextlib, gc, sys, httpx
    from fast_litellm import AsyncHTTPTransport, SimpleConnectionPool

    backend, wait, url, ca_file = sys.argv[1:5]
    pool = SimpleConnectionPool("interrupted", max_connections_per_endpoint=1, verify=ca_file)
    client = httpx.AsyncClient(transport=AsyncHTTPTransport(verify=ca_file, pool=pool), timeout=None)

    async def endless():
        while True:
            yield b"x" * 65536

    async def main():
        print("ready", flush=True)
        if wait == "write":
            await client.post(url, content=endless())
        elif wait == "pool":
            async with client.stream("GET", url):
                await client.get(url)
        else:
            await client.get(url)

    def run_on_uvloop():
        # Not by asyncio.run, which takes the signal itself: it comes between any two steps, in the task too, which then
        # has ended with it already. The exception of such a task holds its frames, so the task is not kept.
        import uvloop
        loop = uvloop.new_event_loop()
        task = loop.create_task(main())
        try:
            loop.run_until_complete(task)
        finally:
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    loop.run_until_complete(task)
            loop.close()

    interrupted = False
    try:
        if backend == "trio":
            import trio
            trio.run(main)
        elif backend == "uvloop":
            run_on_uvloop()
        else:
            asyncio.run(main())
    except KeyboardInterrupt:
        interrupted = True
    # Past the handler: the signal may come between any two steps of httpx, and then the traceback holds the response.
    assert interrupted
    gc.collect()
    assert pool.open_leases() == 0, pool.get_stats()
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("wait", ["connect", "pool", "write", "head", "body"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_ctrl_c_ends_the_loop_and_leaks_nothing(
    serve: Serve, certificates: Certificates, backend: str, wait: str
) -> None:
    pytest.importorskip(backend)
    end = Gate()

    async def script(connection: Connection) -> None:
        if wait == "write":
            connection.pause()
        elif wait != "connect":
            await connection.request()
        if wait in ("body", "pool"):
            await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        await end.passed()

    server = serve(script)
    url = server.url.replace("http:", "https:") if wait == "connect" else server.url
    with child.running(_PROGRAM, backend, wait, url, str(certificates.ca_file)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        if wait in ("connect", "write"):
            server.wait_until(lambda counts: counts.open == 1, "the connection")
        else:
            server.wait_until(lambda counts: len(counts.requests) == 1, "the request")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=child.PATIENCE)
    end.open()
    assert out == "interrupted\n", err
    assert process.returncode == 0, err
