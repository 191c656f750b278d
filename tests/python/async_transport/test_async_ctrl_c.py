"""Ctrl-C ends what runs on a loop, wherever it waits, and leaves nothing leased."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from async_transport.conftest import STOCK
from peers import child
from peers.scripted import Connection, Gate, ScriptedServer
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]

pytestmark = pytest.mark.skipif(STOCK, reason="a child of ours")

_PROGRAM = """
    import asyncio, gc, sys, httpx
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

    interrupted = False
    try:
        if backend == "trio":
            import trio
            trio.run(main)
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
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_ctrl_c_ends_the_loop_and_leaves_nothing(
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
        out, err = process.communicate(timeout=20)
    end.open()
    assert out == "interrupted\n", err
    assert process.returncode == 0, err
