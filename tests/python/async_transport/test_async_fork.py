"""A fork with a loop running: the child makes its own loop and its own connections, the parent keeps its own."""

from __future__ import annotations

import subprocess
import textwrap
from collections.abc import Callable

import pytest

from async_transport.conftest import STOCK
from peers import child
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok
from support.backends import ASYNCIO_BACKENDS
from support.certificates import Certificates
from support.forking import IN_CHILD

Serve = Callable[..., ScriptedServer]

pytestmark = pytest.mark.skipif(STOCK, reason="case: httpx shares its sockets with the child")

_PRELUDE = (
    """
    import asyncio, faulthandler, gc, os, signal, sys, warnings, httpx
    from fast_litellm import AsyncHTTPTransport, HTTPTransport, SimpleConnectionPool
    from fast_litellm.exceptions import Forked
    from support.backends import run

    # From 3.12 on Python warns of any fork beside threads, and the pool has one.
    warnings.filterwarnings("ignore", ".*use of fork", DeprecationWarning)
    backend, url, ca_file = sys.argv[1:4]
    pool = SimpleConnectionPool("forking", verify=ca_file)
    client = httpx.AsyncClient(transport=AsyncHTTPTransport(verify=ca_file, pool=pool), timeout=20)

    async def get(path):
        return (await client.get(url + path)).text
"""
    + IN_CHILD
    + """
    def in_child_of_a_loop(work):
        def without_the_loop():
            asyncio._set_running_loop(None)  # up to 3.11 it looks at the process id, from 3.12 it is done at fork
            work()

        in_child(without_the_loop)
"""
)


def _run(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = child.run(textwrap.dedent(_PRELUDE) + textwrap.dedent(text), *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done


@pytest.fixture(params=ASYNCIO_BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "uvloop":
        pytest.importorskip("uvloop")
    return name


@pytest.fixture(params=["plain", "tls"])
def server(request: pytest.FixtureRequest, serve: Serve, certificates: Certificates) -> ScriptedServer:
    return serve(serve_ok, tls=certificates.server if request.param == "tls" else None)


def test_a_child_of_a_running_loop_runs_its_own(
    server: ScriptedServer, certificates: Certificates, backend: str
) -> None:
    _run(
        """
        async def main():
            assert await get("/before") == "GET /before"
            for _ in range(2):
                in_child_of_a_loop(lambda: run("asyncio", lambda: at_home()))
                assert await get("/after") == "GET /after"

        async def at_home():
            assert await get("/child") == "GET /child"
            assert await get("/child") == "GET /child"
            await client.aclose()

        run(backend, main)
        """,
        backend,
        server.url,
        str(certificates.ca_file),
    )
    assert server.connections == 1 + 2
    assert len(server.requests) == 1 + 2 * (2 + 1)


def test_requests_in_flight_at_a_fork_stay_the_parents(serve: Serve, certificates: Certificates, backend: str) -> None:
    answer = Gate()

    async def script(connection: Connection) -> None:
        while True:
            request = await connection.request()
            if request.target == "/child":
                answer.open()
            else:
                await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")
                await answer.passed()
            await connection.send(b"body" if request.target != "/child" else b"HTTP/1.1 204 None\r\n\r\n")

    server = serve(script)
    _run(
        """
        async def main():
            tasks = [asyncio.ensure_future(get("/parent")) for _ in range(3)]
            response = await client.send(client.build_request("GET", url + "/stream"), stream=True)
            while pool.open_leases() < 4:
                await asyncio.sleep(0.001)

            async def at_home():
                try:
                    await response.aread()
                except (Forked, httpx.TransportError):
                    pass
                else:
                    raise AssertionError("the child read the parent's response")
                await response.aclose()
                await client.get(url + "/child")

            in_child_of_a_loop(lambda: run("asyncio", at_home))
            assert await asyncio.wait_for(asyncio.gather(*tasks), 20) == ["body"] * 3
            assert await response.aread() == b"body"
            assert pool.open_leases() == 0

        run(backend, main)
        """,
        backend,
        server.url,
        str(certificates.ca_file),
    )
    assert sorted(request.target for request in server.requests) == ["/child", *["/parent"] * 3, "/stream"]


def test_a_sync_client_in_the_child_of_a_running_loop_works(
    server: ScriptedServer, certificates: Certificates, backend: str
) -> None:
    _run(
        """
        def work():
            with httpx.Client(transport=HTTPTransport(verify=ca_file, pool=pool)) as synchronous:
                assert synchronous.get(url + "/child").text == "GET /child"

        async def main():
            await get("/before")
            in_child_of_a_loop(work)
            assert await get("/after") == "GET /after"

        run(backend, main)
        """,
        backend,
        server.url,
        str(certificates.ca_file),
    )
    assert server.connections == 2


def test_a_child_that_exits_the_ordinary_way_sends_nothing_to_the_parents_peer(
    server: ScriptedServer, certificates: Certificates, backend: str
) -> None:
    _run(
        """
        async def main():
            await get("/before")
            pid = os.fork()
            if pid == 0:
                os.close(2)  # what a loop says that is torn down in the middle is not the matter
                os.open(os.devnull, os.O_WRONLY)
                sys.exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            assert (await client.post(url + "/after", content=b"x")).text == "POST /after"

        run(backend, main)
        """,
        backend,
        server.url,
        str(certificates.ca_file),
    )
    assert server.connections == 1
