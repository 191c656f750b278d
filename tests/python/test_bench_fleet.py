"""The fleet's part of the benchmark: how figures become ratios, tables and targets, and that its processes measure."""

from __future__ import annotations

import asyncio
import os
import shutil
import socketserver
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.common.workload import Peer, response_bytes
from bench.fleet import limit_worker, part, report, rounds, targets
from bench.fleet.engines import running
from bench.fleet.rounds import AgentSample, LimitSample, Results
from bench.http.clients import NotAvailable


def watched(ms_per_second: float) -> AgentSample:
    return AgentSample(2.0, ms_per_second * 2_000, 9e9, rounds=6, failed_rounds=0, leases=20)


def line_with(text: str, results: Results) -> str:
    (line,) = (line for line in targets.verdicts(results) if text in line)
    return line


@pytest.mark.parametrize(("cpu", "word"), [(1.0, "reached"), (1.01, "NOT REACHED")])
def test_an_agent_may_take_a_millisecond_a_second(cpu: float, word: str) -> None:
    results = Results({(part.WAITING, part.REDIS): [watched(0.1), watched(cpu), watched(9.0)]})
    line = line_with(f"agent on Redis at most 1 ms of CPU per second ({part.WAITING.title})", results)
    assert line.startswith(f"- {word}: ")
    assert line.endswith(f": {cpu:.2f} (3.0 reports per second)")


@pytest.mark.parametrize(("limited", "word"), [(105.0, "reached"), (106.0, "NOT REACHED")])
def test_a_limit_may_add_a_twentieth(limited: float, word: str) -> None:
    line = line_with("get and return, with", Results(works={part.PAIR: [LimitSample(100.0, limited)]}))
    assert line.startswith(f"- {word}: ")
    assert line.endswith(f": {limited / 100:.2f} ({limited:.1f} against 100.0 ns)")


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    """Each is of one process: a slow round is slow with and without the limit."""
    samples = [LimitSample(100.0, 101.0), LimitSample(200.0, 204.0), LimitSample(900.0, 990.0)]
    assert Results(works={part.PAIR: samples}).of_work(part.PAIR, "ratio") == pytest.approx(1.02)


def test_what_could_not_be_measured_has_its_reason_at_the_target_and_below_the_tables() -> None:
    results = Results(works={part.PAIR: [LimitSample(100.0, 101.0)]})
    results.unavailable[part.REDIS] = "redis-server is missing"
    results.unavailable[part.AREQUEST] = "no arequest"
    text = report.render(results, "1 round")
    assert text.count("- not measured: agent on Redis") == len(part.LOADS)
    assert "\n- Redis: redis-server is missing" in text
    assert f"- not measured: {part.AREQUEST.title}, with a limit at most 1.05 x without: no arequest" in text
    assert "| get and return, ns | " in text
    assert "| `pool.request`" not in text


def test_a_row_of_the_agents_has_the_figures_of_both_engines() -> None:
    results = Results({(part.LONG, part.SQLITE): [watched(1.5)], (part.LONG, part.REDIS): [watched(2.5)]})
    (row,) = (line for line in report.agent_table(results) if part.LONG.title in line)
    assert [cell.strip() for cell in row.strip("|").split("|")][1:] == ["1.50", "3.0", "10", "2.50", "3.0", "10"]


def test_a_missing_redis_server_is_said_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    missing = pytest.raises(NotAvailable, match=r"redis-server is missing; run `scripts/setup\.sh system`")
    with missing, running(part.REDIS, 0):
        pass


@pytest.mark.parametrize("engine", part.ENGINES, ids=lambda engine: str(engine.name))
def test_the_agents_of_a_fleet_are_watched_while_leases_are_taken(
    engine: part.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "_SETTLING", 0.0)
    monkeypatch.setattr(rounds, "CLIENT_CORES", os.sched_getaffinity(0))
    sample = rounds.watch(part.WAITING, engine, 1.2, min(os.sched_getaffinity(0)))
    assert sample.rounds >= 1
    assert sample.failed_rounds == 0
    assert sample.leases > 0
    # The agent's thread, and not the whole process.
    assert 0 < sample.agent_cpu_us < sample.cpu_us


class _Answering(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while self.rfile.readline():
            size = 0
            while (line := self.rfile.readline().strip().lower()) != b"":
                if line.startswith(b"content-length:"):
                    size = int(line.partition(b":")[2])
            self.rfile.read(size)
            self.wfile.write(response_bytes())


@pytest.fixture
def peer() -> Iterator[Peer]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Answering) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Peer(server.server_address[1], None)
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("work", part.WORKS, ids=lambda work: str(work.name))
def test_a_work_is_measured_with_and_without_a_limit(work: part.Work, peer: Peer) -> None:
    order = {"work": work.name, "seconds": 0.02, "host": peer.host, "port": peer.port, "ca_file": None}
    figures = limit_worker.measure(order)
    assert figures.keys() == {"without", "limited"}
    assert min(figures.values()) > 0


@pytest.mark.parametrize("work", part.WORKS, ids=lambda work: str(work.name))
def test_only_the_limited_work_is_limited(work: part.Work, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[str] = []
    monkeypatch.setattr(limit_worker, "limit", lambda pool, origin: limits.append(origin))
    loop = asyncio.new_event_loop()
    try:
        limit_worker.open_work(work.name, peer, False, loop)
        assert limits == []
        limit_worker.open_work(work.name, peer, True, loop)
        assert limits == [part.ORIGIN if work is part.PAIR else peer.origin]
    finally:
        loop.close()
