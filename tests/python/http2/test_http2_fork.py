"""A fork with a live HTTP/2 connection: its streams stay the parent's, the child makes connections of its own, and no
response reaches another request."""

from __future__ import annotations

import json
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from peers import child
from peers.http2_scripted import (
    ClientLeft,
    Http2Peer,
    Http2Request,
    Setting,
    answer_to,
    data,
    headers,
    http2_context,
)
from peers.scripted import Connection, Gate, ScriptedServer
from support.certificates import Certificates
from support.forking import IN_CHILD
from support.http2 import DIRECT_OR_TUNNEL

_PRELUDE = (
    """
    import asyncio, faulthandler, gc, json, multiprocessing, os, signal, sys, threading, httpx
    from fast_litellm import AsyncHTTPTransport, HTTPTransport, SimpleConnectionPool
    from fast_litellm.exceptions import Forked
    url, arguments = sys.argv[1], json.loads(sys.argv[2])
    pool = SimpleConnectionPool("forking", verify=arguments["verify"], http2=True)
    transport = HTTPTransport(pool=pool, http2=True, **arguments)
    client = httpx.Client(transport=transport, timeout=20)
"""
    + IN_CHILD
    + """
    def ask(path, client=client):
        response = client.post(url + path, content=path.encode())
        assert response.http_version == "HTTP/2"
        assert response.text == f"answer to {path} {path}", response.text
        return int(response.headers["x-connection"]), response.extensions["stream_id"]
"""
)


class Peers:
    """A script that answers requests, and keeps what each connection carried and how it ended."""

    def __init__(self) -> None:
        self.of: dict[int, Http2Peer] = {}

    async def __call__(self, connection: Connection) -> None:
        peer = await Http2Peer.begin(connection, {Setting.MAX_CONCURRENT_STREAMS: 100})
        self.of[connection.number] = peer
        try:
            while True:
                request = await peer.request()
                peer.processed(request)
                await self.answer(connection, peer, request)
        except ClientLeft:
            pass

    async def answer(self, connection: Connection, peer: Http2Peer, request: Http2Request) -> None:
        number = ("x-connection", str(connection.number))
        await peer.respond(request, answer_to(request.path, bytes(request.body)), number)

    def streams(self, number: int) -> int:
        return len(self.of[number].streams)


@pytest.fixture
def peers() -> Peers:
    return Peers()


@pytest.fixture
def server(peers: Peers, certificates: Certificates) -> Iterator[ScriptedServer]:
    with ScriptedServer(peers, tls=http2_context(certificates.server)) as server:
        yield server


@pytest.fixture
def run(certificates: Certificates, route: dict[str, Any]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """run(program, server) runs it behind the prelude, to an end without an error."""

    def start(program: str, server: ScriptedServer) -> subprocess.CompletedProcess[str]:
        arguments = json.dumps({"verify": str(certificates.ca_file), **route})
        done = child.run(textwrap.dedent(_PRELUDE) + textwrap.dedent(program), server.url, arguments)
        assert done.returncode == 0, done.stderr
        return done

    return start


Run = Callable[[str, ScriptedServer], subprocess.CompletedProcess[str]]


@DIRECT_OR_TUNNEL
def test_the_child_connects_anew_and_the_parent_goes_on(run: Run, server: ScriptedServer, peers: Peers) -> None:
    run(
        """
        assert ask("/before") == (1, 1)

        def work():
            mine, stream = ask("/child")
            assert mine > 1 and stream == 1
            assert ask("/child/again") == (mine, 3)
            stats = pool.get_stats()
            assert (stats["http2_connections"], stats["total_connections"]) == (1, 1), stats

        for number in range(3):
            in_child(work)
            assert ask(f"/after/{number}") == (1, 3 + 2 * number)
        """,
        server,
    )
    assert [peers.streams(number) for number in (1, 2, 3, 4)] == [4, 2, 2, 2]
    assert server.connections == 1 + 3


def test_processes_of_multiprocessing_go_on_beside_the_parent(run: Run, server: ScriptedServer, peers: Peers) -> None:
    run(
        """
        def work(name):
            with httpx.Client(transport=transport, timeout=20) as mine:
                connections = {ask(f"/{name}/{number}", mine)[0] for number in range(20)}
            assert 1 not in connections and len(connections) == 1, connections

        ask("/before")
        context = multiprocessing.get_context("fork")
        processes = [context.Process(target=work, args=(f"child-{number}",)) for number in range(3)]
        for process in processes:
            process.start()
        assert {ask(f"/parent/{number}")[0] for number in range(20)} == {1}
        for process in processes:
            process.join(100)
            assert process.exitcode == 0, process.exitcode
        """,
        server,
    )
    assert [peers.streams(number) for number in (1, 2, 3, 4)] == [21, 20, 20, 20]


def test_an_open_response_stays_readable_in_the_parent_alone(run: Run, certificates: Certificates) -> None:
    rest = Gate()

    class Halves(Peers):
        async def answer(self, connection: Connection, peer: Http2Peer, request: Http2Request) -> None:
            if request.path == "/rest":
                rest.open()
            if request.path != "/halves":
                return await super().answer(connection, peer, request)
            await peer.send(headers(request.stream, (":status", "200")), data(request.stream, b"ha"))
            await rest.passed()
            await peer.send(data(request.stream, b"lf", end=True))

    peers = Halves()
    with ScriptedServer(peers, tls=http2_context(certificates.server)) as server:
        run(
            """
            with client.stream("GET", url + "/halves") as response:
                pieces = response.iter_raw()
                assert next(pieces) == b"ha"

                def work():
                    try:
                        next(pieces)
                    except Forked:
                        pass
                    else:
                        raise AssertionError("the child read the parent's response")
                    response.close()
                    ask("/rest")

                in_child(work)
                assert b"".join(pieces) == b"lf"
            assert ask("/after")[0] == 1
            """,
            server,
        )
    assert peers.of[1].resets == {}, "the child reset the parent's stream"
    assert peers.streams(1) == 2


def test_a_child_that_exits_the_ordinary_way_says_no_goodbye(run: Run, server: ScriptedServer, peers: Peers) -> None:
    run(
        """
        ask("/before")
        pid = os.fork()
        if pid == 0:
            del client, transport, pool
            gc.collect()
            sys.exit(0)  # atexit hooks, destructors and all
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert ask("/after") == (1, 3)
        """,
        server,
    )
    assert server.connections == 1


def test_forks_while_threads_share_the_connection(run: Run, server: ScriptedServer) -> None:
    """The parent's threads are in the middle of sending and reading, and one of them reads for all."""
    run(
        """
        stop = threading.Event()
        ask("/warm")

        def busy(name):
            with httpx.Client(transport=transport, timeout=20) as mine:
                number = 0
                while not stop.is_set():
                    assert ask(f"/{name}/{number}", mine)[0] == 1
                    number += 1

        threads = [threading.Thread(target=busy, args=(f"thread-{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()

        def work():
            with httpx.Client(transport=transport, timeout=20) as mine:
                assert ask("/child", mine)[0] > 1

        for _ in range(15):
            in_child(work)
        stop.set()
        for thread in threads:
            thread.join()
        """,
        server,
    )
    paths = [request.target for request in server.requests]
    assert len(paths) == len(set(paths)) + 14, "a request was sent twice"
    assert server.connections == 1 + 15


def test_a_fork_within_an_event_loop(run: Run, server: ScriptedServer, peers: Peers) -> None:
    """The parent's tasks wait for responses on the loop's connection; the child runs a loop of its own."""
    run(
        """
        shared = AsyncHTTPTransport(pool=pool, http2=True, **arguments)

        async def ask_all(name):
            mine = httpx.AsyncClient(transport=shared, timeout=20)

            async def one(number):
                path = f"/{name}/{number}"
                response = await mine.post(url + path, content=path.encode())
                assert response.text == f"answer to {path} {path}", response.text
                return int(response.headers["x-connection"])

            asked = [asyncio.create_task(one(number)) for number in range(10)]
            if name == "parent":
                await asyncio.sleep(0)
                in_child(lambda: threaded(ask_all, "child"))
            return set(await asyncio.gather(*asked))

        def threaded(work, *arguments):
            # A thread of its own: this one is within the parent's loop.
            got = []
            thread = threading.Thread(target=lambda: got.append(asyncio.run(work(*arguments))))
            thread.start()
            thread.join()
            assert got and 1 not in got[0], got

        assert asyncio.run(ask_all("warm")) == {1}
        assert asyncio.run(ask_all("parent")) == {1}
        """,
        server,
    )
    assert [peers.streams(number) for number in (1, 2)] == [20, 10]
