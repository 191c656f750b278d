"""Four processes with 64 callers each, one server that counts, and a limit of 40: whatever happens to processes and
engine, the server never sees more.

The callers are threads or tasks of asyncio. The times of the fleet are two fifths of the usual ones: a heartbeat must
be longer than a request of the server's 0.2 s, also on a busy machine. `make stress` runs all combinations of callers
and engines, with the usual times (FAST_LITELLM_TEST_FLEET_FACTOR=1).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fast_litellm.fleet.ledger import Pace
from fleet.counting_server import CountingServer
from fleet.processes import Worker, Workers, wait_until
from peers.redis_server import RedisServer

LIMIT = 40
TASKS = 64
FACTOR = float(os.environ.get("FAST_LITELLM_TEST_FLEET_FACTOR", "0.4"))
PACE = Pace().scaled(FACTOR)
#: Callers: see `fleet.worker`.
THREADS, ASYNCIO = "default", "asyncio"

STRESS = FACTOR >= 1

in_stress_only = pytest.mark.skipif(not STRESS, reason="elsewhere: `make stress` runs every combination")


def on(*in_suite: str) -> pytest.MarkDecorator:
    """Every engine with every kind of callers; these in the suite, the others in `make stress` alone."""
    combinations = []
    for engine in ("sqlite", "redis"):
        for name, callers in (("threads", THREADS), ("asyncio", ASYNCIO)):
            case = f"{engine}-{name}"
            marks = () if case in in_suite else in_stress_only
            combinations.append(pytest.param(engine, callers, marks=marks, id=case))
    return pytest.mark.parametrize(("engine_url", "callers"), combinations, indirect=["engine_url"])


@pytest.fixture
def server() -> Iterator[CountingServer]:
    with CountingServer(0.2) as server:
        yield server


def start(workers: Workers, url: str, server: CountingServer, callers: str = THREADS) -> None:
    for _ in range(4):
        workers.append(Worker(url, server.origin, LIMIT, TASKS, FACTOR, callers))
    wait_until(
        lambda: sum(workers.allotments()) == LIMIT and min(workers.allotments()) >= 9, "10 each", workers.allotments
    )
    wait_until(lambda: server.most == LIMIT, "the limit is used", lambda: server.most)


def assert_no_errors(workers: Workers) -> None:
    for worker in workers:
        assert not worker.last.get("errors"), worker.last


@on("redis-threads", "sqlite-asyncio")
def test_the_server_never_sees_more_than_the_limit_and_all_of_it_is_used(
    engine_url: str, callers: str, server: CountingServer, record_property: pytest.RecordProperty
) -> None:
    with Workers() as workers:
        start(workers, engine_url, server, callers)
        begin, busy, served = time.monotonic(), server.busy_seconds(), server.served
        wait_until(lambda: server.served >= served + 20 * LIMIT, "20 rounds of requests", lambda: server.served)
        used = (server.busy_seconds() - busy) / (time.monotonic() - begin) / LIMIT
        assert_no_errors(workers)
        waits = workers.end()
        assert server.most == LIMIT
        cpu = [worker.last["cpu"] for worker in workers]
        p99 = waits[int(len(waits) * 0.99)]
        print(f"utilisation {used:.3f}, p50 {waits[len(waits) // 2]:.2f} s, p99 {p99:.2f} s, CPU {cpu}")
        record_property("utilisation", used)
        record_property("p99", p99)


@on("redis-asyncio")
def test_the_part_of_a_killed_process_goes_to_the_others(engine_url: str, callers: str, server: CountingServer) -> None:
    with Workers() as workers:
        start(workers, engine_url, server, callers)
        workers[0].kill()
        wait_until(lambda: sum(workers.allotments()) == LIMIT, "40 for three", workers.allotments)
        assert_no_errors(workers)
        assert server.most <= LIMIT


@on("sqlite-asyncio")
def test_a_process_that_was_stopped_takes_nothing_on_its_old_allotment(
    engine_url: str, callers: str, server: CountingServer
) -> None:
    """Its requests under way were answered meanwhile, so not even they are excess. But for one or two that had been
    admitted, and not sent, when it was stopped; on its old allotment it would send ten."""
    most = LIMIT + 2
    with Workers() as workers:
        start(workers, engine_url, server, callers)
        for worker in workers if STRESS else workers[:1]:
            worker.signal(signal.SIGSTOP)
            others = [each for each in workers if each is not worker]
            wait_until(lambda others=others: sum(each.allotment for each in others) == LIMIT, "40", workers.allotments)  # type: ignore[misc]
            requests = worker.last["requests"]
            worker.signal(signal.SIGCONT)
            wait_until(
                lambda worker=worker, requests=requests: worker.last["requests"] > requests + 20,  # type: ignore[misc]
                "it takes part again",
                workers.allotments,
            )
            assert server.most <= most
        wait_until(lambda: min(workers.allotments()) >= 8, "all have their parts", workers.allotments)
        workers[0].signal(signal.SIGSTOP)
        stopped = time.monotonic() + PACE.ttl * 4
        wait_until(lambda: time.monotonic() > stopped, "four TTL", workers.allotments)
        workers[0].signal(signal.SIGCONT)
        requests = workers[0].last["requests"]
        wait_until(
            lambda: workers[0].last["requests"] > requests + TASKS and min(workers.allotments()) >= 8,
            "it takes part again",
            workers.allotments,
        )
        assert_no_errors(workers)
        assert server.most <= most


@pytest.mark.parametrize("keeps_data", [pytest.param(True, marks=in_stress_only), False])
def test_a_server_that_restarts_with_or_without_its_data_changes_nothing(
    keeps_data: bool, server: CountingServer, tmp_path: Path
) -> None:
    with RedisServer(tmp_path, keeps_data=keeps_data) as redis_server, Workers() as workers:
        start(workers, redis_server.url, server)
        redis_server.restart()
        served = server.served
        wait_until(lambda: server.served > served + 10 * LIMIT, "requests go on", lambda: server.served)
        workers.append(Worker(redis_server.url, server.origin, LIMIT, TASKS, FACTOR, THREADS))
        wait_until(
            lambda: min(workers.allotments()) >= 7 and sum(workers.allotments()) == LIMIT,
            "a fifth member has its part",
            workers.allotments,
        )
        assert_no_errors(workers)
        assert server.most <= LIMIT


def test_without_the_engine_each_process_allows_itself_its_part_and_the_fleet_is_back_when_it_is(
    server: CountingServer, tmp_path: Path
) -> None:
    with RedisServer(tmp_path) as redis_server, Workers() as workers:
        start(workers, redis_server.url, server)
        redis_server.stop()
        wait_until(lambda: all(worker.last["degraded"] for worker in workers), "all are degraded", workers.allotments)
        wait_until(lambda: workers.allotments() == [10, 10, 10, 10], "10 each", workers.allotments)
        served = server.served
        wait_until(lambda: server.served > served + 5 * LIMIT, "requests go on", lambda: server.served)
        redis_server.start()
        wait_until(
            lambda: not any(worker.last["degraded"] for worker in workers) and sum(workers.allotments()) == LIMIT,
            "the fleet is back",
            workers.allotments,
        )
        workers[0].end()
        workers[0].last = {}
        wait_until(lambda: sum(workers.allotments()) == LIMIT, "40 for three", workers.allotments)
        assert_no_errors(workers)
        assert server.most <= LIMIT


@on("sqlite-threads")
def test_more_processes_than_the_limit_take_turns(engine_url: str, callers: str, server: CountingServer) -> None:
    with Workers() as workers:
        for _ in range(4):
            workers.append(Worker(engine_url, server.origin, 2, 4, FACTOR, callers))
        wait_until(
            lambda: all(worker.last.get("requests", 0) >= 4 for worker in workers),
            "each has had turns",
            lambda: [worker.last for worker in workers],
        )
        assert_no_errors(workers)
        assert server.most == 2
