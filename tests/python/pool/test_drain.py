"""The graceful end of a pool."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from fast_litellm import HTTPTransport, SimpleConnectionPool
from fast_litellm.exceptions import PoolClosed
from peers import child
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok, until

Serve = Callable[..., ScriptedServer]
NewPool = Callable[..., SimpleConnectionPool]


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as made:
        yield made


def test_a_pool_without_leases_drains_at_once(new_pool: NewPool, serve: Serve) -> None:
    pool = new_pool()
    server = serve(serve_ok)
    pool.request(server.url, "GET", "/")
    assert pool.drain() is True
    assert pool.closed
    assert pool.drain(0) is True
    server.wait_until(lambda counts: counts.open == 0, "the idle connection close")
    with pytest.raises(PoolClosed):
        pool.get_connection(server.url)
    stats = pool.get_stats()
    assert (stats["total_connections"], stats["draining"], stats["closed"]) == (0, True, True)


def test_a_request_under_way_is_finished_and_new_ones_are_refused(
    new_pool: NewPool, serve: Serve, threads: ThreadPoolExecutor
) -> None:
    go_on = Gate()

    async def script(connection: Connection) -> None:
        await connection.request()
        await go_on.passed()
        await connection.respond(b"late")
        await connection.client_closed()

    pool = new_pool()
    server = serve(script)
    request = threads.submit(pool.request, server.url, "GET", "/", timeout=20)
    server.wait_until(lambda counts: len(counts.requests) == 1, "the request")
    draining = threads.submit(pool.drain, 20)
    until(lambda: pool.get_stats()["draining"])
    assert not pool.closed
    assert not draining.done()
    with pytest.raises(PoolClosed):
        pool.request(server.url, "GET", "/")
    with pytest.raises(PoolClosed):
        pool.get_connection(server.url)
    with pytest.raises(PoolClosed):
        pool.warm(server.url, 1)
    go_on.open()
    assert request.result(20).text == "late"
    assert draining.result(20) is True
    assert pool.closed
    server.wait_until(lambda counts: (counts.connections, counts.open) == (1, 0), "the connection close")


def test_queued_callers_are_still_served(new_pool: NewPool, serve: Serve, threads: ThreadPoolExecutor) -> None:
    pool = new_pool(max_connections_per_endpoint=1)
    server = serve(serve_ok)
    held = pool.get_connection(server.url)
    assert held is not None
    queued = threads.submit(pool.request, server.url, "GET", "/queued", timeout=20)
    until(lambda: pool.get_stats()["waiters"] == 1)
    draining = threads.submit(pool.drain, 20)
    until(lambda: pool.get_stats()["draining"])
    assert pool.return_connection(held) is True
    assert queued.result(20).text == "GET /queued"
    assert draining.result(20) is True


def test_a_drain_ends_at_its_timeout_if_a_lease_is_never_returned(new_pool: NewPool, serve: Serve) -> None:
    pool = new_pool()
    server = serve(serve_ok)
    held = pool.get_connection(server.url)
    assert held is not None
    assert pool.health_check(held)
    assert pool.drain(0.05) is False
    assert pool.closed
    assert pool.open_leases() == 1
    assert pool.return_connection(held) is True
    assert pool.open_leases() == 0
    server.wait_until(lambda counts: (counts.connections, counts.open) == (1, 0), "the connection close")


def test_without_a_limit_it_waits_for_the_last_lease(
    new_pool: NewPool, serve: Serve, threads: ThreadPoolExecutor
) -> None:
    pool = new_pool()
    with pool.lease(serve(serve_ok).url) as lease:
        draining = threads.submit(pool.drain, None)
        until(lambda: pool.get_stats()["draining"])
        assert lease.request("GET", "/").text == "GET /"  # an open lease may continue
        assert not draining.done()
    assert draining.result(20) is True


def test_close_ends_a_drain(new_pool: NewPool, serve: Serve, threads: ThreadPoolExecutor) -> None:
    pool = new_pool()
    held = pool.get_connection(serve(serve_ok).url)
    assert held is not None
    draining = threads.submit(pool.drain, None)
    until(lambda: pool.get_stats()["draining"])
    pool.close()
    pool.return_connection(held)
    draining.result(20)
    assert pool.closed


def test_a_streamed_response_is_read_to_its_end(new_pool: NewPool, serve: Serve, threads: ThreadPoolExecutor) -> None:
    go_on = Gate()

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf")
        await go_on.passed()
        await connection.send(b"half")
        await connection.client_closed()

    pool = new_pool()
    server = serve(script)
    with httpx.Client(transport=HTTPTransport(pool=pool)) as client:
        with client.stream("GET", server.url) as response:
            draining = threads.submit(pool.drain, 20)
            until(lambda: pool.get_stats()["draining"])
            with pytest.raises(PoolClosed):
                client.get(server.url)
            go_on.open()
            assert response.read() == b"halfhalf"
        assert draining.result(20) is True


def test_its_name_is_free_from_the_start(serve: Serve, threads: ThreadPoolExecutor) -> None:
    name = f"drained-{uuid.uuid4()}"
    pool = SimpleConnectionPool(name)
    held = pool.get_connection(serve(serve_ok).url)
    draining = threads.submit(pool.drain, 20)
    until(lambda: pool.get_stats()["draining"])
    other = SimpleConnectionPool(name)
    assert other is not pool
    assert other.drain(0) is True
    assert pool.return_connection(held or "")
    assert draining.result(20) is True


def test_after_a_drain_the_functions_use_a_new_pool_default(serve: Serve) -> None:
    program = """
        import sys
        import fast_litellm
        from fast_litellm import SimpleConnectionPool

        first = SimpleConnectionPool()
        assert fast_litellm.return_connection(fast_litellm.get_connection(sys.argv[1]))
        assert first.drain(20) is True
        held = fast_litellm.get_connection(sys.argv[1])
        assert held is not None
        assert SimpleConnectionPool() is not first
        assert fast_litellm.return_connection(held) is True
        """
    _succeeds(child.run(program, serve(serve_ok).url))


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_wrong_timeout_is_refused_and_nothing_drains(new_pool: NewPool, timeout: float) -> None:
    pool = new_pool()
    with pytest.raises(ValueError, match="timeout must be None or a number of seconds >= 0"):
        pool.drain(timeout)
    wrong: Any = "soon"
    with pytest.raises(TypeError):
        pool.drain(wrong)
    assert not pool.get_stats()["draining"]
    assert SimpleConnectionPool(pool.name) is pool


def test_a_child_of_a_fork_is_not_drained_with_its_parent(serve: Serve) -> None:
    program = """
        import os, sys
        from fast_litellm import SimpleConnectionPool

        url = sys.argv[1]
        pool = SimpleConnectionPool("forked", leak_after=0.05)
        held = pool.get_connection(url)
        assert pool.health_check(held)
        child = os.fork()
        if child == 0:
            assert not pool.return_connection(held)
            again = pool.get_connection(url)
            assert pool.health_check(again)
            assert not pool.drain(0)
            assert pool.return_connection(again)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert not pool.get_stats()["draining"]
        assert pool.return_connection(held)
        assert pool.drain()
        """
    _succeeds(child.run(program, serve(serve_ok).url))


def test_the_interpreter_ends_while_a_thread_drains() -> None:
    program = """
        import threading
        from fast_litellm import SimpleConnectionPool
        from peers.scripted import until

        pool = SimpleConnectionPool("exit")
        held = pool.get_connection("http://127.0.0.1:1")
        threading.Thread(target=pool.drain, args=(None,), daemon=True).start()
        until(lambda: pool.get_stats()["draining"])
        """
    for python in child.pythons():
        _succeeds(child.run(program, python=python))


def test_ctrl_c_ends_the_wait_and_the_pool() -> None:
    program = """
        import os, signal, threading
        from fast_litellm import SimpleConnectionPool
        from peers.scripted import until

        pool = SimpleConnectionPool("interrupted")
        held = pool.get_connection("http://127.0.0.1:1")

        def interrupt():
            until(lambda: pool.get_stats()["draining"])
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        try:
            pool.drain(None)
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("it went on")
        assert pool.closed
        assert pool.return_connection(held)
        """
    _succeeds(child.run(program))


def _succeeds(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
