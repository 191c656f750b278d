"""The agent: reports in time, applies answers, and helps itself to no more than its part without an engine."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest

from fast_litellm.fleet.agent import Agent
from fast_litellm.fleet.bargain import Report
from fast_litellm.fleet.engines.interface import EngineError
from fast_litellm.fleet.engines.opening import open_engine
from fast_litellm.fleet.ledger import Allotment, Ledger, Pace
from fast_litellm.fleet.rounds import Standing, degraded_cap, is_due
from fleet import processes
from fleet.counted_pool import CountedPool

ORIGIN = "https://api.openai.com"
wait_until = partial(processes.wait_until, patience=120.0)
PACE = Pace()
FAST = PACE.scaled(0.1)


class ScriptedEngine:
    """A ledger that the test can take away, or replace the answers of. For what a real engine cannot be made to do."""

    shown = "scripted://"

    def __init__(self, clock: Callable[[], float]) -> None:
        self.ledger = Ledger(PACE, run="1")
        self.clock = clock
        self.gone = False
        self.takes = 0.0
        self.answer: Allotment | None = None
        self.reports: list[Report] = []
        self.left: list[str] = []
        self.pass_time: Callable[[float], None] = lambda seconds: None

    def report(self, origin: str, said: Report) -> Allotment:
        self.reports.append(said)
        self.pass_time(self.takes)
        if self.gone:
            raise EngineError("scripted:// is gone")
        return self.answer or self.ledger.report(said, self.clock(), "1")

    def leave(self, origin: str, member: str) -> None:
        self.left.append(member)

    def close(self) -> None: ...

    def abandon(self) -> None: ...


class Setting:
    """An agent whose thread does not run: the test makes the rounds, and time."""

    def __init__(self, limit: int = 40, origins: tuple[str, ...] = (ORIGIN,)) -> None:
        self.now = 1000.0
        self.engine = ScriptedEngine(lambda: self.now)
        self.engine.pass_time = self.pass_time
        self.pool = CountedPool()
        self.agent = Agent(self.engine, dict.fromkeys(origins, limit), PACE, clock=lambda: self.now)
        self.agent._start_thread = lambda: None  # type: ignore[method-assign]
        self.agent.attach(self.pool)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def round(self, passes: float = 1.0) -> None:
        self.now += passes
        self.agent.round()

    def wait_for_leases(self, callers: int) -> None:
        """As many callers that never get one."""
        self.pool._queues[ORIGIN] = [object()] * callers

    @property
    def cap(self) -> int | None:
        return self.pool.calls[-1][1]


def test_an_attached_pool_admits_nothing_before_the_engine_answered() -> None:
    setting = Setting()
    assert setting.cap == 0
    setting.round()
    assert setting.cap == 20


def test_the_pool_is_told_until_when_an_allotment_holds() -> None:
    """Not for how long: the process may be stopped before the pool looks at its clock."""
    setting = Setting()
    assert setting.pool._most[ORIGIN] == (0, float("inf"))
    setting.engine.takes = 0.5
    setting.round()
    assert setting.pool._most[ORIGIN] == (20, pytest.approx(setting.now - 0.5 + PACE.ttl))
    setting.engine.answer = Allotment(0, 1, 40, True)
    setting.round()
    assert setting.pool._most[ORIGIN] == (0, pytest.approx(setting.agent._standings[ORIGIN].deadline))
    setting.agent.stop()
    assert setting.pool._most[ORIGIN] == (0, float("inf"))


def test_what_an_engine_says_is_clamped_to_the_own_limit() -> None:
    setting = Setting()
    for said, meant in ((10_000, 40), (-5, 0)):
        setting.engine.answer = Allotment(said, 1, 40, True)
        setting.round()
        assert setting.cap == meant


def test_without_the_engine_the_last_allotment_stays_for_a_ttl_and_then_a_part_of_the_limit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    setting = Setting()
    setting.engine.answer = Allotment(17, 4, 40, True)
    setting.round()
    setting.engine.gone = True
    calls = len(setting.pool.calls)
    with caplog.at_level(logging.WARNING, "fast_litellm"):
        for _ in range(4):
            setting.round()
        # Within the TTL the allotment is left alone, until it may lapse during the next report.
        assert [n for _, n in setting.pool.calls[calls:]] == []
        for _ in range(10):
            setting.round()
    assert setting.cap == 10
    assert setting.agent.status()["origins"][ORIGIN]["degraded"]
    assert setting.agent.status()["times_degraded"] == 1
    messages = [record.message for record in caplog.records if record.name == "fast_litellm"]
    assert ["allows itself 10 of the 40 leases" in message for message in messages] == [True]

    setting.engine.gone, setting.engine.answer = False, None
    setting.round()
    assert not setting.agent.status()["origins"][ORIGIN]["degraded"]
    assert setting.engine.reports[-1].degraded


def test_a_member_that_never_had_an_answer_allows_itself_one_lease() -> None:
    setting = Setting()
    setting.engine.gone = True
    for _ in range(4):
        setting.round()
        assert setting.cap == 0
    for _ in range(3):
        setting.round()
    assert setting.cap == 1


def test_a_process_that_was_stopped_asks_before_it_helps_itself() -> None:
    setting = Setting()
    setting.engine.answer = Allotment(17, 4, 40, True)
    setting.round()
    # Stopped for 20 s within a round: its answer comes too late to be used, and is asked for again.
    setting.engine.takes = 20.0
    setting.round()
    assert setting.agent.status()["origins"][ORIGIN]["allotment"] == 0
    setting.engine.takes = 0.0
    setting.round(0.1)
    assert setting.engine.reports[-1].held == 0
    assert setting.cap == 17
    # The same, and the round fails when the process goes on.
    setting.engine.takes, setting.engine.gone = 20.0, True
    setting.round()
    setting.engine.takes, setting.engine.gone = 0.0, False
    assert not setting.agent.status()["origins"][ORIGIN]["degraded"]


def test_an_allotment_that_may_lapse_during_a_report_is_ended_first() -> None:
    setting = Setting()
    setting.engine.answer = Allotment(17, 4, 40, True)
    setting.round()
    setting.engine.gone = True
    for _ in range(4):
        setting.round()
    setting.round(0.5)
    assert setting.engine.reports[-1].held == 0
    assert setting.cap == 0


def test_a_gone_engine_is_asked_once_a_round_and_not_once_for_each_origin() -> None:
    origins = tuple(f"http://origin-{n}" for n in range(10))
    setting = Setting(origins=origins)
    setting.engine.gone = True
    setting.round()
    assert len(setting.engine.reports) == 1
    for _ in range(12):
        setting.round()
    caps = dict(setting.pool.calls)
    assert caps == dict.fromkeys(origins, 1)


def test_stopping_gives_the_room_back_and_admits_nothing_more() -> None:
    setting = Setting()
    setting.round()
    setting.agent.stop()
    assert setting.engine.left == [setting.engine.reports[-1].member]
    assert setting.cap == 0
    setting.round()
    assert setting.cap == 0


def test_leases_in_use_keep_their_room_when_the_agent_stops() -> None:
    setting = Setting()
    setting.round()
    setting.agent.stop()
    other = Setting()
    other.round()
    other.pool._most[ORIGIN] = (20, float("inf"))
    with other.pool.lease(ORIGIN):
        other.agent.stop()
    assert other.engine.left == []


def test_a_second_pool_takes_the_place_of_the_first_whose_leases_still_count() -> None:
    setting = Setting()
    setting.round()
    setting.pool._most[ORIGIN] = (20, float("inf"))
    setting.pool.take(ORIGIN)
    second = CountedPool()
    setting.agent.attach(second)
    assert setting.cap == 0
    setting.round()
    assert setting.engine.reports[-1].in_use == 1
    assert second.calls[-1][1]


@pytest.mark.parametrize(
    ("standing", "in_use", "waiting", "since", "due"),
    [
        (Standing(40, tried=0.0), 0, 0, 1.0, True),
        (Standing(40, tried=0.0), 0, 0, 0.9, False),
        (Standing(40, tried=0.0), 0, 1, 0.1, True),
        (Standing(40, tried=0.0), 0, 1, 0.05, False),
        (Standing(40, tried=0.0, waiting=5, content=True), 10, 5, 0.5, False),
        (Standing(40, tried=0.0, waiting=5, content=False), 10, 5, 0.1, True),
        (Standing(40, tried=0.0, in_use=20, cap=10), 15, 0, 0.1, True),
        (Standing(40, tried=0.0, in_use=20, cap=20), 15, 0, 0.1, False),
        (Standing(40, tried=0.0, failed=True), 0, 5, 0.1, False),
    ],
)
def test_a_member_reports_sooner_if_that_may_bring_it_or_others_room(
    standing: Standing, in_use: int, waiting: int, since: float, due: bool
) -> None:
    assert is_due(standing, in_use, waiting, since, PACE) is due


def test_a_waiting_member_wakes_for_its_heartbeat_only_if_more_reports_gain_nothing() -> None:
    setting = Setting(limit=8)
    setting.engine.answer = Allotment(4, 2, 8, True)
    setting.wait_for_leases(1)
    setting.round()
    setting.round(0.1)
    assert setting.agent._pause == pytest.approx(PACE.heartbeat - 0.1)
    reports = len(setting.engine.reports)
    for _ in range(8):
        setting.round(0.1)
    assert len(setting.engine.reports) == reports
    setting.round(0.1)
    assert len(setting.engine.reports) == reports + 1


def test_reports_that_change_nothing_become_fewer_and_a_change_of_the_answer_makes_them_frequent_again() -> None:
    setting = Setting(limit=8)
    setting.engine.answer = Allotment(0, 2, 8, False)
    setting.wait_for_leases(4)
    for _ in range(31):
        setting.round()
    assert setting.agent._pause == pytest.approx(0.5)
    reports = len(setting.engine.reports)
    setting.round(0.45)
    assert len(setting.engine.reports) == reports
    setting.round(0.06)
    assert len(setting.engine.reports) == reports + 1
    setting.engine.answer = Allotment(1, 2, 8, False)
    setting.round(0.51)
    assert setting.agent._pause == PACE.quick
    setting.round(0.11)
    assert len(setting.engine.reports) == reports + 3


def test_a_second_pool_does_not_wait_for_the_end_of_a_pause() -> None:
    engine = ScriptedEngine(time.monotonic)
    engine.answer = Allotment(4, 1, 4, True)
    pace = dataclasses.replace(PACE, heartbeat=60.0, idle=60.0, ttl=600.0)
    agent, first, second = Agent(engine, {ORIGIN: 4}, pace), CountedPool(), CountedPool()
    agent.attach(first)
    try:
        wait_until(lambda: agent._pause == pace.idle, "a long pause")
        agent.attach(second)
        wait_until(lambda: second.cap(ORIGIN) == 4, "the second pool's allotment")
    finally:
        agent.stop()


@pytest.mark.parametrize(("members", "limit", "cap"), [(4, 40, 10), (3, 40, 13), (100, 40, 1), (0, 40, 1), (1, 40, 40)])
def test_the_part_without_an_engine_is_that_of_the_members_last_known(members: int, limit: int, cap: int) -> None:
    assert degraded_cap(Standing(limit, members=members), 10.0, 11.0, PACE) == cap


@contextmanager
def agents(url: str, count: int, limit: int) -> Iterator[list[tuple[Agent, CountedPool]]]:
    """Real agents with their threads, on one engine, with the usual times: on a busy machine threads wait for as long
    as the short ones are, and a member that does not report in time is none."""
    with ExitStack() as stack:
        made = []
        for _ in range(count):
            agent, pool = Agent(open_engine(url, PACE), {ORIGIN: limit}, PACE), CountedPool()
            stack.callback(agent.stop)
            agent.attach(pool)
            made.append((agent, pool))
        yield made


def test_agents_on_a_real_engine_share_the_limit_and_take_over_what_one_gives_back(engine_url: str) -> None:
    with agents(engine_url, 3, 12) as made:
        done = threading.Event()
        most = [0]
        in_use, guard = [0], threading.Lock()

        def work(pool: CountedPool) -> None:
            while not done.is_set():
                try:
                    pool.take(ORIGIN, 1.0)
                except TimeoutError:
                    continue
                with guard:
                    in_use[0] += 1
                    most[0] = max(most[0], in_use[0])
                time.sleep(0.01)
                with guard:
                    in_use[0] -= 1
                pool.give_back(ORIGIN)

        threads = [threading.Thread(target=work, args=(pool,), daemon=True) for _, pool in made for _ in range(16)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: all(pool.cap(ORIGIN) == 4 for _, pool in made), "4 each")
            made[0][0].stop()
            wait_until(lambda: sum(pool.cap(ORIGIN) or 0 for _, pool in made[1:]) == 12, "the rest for two")
        finally:
            done.set()
            for thread in threads:
                thread.join(60)
        assert 0 < most[0] <= 12


def test_the_child_of_a_fork_is_a_member_of_its_own(engine_url: str) -> None:
    with agents(engine_url, 1, 10) as ((agent, pool),):
        wait_until(lambda: bool(pool.cap(ORIGIN)), "the parent's allotment")
        read, write = os.pipe()
        agent.before_fork()
        child = os.fork()
        if child == 0:
            signal.alarm(180)  # if it hangs
            try:
                pool.forked()
                agent._lock._at_fork_reinit()
                calls = len(pool.calls)
                agent.after_fork()
                first = pool.calls[calls][1]
                wait_until(lambda: bool(pool.cap(ORIGIN)), "the child's allotment")
                wait_until(lambda: agent.status()["origins"][ORIGIN]["members"] == 2, "both are members")
                os.write(write, f"{first} {agent.status()['member']}".encode())
                agent.stop()
            finally:
                os._exit(0)
        agent.after_fork_in_parent()
        os.close(write)
        with open(read) as answers:
            text = answers.read()
        os.waitpid(child, 0)
        first, member = text.split()
        assert first == "0"
        assert member != agent.status()["member"]
        wait_until(lambda: agent.status()["origins"][ORIGIN]["members"] == 1, "the child left")


def test_a_fault_in_a_round_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(CountedPool):
        faults = 3

        def usage(self, origin: str) -> tuple[int, int]:
            if self.faults:
                self.faults -= 1
                raise RuntimeError("a fault")
            return super().usage(origin)

    engine = ScriptedEngine(time.monotonic)
    agent, pool = Agent(engine, {ORIGIN: 4}, FAST), Faulty()
    agent.attach(pool)
    try:
        wait_until(lambda: bool(pool.cap(ORIGIN)), "an allotment")
    finally:
        agent.stop()
    assert "a round failed unexpectedly" in caplog.text
