"""A second `configure`, a pool of the caller's own, origins that the pool refuses, and forks of several threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from fast_litellm import SimpleConnectionPool, fleet
from fast_litellm.fleet import process
from fast_litellm.fleet.agent import Agent
from fast_litellm.fleet.bargain import Report
from fast_litellm.fleet.engines.interface import EngineError
from fast_litellm.fleet.engines.opening import open_engine
from fast_litellm.fleet.engines.urls import shown, without_secrets
from fast_litellm.fleet.ledger import Pace
from fast_litellm.fleet.limits import origin_of
from fleet.counted_pool import CountedPool
from fleet.processes import wait_until

ORIGIN, OTHER = "https://api.openai.com", "https://api.anthropic.com"


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    yield
    fleet.configure({})


def test_a_second_configure_opens_no_gate_that_the_new_limits_keep(sqlite_url: str) -> None:
    pool = CountedPool()
    fleet.configure({ORIGIN: 1, OTHER: 1}, url=sqlite_url, pool=pool)
    fleet.configure({ORIGIN: 2}, url=sqlite_url, pool=pool)
    assert (ORIGIN, None) not in pool.calls
    # The new agent's thread may have told the pool of the other origin since.
    assert [call for call in pool.calls if call[0] == OTHER][-1] == (OTHER, None)
    fleet.configure({})
    assert pool.calls[-1] == (ORIGIN, None)


def test_a_pool_of_the_callers_own_stays_the_limited_one(sqlite_url: str) -> None:
    pool = CountedPool()
    fleet.configure({ORIGIN: 4}, url=sqlite_url, pool=pool)
    default = SimpleConnectionPool("default")
    try:
        wait_until(lambda: bool(pool.cap(ORIGIN)), "an allotment", fleet.get_status)
        assert process._agent is not None
        assert not process._agent.limits(default, ORIGIN)
    finally:
        default.close()


class Refusing(CountedPool):
    """Refuses one origin, as the pool refuses a host."""

    def set_max_leases(self, origin: str, n: int | None, *, valid_until: float | None = None) -> None:
        if origin == OTHER:
            raise ValueError("refused")
        super().set_max_leases(origin, n, valid_until=valid_until)


def test_a_pool_that_refuses_an_origin_is_left_without_limits_and_without_an_agent(sqlite_url: str) -> None:
    pool = Refusing()
    with pytest.raises(ValueError, match="refused"):
        fleet.configure({ORIGIN: 4, OTHER: 4}, url=sqlite_url, pool=pool)
    assert pool.cap(ORIGIN) is None
    assert not fleet.get_status()["enabled"]


def wait_for_an_allotment(pool: CountedPool) -> None:
    wait_until(lambda: bool(pool.cap(ORIGIN)), "an allotment", fleet.get_status)


def test_a_second_configure_that_the_pool_refuses_keeps_the_former_limits_in_force(sqlite_url: str) -> None:
    pool = Refusing()
    fleet.configure({ORIGIN: 4}, url=sqlite_url, pool=pool)
    wait_for_an_allotment(pool)
    with pytest.raises(ValueError, match="refused"):
        fleet.configure({ORIGIN: 40, OTHER: 4}, url=sqlite_url, pool=pool)
    # Not for a moment without a limit.
    assert (ORIGIN, None) not in pool.calls
    wait_for_an_allotment(pool)
    assert fleet.get_status()["origins"][ORIGIN]["limit"] == 4
    fleet.configure({})
    assert pool.calls[-1] == (ORIGIN, None)


def test_after_a_refused_configure_of_another_pool_the_first_stays_the_limited_one(sqlite_url: str) -> None:
    pool, other = CountedPool(), Refusing()
    fleet.configure({ORIGIN: 4}, url=sqlite_url, pool=pool)
    wait_for_an_allotment(pool)
    with pytest.raises(ValueError, match="refused"):
        fleet.configure({ORIGIN: 40, OTHER: 4}, url=sqlite_url, pool=other)
    assert other.cap(ORIGIN) is None
    assert (ORIGIN, None) not in pool.calls
    wait_for_an_allotment(pool)


@pytest.mark.parametrize(
    ("url", "error"), [("mysql://host", ValueError), ("sqlite:///relative", ValueError), ("redis://h", ImportError)]
)
def test_a_second_configure_with_an_engine_that_cannot_be_had_changes_nothing(
    url: str, error: type[Exception], sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = CountedPool()
    fleet.configure({ORIGIN: 4}, url=sqlite_url, pool=pool)
    wait_for_an_allotment(pool)
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "fast_litellm.fleet.engines.redis", raising=False)
    calls, member = list(pool.calls), fleet.get_status()["member"]
    with pytest.raises(error):
        fleet.configure({ORIGIN: 40}, url=url, pool=pool)
    assert fleet.get_status()["member"] == member
    assert not {(ORIGIN, 0), (ORIGIN, None)} & set(pool.calls[len(calls) :])


class NoThreads:
    """No thread of an agent can be started any more, as at a limit of the system."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refusals = 0
        self.most = 1_000_000
        start = threading.Thread.start

        def refuse(thread: threading.Thread) -> None:
            if thread.name == "fast_litellm fleet" and self.refusals < self.most:
                self.refusals += 1
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refuse)


def test_where_no_thread_can_be_started_the_former_limit_is_0_and_the_next_configure_works(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = CountedPool()
    fleet.configure({ORIGIN: 4}, url=sqlite_url, pool=pool)
    wait_for_an_allotment(pool)
    threads = NoThreads(monkeypatch)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        fleet.configure({ORIGIN: 40}, url=sqlite_url, pool=pool)
    assert pool.cap(ORIGIN) == 0
    assert (ORIGIN, None) not in pool.calls
    threads.most = 0
    fleet.configure({ORIGIN: 4}, url=sqlite_url, pool=pool)
    wait_for_an_allotment(pool)


def test_a_configure_that_could_start_no_thread_keeps_the_former_limits_if_they_can_have_one(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, other = CountedPool(), CountedPool()
    fleet.configure({ORIGIN: 4}, url=sqlite_url, pool=pool)
    wait_for_an_allotment(pool)
    NoThreads(monkeypatch).most = 1
    with pytest.raises(RuntimeError, match="can't start new thread"):
        fleet.configure({ORIGIN: 40}, url=sqlite_url, pool=other)
    assert other.cap(ORIGIN) is None
    assert (ORIGIN, None) not in pool.calls
    wait_for_an_allotment(pool)
    assert fleet.get_status()["origins"][ORIGIN]["limit"] == 4


def test_a_second_configure_with_a_file_that_cannot_be_opened_lifts_no_limit(sqlite_url: str) -> None:
    """The engine is opened by the first report: the limit is 0 until the process helps itself to its part."""
    pool = CountedPool()
    fleet.configure({ORIGIN: 4}, url=sqlite_url, pool=pool)
    wait_for_an_allotment(pool)
    fleet.configure({ORIGIN: 4}, url="sqlite:////nowhere/at/all/fleet.db", pool=pool)
    wait_until(lambda: fleet.get_status()["failed_rounds"] > 0, "a failed report", fleet.get_status)
    assert pool.cap(ORIGIN) == 0 or fleet.get_status()["times_degraded"]
    assert (ORIGIN, None) not in pool.calls
    assert "/nowhere/at/all" in fleet.get_status()["last_error"]


@pytest.mark.parametrize(
    "host", ["b\u00fccher.example", "a,b", "a b", "h:0", "h:99999", "h:x", "[::1%1]", "[zz::]", "[::1", "a\tb"]
)
def test_an_origin_that_the_pool_refuses_is_refused_before(host: str, sqlite_url: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        fleet.configure({ORIGIN: 4, f"http://{host}": 4}, url=sqlite_url, pool=CountedPool())
    assert not fleet.get_status()["enabled"]


@pytest.mark.parametrize("given", ["http://h:8080", "http://[0:0::1]:1", "http://h:", "http://a_b.c-d", "http://H:080"])
def test_the_pool_takes_every_origin_that_is_accepted(given: str) -> None:
    pool = SimpleConnectionPool("origins")
    try:
        pool.set_max_leases(origin_of(given), 0)
        pool.set_max_leases(origin_of(given), None)
    finally:
        pool.close()


class Faulty:
    """An engine with a fault that is no `EngineError`."""

    shown = "faulty://host"

    def report(self, origin: str, said: Report) -> None:
        raise TypeError("hunter2")

    def leave(self, origin: str, member: str) -> None:
        raise TypeError("hunter2")

    def close(self) -> None: ...

    def abandon(self) -> None: ...


def test_a_fault_of_an_engine_is_a_failed_round() -> None:
    now = [1000.0]
    pool = CountedPool()
    agent = Agent(Faulty(), {ORIGIN: 4}, Pace(), clock=lambda: now[0])  # type: ignore[arg-type]
    agent._start_thread = lambda: None  # type: ignore[method-assign]
    agent.attach(pool)
    for _ in range(8):
        now[0] += 1
        agent.round()
    assert pool.calls[-1] == (ORIGIN, 1)
    status = agent.status()
    assert status["failed_rounds"] == status["rounds"] > 0
    assert status["last_error"] == "faulty://host: TypeError"
    agent.stop()


def test_a_query_that_redis_py_does_not_know_is_an_engines_error() -> None:
    with pytest.raises(EngineError, match="foo"):
        open_engine("redis://127.0.0.1:1?foo=bar", Pace()).report(ORIGIN, Report("m", 1, 0, 0, 0, 4))


@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cret/part@127.0.0.1:1/0",
        "redis://user:s3cret#x@127.0.0.1:1",
        "redis://:s3cret?x@127.0.0.1:1/0",
        "redis+sentinel://:s3cret/y@h:1/m",
        "redis+cluster://:s3cret/y@127.0.0.1:1",
        "redis://:s3cret/0",
        "redis://h?password=a@s3cret",
        "redis://:s3cret@[::1/0",
    ],
)
def test_a_password_that_splits_the_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="%2F for /") as caught:
        open_engine(url, Pace())
    assert "s3cret" not in str(caught.value) + shown(url)


def test_a_password_in_a_query_is_not_shown_however_its_name_is_written() -> None:
    url = "redis://h:1/0?Password=s3cret"
    assert shown(url) == "redis://h:1/0?Password=***"
    assert without_secrets("no s3cret", url) == "no ***"


def test_two_threads_that_fork_at_once_leave_the_agent_free() -> None:
    """The second waits in vain for the first, and its hook must not take away what the first has to give back."""
    agent = Agent(Faulty(), {ORIGIN: 4}, Pace().scaled(0.05))  # type: ignore[arg-type]
    agent.before_fork()
    second = threading.Thread(target=lambda: (agent.before_fork(), agent.after_fork_in_parent()))
    second.start()
    second.join(60)
    agent.after_fork_in_parent()
    free: list[bool] = []
    third = threading.Thread(target=lambda: free.append(agent._lock.acquire(timeout=30.0)))
    third.start()
    third.join(60)
    assert free == [True]
