"""Leases that are held too long: found, reported once, with the place where they were taken."""

from __future__ import annotations

import gc
import inspect
import logging
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from fast_litellm import HTTPTransport, SimpleConnectionPool
from peers import child
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok, until

Serve = Callable[..., ScriptedServer]
NewPool = Callable[..., SimpleConnectionPool]

SOON = 0.02


class Reports(logging.Handler):
    """The messages of the package's logger."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        assert record.levelno == logging.WARNING
        self.messages.append(record.getMessage())


@pytest.fixture
def reports() -> Iterator[Reports]:
    handler = Reports()
    logger = logging.getLogger("fast_litellm")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def _one(reports: Reports) -> str:
    until(lambda: bool(reports.messages))
    [message] = reports.messages
    return message


def _place(line: int, function: str) -> str:
    return f"{__file__}:{line} in {function}"


def test_a_lease_held_too_long_is_reported_once_with_the_line_that_took_it(
    new_pool: NewPool, serve: Serve, reports: Reports
) -> None:
    pool = new_pool(leak_after=SOON)
    url = serve(serve_ok).url
    held, line = pool.get_connection(url), _line()
    assert held is not None
    assert pool.health_check(held)
    message = _one(reports)
    assert url in message
    assert held in message
    assert message.endswith(_place(line, inspect.currentframe().f_code.co_name))  # type: ignore[union-attr]
    age = re.search(r"([\d.]+) s ago", message)
    assert age is not None
    assert float(age[1]) >= SOON - 0.05
    assert pool.get_stats()["leaks"] == 1
    # The next lease that is too old is reported; the first one is not reported again.
    other = pool.get_connection(url)
    assert other is not None
    assert pool.health_check(other)
    until(lambda: len(reports.messages) == 2)
    assert other in reports.messages[1]
    assert pool.get_stats()["leaks"] == 2
    for each in (held, other):
        assert pool.return_connection(each) is True
    assert pool.get_stats()["leaks"] == 2


def _line() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_a_lease_block_is_reported_with_the_line_that_entered_it(
    new_pool: NewPool, serve: Serve, reports: Reports
) -> None:
    pool = new_pool(leak_after=SOON)
    with pool.lease(serve(serve_ok).url) as lease:
        line = _line() - 1
        assert lease.health_check()
        assert _one(reports).endswith(_place(line, "test_a_lease_block_is_reported_with_the_line_that_entered_it"))


def test_a_streamed_response_left_open_is_reported_with_the_callers_line(
    new_pool: NewPool, serve: Serve, reports: Reports
) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf")
        await connection.client_closed()

    pool = new_pool(leak_after=SOON)
    with httpx.Client(transport=HTTPTransport(pool=pool)) as client:
        request = client.build_request("GET", serve(script).url)
        response, line = client.send(request, stream=True), _line()
        message = _one(reports)
        assert message.endswith(_place(line, "test_a_streamed_response_left_open_is_reported_with_the_callers_line")), (
            message
        )
        response.close()
    assert pool.open_leases() == 0


def test_a_request_that_takes_too_long_is_reported_while_it_waits(
    new_pool: NewPool, serve: Serve, reports: Reports
) -> None:
    go_on = Gate()

    async def script(connection: Connection) -> None:
        await connection.request()
        await go_on.passed()
        await connection.respond(b"late")

    pool = new_pool(leak_after=SOON)
    url = serve(script).url
    answers = []

    def take() -> None:
        answers.append(pool.request(url, "GET", "/", timeout=20).text)

    thread = threading.Thread(target=take)
    thread.start()
    assert _one(reports).endswith(f"{take.__code__.co_firstlineno + 1} in take")
    go_on.open()
    thread.join(20)
    assert answers == ["late"]


def test_a_lease_returned_in_time_is_not_reported(new_pool: NewPool, serve: Serve, reports: Reports) -> None:
    pool = new_pool(leak_after=SOON)
    url = serve(serve_ok).url
    leaked = pool.get_connection(url)
    for _ in range(50):
        held = pool.get_connection(url)
        assert pool.return_connection(held or "")
        pool.request(url, "GET", "/")
    assert leaked is not None
    assert leaked in _one(reports)  # by then the look for leaks has come to all
    assert pool.remove_connection(leaked) is True
    assert pool.get_stats()["leaks"] == 1


def test_without_leak_after_no_lease_is_reported(new_pool: NewPool, serve: Serve, reports: Reports) -> None:
    watched, unwatched = new_pool(leak_after=SOON), new_pool()
    url = serve(serve_ok).url
    held = [pool.get_connection(url) for pool in (unwatched, watched)]
    for pool, each in zip((unwatched, watched), held, strict=True):
        assert pool.health_check(each or "")
    assert (held[1] or "") in _one(reports)
    assert unwatched.get_stats()["leaks"] == 0
    assert unwatched.return_connection(held[0] or "")
    assert watched.return_connection(held[1] or "")


def test_a_dropped_lease_and_a_dropped_response_return_their_slots(new_pool: NewPool, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf")
        await connection.client_closed()

    pool = new_pool(leak_after=3600)
    server = serve(script)
    lease = pool.lease(server.url).__enter__()
    with httpx.Client(transport=HTTPTransport(pool=pool)) as client:
        response = client.send(client.build_request("GET", server.url), stream=True)
        assert pool.open_leases() == 2
        cycle: list[Any] = [lease, response]
        cycle.append(cycle)
        del lease, response, cycle
        gc.collect()
        assert pool.open_leases() == 0
    server.wait_until(lambda counts: (counts.connections, counts.open) == (1, 0), "the connection close")


def test_a_log_handler_may_use_the_pool(new_pool: NewPool, serve: Serve) -> None:
    pool = new_pool(leak_after=SOON)
    url = serve(serve_ok).url
    seen: list[str] = []

    class Curious(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(pool.request(url, "GET", "/logged").text)
            pool.get_stats()

    curious = Curious()
    logging.getLogger("fast_litellm").addHandler(curious)
    try:
        held = pool.get_connection(url)
        assert pool.health_check(held or "")
        until(lambda: bool(seen))
    finally:
        logging.getLogger("fast_litellm").removeHandler(curious)
    assert seen == ["GET /logged"]
    assert pool.return_connection(held or "")


def test_the_environment_watches_the_pool_default(serve: Serve) -> None:
    program = """
        import sys
        import fast_litellm
        from peers.scripted import until

        held = fast_litellm.get_connection(sys.argv[1])
        assert fast_litellm.health_check_connection(held)
        until(lambda: fast_litellm.get_connection_pool_stats()["leaks"] == 1)
        """
    done = child.run(program, serve(serve_ok).url, environment={"FAST_LITELLM_POOL_LEAK_AFTER": "0.02"})
    assert done.returncode == 0, done.stderr
    assert re.search(r"a connection to \S+ was leased .* <string>:6 in <module>", done.stderr), done.stderr


@pytest.mark.parametrize("reported", [False, True], ids=["at once", "while reports are logged"])
def test_the_interpreter_ends_with_unreported_leaks(serve: Serve, reported: bool) -> None:
    program = f"""
        import logging, sys, threading
        from fast_litellm import SimpleConnectionPool
        from peers.scripted import until

        logging.getLogger("fast_litellm").addHandler(logging.NullHandler())
        pool = SimpleConnectionPool("exit", leak_after=0.0)
        for _ in range(20):
            assert pool.health_check(pool.get_connection(sys.argv[1]))

        def ask():
            while True:
                pool.get_stats()

        if {reported}:
            threading.Thread(target=ask, daemon=True).start()
            until(lambda: pool.get_stats()["leaks"] == 20)
        """
    for _ in range(3):
        _succeeds(child.run(program, serve(serve_ok).url))


def test_a_child_of_a_fork_reports_its_own_leaks(serve: Serve) -> None:
    program = """
        import os, sys
        from fast_litellm import SimpleConnectionPool
        from peers.scripted import until

        pool = SimpleConnectionPool("forked", leak_after=0.02)
        held = pool.get_connection(sys.argv[1])
        assert pool.health_check(held)
        until(lambda: pool.get_stats()["leaks"] == 1)
        child = os.fork()
        if child == 0:
            assert pool.get_stats()["leaks"] == 0
            again = pool.get_connection(sys.argv[1])
            assert pool.health_check(again)
            until(lambda: pool.get_stats()["leaks"] == 1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert pool.get_stats()["leaks"] == 1
        """
    done = child.run(program, serve(serve_ok).url)
    _succeeds(done)
    assert len(re.findall(r"<string>:7 in <module>", done.stderr)) == 1
    assert len(re.findall(r"<string>:13 in <module>", done.stderr)) == 1


def _succeeds(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
