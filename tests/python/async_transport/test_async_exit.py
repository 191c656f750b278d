"""The interpreter's exit with loops and requests under way: exit code 0, and nothing on stderr."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import pytest

from async_transport.conftest import STOCK
from peers import child
from peers.scripted import Connection, ScriptedServer
from support.backends import BACKENDS
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]

_PRELUDE = """
    import asyncio, os, ssl, sys, threading, time, httpx
    import anyio
    from support.backends import end, new_loop

    backend, url, ca_file, stock = sys.argv[1:5]
    if stock == "stock":
        transport = httpx.AsyncHTTPTransport(verify=ssl.create_default_context(cafile=ca_file))
    else:
        from fast_litellm import AsyncHTTPTransport
        transport = AsyncHTTPTransport(verify=ca_file)
    client = httpx.AsyncClient(transport=transport, timeout=None)
    reading = []

    async def head():
        await client.get(url + "/head")

    async def body():
        async with client.stream("GET", url + "/body") as response:
            async for piece in response.aiter_raw():
                reading.append(piece)

    async def connect():
        await client.get(url.replace("http:", "https:") + "/connect")

    async def upload():
        async def pieces():
            while True:
                yield b"x" * 65536
        await client.post(url + "/upload", content=pieces())

    WAYS = (head, body, connect, upload)

    async def all_wait():
        while len(reading) < 1:
            await anyio.sleep(0.001)
        await anyio.sleep(0.02)
"""

PROGRAMS = {
    "asyncio.run returns with tasks pending": """
        async def main():
            tasks = [asyncio.ensure_future(way()) for way in WAYS]
            await all_wait()
            print("exiting", flush=True)

        asyncio.run(main())
    """,
    "sys.exit in a task": """
        async def main():
            tasks = [asyncio.ensure_future(way()) for way in WAYS]
            await all_wait()
            print("exiting", flush=True)
            sys.exit(0)

        loop = new_loop(backend)
        try:
            loop.run_until_complete(main())
        finally:
            end(loop)
    """,
    "daemon threads with loops": """
        def work():
            async def main():
                async with anyio.create_task_group() as group:
                    for way in WAYS:
                        group.start_soon(way)
            if backend == "trio":
                import trio
                trio.run(main)
            else:
                new_loop(backend).run_until_complete(main())

        threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        while len(reading) < 2:
            time.sleep(0.001)
        time.sleep(0.02)
        print("exiting", flush=True)
    """,
    "a loop that was closed with its streams open": """
        async def main():
            request = client.build_request("GET", url + "/body")
            return await client.send(request, stream=True)

        loop = new_loop(backend)
        response = loop.run_until_complete(main())
        loop.close()
        print("exiting", flush=True)
    """,
    "an idle connection on a loop that was not closed": """
        async def main():
            response = await client.get(url + "/whole")
            assert response.text == "whole"

        loop = new_loop(backend)
        loop.run_until_complete(main())
        print("exiting", flush=True)
    """,
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_interpreter_exits_cleanly(serve: Serve, certificates: Certificates, name: str, backend: str) -> None:
    if (backend == "trio" and name != "daemon threads with loops") or (backend == "uvloop" and "asyncio.run" in name):
        pytest.skip("case: needs asyncio's interface")
    pytest.importorskip(backend)

    async def script(connection: Connection) -> None:
        first = await connection.receive(8)
        if first.startswith(b"GET /bod"):
            await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nhalf")
        elif first.startswith(b"GET /who"):
            await connection.respond(b"whole")
        elif first.startswith(b"POST"):
            connection.pause()
            await connection._server._stop.wait()
        await connection.client_closed()

    server = serve(script)
    program = textwrap.dedent(_PRELUDE) + textwrap.dedent(PROGRAMS[name])
    runs = max(child.exit_runs() // 10, 1)
    for run in range(1, runs + 1):
        done = child.run(program, backend, server.url, str(certificates.ca_file), "stock" if STOCK else "ours")
        ended = (done.returncode, done.stdout, done.stderr)
        assert ended == (0, "exiting\n", ""), f"run {run} of {runs}: {done.returncode}\n{done.stderr}"
