"""A loop's first request when the process has no descriptor left: an error of httpx's, not a bare OSError."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from peers import child
from peers.scripted import Connection, ScriptedServer, serve_ok
from support.backends import BACKENDS

Serve = Callable[..., ScriptedServer]

_PROGRAM = """
    import errno, importlib, os, resource, sys

    backend, call, url = sys.argv[1:4]
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    httpx = importlib.import_module("httpx2" if call == "httpx2" else "httpx")
    import httpx as stock
    from fast_litellm import AsyncHTTPTransport, SimpleConnectionPool, accelerate
    from support.backends import run

    if call == "httpx2":
        client = accelerate(httpx.AsyncClient(), verify=True)
    else:
        client = httpx.AsyncClient(transport=AsyncHTTPTransport())
    pool = SimpleConnectionPool("here")

    async def main():
        taken = []
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError as error:
            assert error.errno == errno.EMFILE
        kind = stock.ConnectError if call == "arequest" else httpx.ConnectError
        try:
            await (pool.arequest(url, "GET", "/") if call == "arequest" else client.get(url))
        except kind as error:
            assert isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EMFILE
        else:
            raise AssertionError("it had a descriptor")
        for descriptor in taken:
            os.close(descriptor)
        answer = await (pool.arequest(url, "GET", "/") if call == "arequest" else client.get(url))
        assert answer.status_code == 200
        await client.aclose()

    run(backend, main)
    print("reported", flush=True)
"""


@pytest.mark.parametrize("backend_name", BACKENDS)
@pytest.mark.parametrize("call", ["httpx", "httpx2", "arequest"])
def test_a_loops_first_request_without_descriptors_is_a_connect_error(
    serve: Serve, backend_name: str, call: str
) -> None:
    for name in (backend_name, call):
        if name in ("uvloop", "trio", "httpx2"):
            pytest.importorskip(name)
    enabled = {"FAST_LITELLM_ENABLED": "true"}
    result = child.run(_PROGRAM, backend_name, call, serve(serve_ok).url, environment=enabled)
    assert result.stdout == "reported\n", result.stderr


_ON_ANOTHER_LOOP = """
    import errno, os, resource, sys, types

    import httpcore, httpx
    from fast_litellm import AsyncHTTPTransport
    from support.backends import run

    backend, step, traced, url = sys.argv[1:5]
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    HERE = object()

    class UpToHere:
        '''Awaits a coroutine until that is `here`, or to its end. Another loop may continue it.'''

        def __init__(self, coroutine):
            self.coroutine = coroutine

        def __await__(self):
            sent = None
            while True:
                try:
                    reported = self.coroutine.send(sent)
                except StopIteration as end:
                    return end.value
                if reported is HERE:
                    return None
                sent = yield reported

    @types.coroutine
    def here():
        yield HERE

    class Body(httpx.AsyncByteStream):
        '''One piece, then another one if that is the step to take on another loop.'''

        def __init__(self):
            self.pieces = [b"one", b"two"] if step == "write" else [b"one"]
            self.given = 0

        def __aiter__(self):
            return self

        async def __anext__(self):
            if self.given and step != "read":
                await here()
            if self.given == len(self.pieces):
                raise StopAsyncIteration
            self.given += 1
            return self.pieces[self.given - 1]

    async def trace(name, info):
        pass

    transport = AsyncHTTPTransport()

    def sent():
        extensions = {"trace": trace, "timeout": {}} if traced == "traced" else {}
        headers = {"Content-Length": "6" if step == "write" else "3"}
        request = httpx.Request("POST", url, headers=headers, stream=Body(), extensions=extensions)
        return transport.handle_async_request(request)

    request = sent()

    async def begin():
        return await UpToHere(request)

    response = run(backend, begin)
    assert (response is None) == (step != "read")
    kind = httpx.ReadError if step == "read" else httpx.WriteError

    async def go_on():
        taken = []
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError as error:
            assert error.errno == errno.EMFILE
        try:
            if response is None:
                await UpToHere(request)
            else:
                async for piece in response.stream:
                    pass
        except kind as error:
            assert isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EMFILE
            assert error.phase == ("read_body" if step == "read" else "write") and error.bytes_sent > 0
        else:
            raise AssertionError("it had a descriptor")
        for descriptor in taken:
            os.close(descriptor)
        if response is not None:
            await response.aclose()
        assert transport._pool.connections == []

    run(backend, go_on)

    async def once_more():
        call = UpToHere(sent())
        while (answer := await call) is None:
            pass
        assert answer.status_code == 200 and await answer.aread() == b"POST /"
        await transport.aclose()

    run(backend, once_more)
    print("reported", flush=True)
"""


@pytest.mark.parametrize("backend_name", BACKENDS)
@pytest.mark.parametrize("traced", ["traced", "plain"])
@pytest.mark.parametrize("step", ["write", "finish", "read"])
def test_continuing_in_another_loop_without_descriptors_is_an_error_that_never_means_unsent(
    serve: Serve, backend_name: str, step: str, traced: str
) -> None:
    if backend_name != "asyncio":
        pytest.importorskip(backend_name)
    result = child.run(_ON_ANOTHER_LOOP, backend_name, step, traced, serve(serve_ok).url)
    assert result.stdout == "reported\n", result.stderr


_HANDED_OVER = """
    import errno, os, resource, sys

    import anyio, anyio.lowlevel, httpcore, httpx
    from fast_litellm import AsyncHTTPTransport, HTTPTransport
    from support.backends import run

    backend, url = sys.argv[1:3]
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    UPGRADE = {"Connection": "Upgrade", "Upgrade": "shout"}

    async def read_as(read):
        await anyio.lowlevel.checkpoint()  # imports what anyio needs on this loop
        taken = []
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError as error:
            assert error.errno == errno.EMFILE
        try:
            await read()
        except httpcore.ReadError as error:
            assert isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EMFILE
        else:
            raise AssertionError("it had a descriptor")
        for descriptor in taken:
            os.close(descriptor)

    async def main():
        async with httpx.AsyncClient(transport=AsyncHTTPTransport()) as client:
            async with client.stream("GET", url, headers=UPGRADE) as response:
                stream = response.extensions["network_stream"]
                await read_as(lambda: stream.read(100, 20))
                await stream.write(b"x")
                assert await stream.read(100, 20) == b"X"

    async def main_of_a_thread():
        with httpx.Client(transport=HTTPTransport()) as client:
            with client.stream("GET", url, headers=UPGRADE) as response:
                stream = response.extensions["network_stream"]

                async def read():
                    stream.read(100, 20)

                await read_as(read)
                stream.write(b"x")
                assert stream.read(100, 20) == b"X"

    run("asyncio" if backend == "thread" else backend, main_of_a_thread if backend == "thread" else main)
    print("reported", flush=True)
"""


@pytest.mark.parametrize("backend_name", [*BACKENDS, "thread"])
def test_a_connection_that_was_handed_over_cannot_be_waited_for_without_descriptors(
    serve: Serve, backend_name: str
) -> None:
    """An error of httpcore's; the connection can be used again once there are descriptors."""

    async def shout(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n")
        while heard := await connection.receive():
            await connection.send(heard.upper())

    if backend_name in ("uvloop", "trio"):
        pytest.importorskip(backend_name)
    result = child.run(_HANDED_OVER, backend_name, serve(shout).url)
    assert result.stdout == "reported\n", result.stderr
