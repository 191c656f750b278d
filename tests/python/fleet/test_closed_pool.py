"""A pool that was closed: the process is no member of the fleet any more, until there is a pool again."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Iterator

import pytest

from fast_litellm import SimpleConnectionPool, fleet
from fleet.counting_server import CountingServer
from fleet.processes import wait_until


@pytest.fixture
def server() -> Iterator[CountingServer]:
    with CountingServer(0.5) as server:
        yield server


@pytest.fixture
def pool(server: CountingServer, sqlite_url: str) -> Iterator[SimpleConnectionPool]:
    fleet.configure({server.origin: 4}, url=sqlite_url)
    pool = SimpleConnectionPool("default")
    yield pool
    fleet.configure({})
    SimpleConnectionPool("default").close()


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the package said; other threads of the process may say something too."""
    return [record.getMessage() for record in caplog.records if record.name == "fast_litellm"]


def threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "fast_litellm fleet"]


def members(url: str) -> int:
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=60)) as file:
        count: int = file.execute("SELECT count(*) FROM member").fetchone()[0]
        return count


def allotment(server: CountingServer) -> int:
    found: int = fleet.get_status()["origins"][server.origin]["allotment"]
    return found


def test_without_a_pool_the_agent_gives_its_room_back_and_ends_its_thread(
    pool: SimpleConnectionPool, server: CountingServer, sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "fast_litellm"):
        wait_until(lambda: allotment(server) > 0, "an allotment", fleet.get_status)
        assert members(sqlite_url) == 1
        member = fleet.get_status()["member"]
        pool.close()
        wait_until(lambda: not threads(), "no thread", fleet.get_status)
        assert members(sqlite_url) == 0
        before = fleet.get_status()
        assert (before["failed_rounds"], before["last_error"]) == (0, "")
        assert allotment(server) == 0

        again = SimpleConnectionPool("default")
        assert again is not pool
        assert again.request(server.origin, "GET", "/", timeout=60.0).content == b"ok"
        assert members(sqlite_url) == 1
        assert fleet.get_status()["member"] != member
    assert logged(caplog) == []


def test_requests_that_are_under_way_on_a_closed_pool_still_count_in_the_fleet(
    pool: SimpleConnectionPool, server: CountingServer, sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    connection = pool.get_connection(server.origin, timeout=60.0)
    assert connection is not None
    pool.close()
    rounds = fleet.get_status()["rounds"]
    wait_until(lambda: fleet.get_status()["rounds"] >= rounds + 2, "two more rounds", fleet.get_status)
    assert fleet.get_status()["origins"][server.origin]["in_use"] == 1
    assert members(sqlite_url) == 1
    assert pool.return_connection(connection)
    wait_until(lambda: not threads(), "no thread", fleet.get_status)
    assert members(sqlite_url) == 0
    assert logged(caplog) == []


def test_a_pool_that_drains_is_limited_until_its_requests_have_ended(
    pool: SimpleConnectionPool, server: CountingServer, sqlite_url: str
) -> None:
    server.seconds = 3.0  # so that the second request begins within the first one's time
    answers: list[bytes] = []
    ask = lambda: answers.append(pool.request(server.origin, "GET", "/", timeout=60.0).content)  # noqa: E731
    wait_until(lambda: allotment(server) >= 2, "an allotment", fleet.get_status)
    callers = [threading.Thread(target=ask) for _ in range(2)]
    for caller in callers:
        caller.start()
    wait_until(lambda: server.most == 2, "two requests are under way", lambda: pool.usage(server.origin))
    assert pool.drain(60.0)
    for caller in callers:
        caller.join(60)
    assert answers == [b"ok"] * 2
    wait_until(lambda: not threads(), "no thread", fleet.get_status)
    assert members(sqlite_url) == 0
