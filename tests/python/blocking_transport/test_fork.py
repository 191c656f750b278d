"""A fork with warm connections: the child makes its own, the parent keeps its own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from peers import child
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok
from support.certificates import Certificates
from support.forking import IN_CHILD

Serve = Callable[..., ScriptedServer]

_PRELUDE = (
    """
    import faulthandler, gc, os, signal, sys, threading, httpx
    from fast_litellm import HTTPTransport, SimpleConnectionPool
    from fast_litellm.exceptions import Forked
    url, ca_file = sys.argv[1], sys.argv[2]
    pool = SimpleConnectionPool("forking", verify=ca_file)
    transport = HTTPTransport(verify=ca_file, pool=pool)
    client = httpx.Client(transport=transport, timeout=20)
"""
    + IN_CHILD
)


def _program(text: str) -> str:
    import textwrap

    return textwrap.dedent(_PRELUDE) + textwrap.dedent(text)


def _run(
    text: str, server: ScriptedServer, certificates: Certificates, *arguments: str
) -> subprocess.CompletedProcess[str]:
    done = child.run(_program(text), server.url, str(certificates.ca_file), *arguments)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(params=["plain", "tls"])
def server(request: pytest.FixtureRequest, serve: Serve, certificates: Certificates) -> ScriptedServer:
    return serve(serve_ok, tls=certificates.server if request.param == "tls" else None)


def test_the_child_makes_its_own_connections_and_the_parent_keeps_its_own(
    server: ScriptedServer, certificates: Certificates
) -> None:
    _run(
        """
        assert client.get(url + "/before").text == "GET /before"

        def work():
            assert client.get(url + "/child").text == "GET /child"
            assert pool.get_stats()["total_connections"] == 1
            client.close()

        for _ in range(3):
            in_child(work)
            assert client.get(url + "/after").text == "GET /after"
        """,
        server,
        certificates,
    )
    assert server.connections == 1 + 3
    assert len(server.requests) == 1 + 3 + 3


def test_a_child_that_exits_the_ordinary_way_sends_nothing_to_the_parents_peer(
    server: ScriptedServer, certificates: Certificates
) -> None:
    _run(
        """
        client.get(url + "/before")
        pid = os.fork()
        if pid == 0:
            del client, pool
            gc.collect()
            sys.exit(0)  # atexit hooks, destructors and all
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert client.post(url + "/after", content=b"x").text == "POST /after"
        """,
        server,
        certificates,
    )
    assert server.connections == 1


def test_an_open_response_of_the_parent_stays_readable_in_the_parent(serve: Serve, certificates: Certificates) -> None:
    rest = Gate()

    async def script(connection: Connection) -> None:
        request = await connection.request()
        if request.target == "/rest":
            rest.open()
            await connection.respond(b"")
        else:
            await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha")
            await rest.passed()
            await connection.send(b"lf")
            await connection.client_closed()

    _run(
        """
        with client.stream("GET", url) as response:
            pieces = response.iter_raw()
            assert next(pieces) == b"ha"
            held = pool.get_connection(url)

            def work():
                try:
                    next(pieces)
                except Forked:
                    pass
                else:
                    raise AssertionError("the child read the parent's response")
                response.close()
                assert pool.return_connection(held) is False
                client.get(url + "/rest")

            in_child(work)
            assert next(pieces) == b"lf"
            assert pool.return_connection(held) is True
        """,
        serve(script),
        certificates,
    )


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_the_parents_idle_watch_still_works_after_a_fork(serve: Serve, certificates: Certificates, tls: bool) -> None:
    leave = Gate()

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.respond(b"ok")
        await leave.passed()
        connection.hang_up()

    server = serve(script, tls=certificates.server if tls else None)
    program = _program(
        """
        client.get(url)
        in_child(lambda: pool.get_stats())
        in_child(lambda: client.get(url))
        assert pool.get_stats()["idle_connections"] == 1
        print("forked", flush=True)
        import time
        while pool.get_stats()["idle_connections"]:
            time.sleep(0.01)  # the test's patience ends this if the watch is dead
        assert pool.get_stats()["peer_closed"] == 1
        print("noticed", flush=True)
        """
    )
    with child.running(program, server.url, str(certificates.ca_file)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "forked\n", process.stderr.read()
        leave.open()
        out, err = process.communicate(timeout=child.PATIENCE)
    assert out == "noticed\n", err


_FORKS_BESIDE_THREADS = """
    stop = threading.Event()
    headers = {"connection": sys.argv[3]}

    def work():
        while not stop.is_set():
            assert client.get(url + "/busy", headers=headers).text == "GET /busy"

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()

    def in_the_child():
        # Its own client on the parent's transport: a thread may have held the lock of the other one's cookie jar.
        with httpx.Client(transport=transport, timeout=20) as mine:
            assert mine.get(url + "/child").text == "GET /child"

    for _ in range(int(sys.argv[4])):
        in_child(in_the_child)
    stop.set()
    for thread in threads:
        thread.join()
"""


def test_a_fork_while_threads_use_the_pool_causes_no_deadlock(
    server: ScriptedServer, certificates: Certificates
) -> None:
    _run(_FORKS_BESIDE_THREADS, server, certificates, "keep-alive", "20")


def test_a_fork_during_tls_handshakes_leaves_no_lock_of_openssl_in_the_child(
    serve: Serve, certificates: Certificates
) -> None:
    _run(_FORKS_BESIDE_THREADS, serve(serve_ok, tls=certificates.server), certificates, "close", "60")


def test_a_grandchild_works_too(server: ScriptedServer, certificates: Certificates) -> None:
    _run(
        """
        client.get(url)

        def grandchild():
            assert client.get(url + "/grandchild").text == "GET /grandchild"

        def work():
            assert client.get(url + "/child").text == "GET /child"
            in_child(grandchild)
            assert client.get(url + "/child").text == "GET /child"

        in_child(work)
        """,
        server,
        certificates,
    )
    assert server.connections == 3
