"""The measuring of the part over the fleet: small fleets, and single processes with and without a limit, in rounds."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.common.environment import ROOT, Server, child_environment, worker
from bench.common.interleaving import interleaved
from bench.common.placement import pinned_to
from bench.common.processes import figures_of
from bench.fleet.engines import running
from bench.fleet.part import ENGINES, LOADS, ORIGIN, WORKS, Engine, Load, Work
from bench.http.clients import NotAvailable
from bench.loops.rounds import CLIENT_CORES

_PATIENCE = 120.0
#: Seconds from the last member's start until the shares of all have settled, and pauses have reached their lengths.
_SETTLING = 5.0


@dataclass(frozen=True)
class Effort:
    """How long it may take: rounds, the seconds that an agent is watched, and those of a work with and without."""

    rounds: int
    watched: float
    seconds: float

    @classmethod
    def of(cls, quick: bool, rounds: int | None, seconds: float | None) -> Effort:
        return cls(rounds or 1, 2.0, seconds or 0.2) if quick else cls(rounds or 5, 6.0, seconds or 0.6)


@dataclass(frozen=True)
class AgentSample:
    """One member of a measured fleet, over `seconds`."""

    seconds: float
    agent_cpu_us: float
    cpu_us: float
    rounds: int
    failed_rounds: int
    leases: int

    @property
    def ms_per_second(self) -> float:
        return self.agent_cpu_us / 1e3 / self.seconds

    @property
    def us_per_round(self) -> float | None:
        return self.agent_cpu_us / self.rounds if self.rounds else None

    @property
    def rounds_per_second(self) -> float:
        return self.rounds / self.seconds

    @property
    def leases_per_second(self) -> float:
        return self.leases / self.seconds


@dataclass(frozen=True)
class LimitSample:
    """One process's CPU per call, in the unit of its work."""

    without: float
    limited: float

    @property
    def ratio(self) -> float:
        return self.limited / self.without


@dataclass
class Results:
    """All samples, and why something was not measured. An agent's sample is that of the busiest member of a round."""

    agents: dict[tuple[Load, Engine], list[AgentSample]] = field(default_factory=dict)
    works: dict[Work, list[LimitSample]] = field(default_factory=dict)
    unavailable: dict[Engine | Work, str] = field(default_factory=dict)

    def of_agent(self, load: Load, engine: Engine, figure: str) -> float | None:
        return _median([getattr(sample, figure) for sample in self.agents.get((load, engine), [])])

    def of_work(self, work: Work, figure: str) -> float | None:
        return _median([getattr(sample, figure) for sample in self.works.get(work, [])])

    def as_json(self) -> dict[str, Any]:
        return {
            "unavailable": {each.name: reason for each, reason in self.unavailable.items()},
            "agents": [
                {"load": load.title, "engine": engine.name, "rounds": [asdict(sample) for sample in samples]}
                for (load, engine), samples in self.agents.items()
            ],
            "works": [
                {"work": work.name, "unit": work.unit, "rounds": [asdict(sample) for sample in samples]}
                for work, samples in self.works.items()
            ],
        }


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


class Member:
    """One agent_worker.py, joined to its fleet."""

    def __init__(self, load: Load, url: str) -> None:
        self._process = subprocess.Popen(
            worker("fleet.agent_worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=child_environment(),
            cwd=ROOT,
            preexec_fn=pinned_to(CLIENT_CORES),  # noqa: PLW1509
            text=True,
        )
        self.say({"url": url, "origin": ORIGIN, "limit": load.limit, "callers": load.callers, "hold": load.hold})

    def say(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a member of the fleet ended with status {self._process.wait()}")
        said: dict[str, Any] = json.loads(line)
        if "unavailable" in said:
            raise NotAvailable(str(said["unavailable"]))
        return said

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def _members(load: Load, url: str) -> Iterator[list[Member]]:
    with ExitStack() as stack:
        members = []
        for _ in range(load.members):
            members.append(Member(load, url))
            stack.callback(members[-1].close)
            # One after the other: where leases are long, the first has them all.
            members[-1].answer()
        time.sleep(_SETTLING)
        yield members


def watch(load: Load, engine: Engine, seconds: float, server_core: int) -> AgentSample:
    """A fleet of its own: its busiest agent. NotAvailable without the engine or the package's extra."""
    with running(engine, server_core) as url, _members(load, url) as members:
        for member in members:
            member.say({"seconds": seconds})
        samples = [AgentSample(**member.answer()) for member in members]
        return max(samples, key=lambda sample: sample.ms_per_second)


def compare(work: Work, server: Server, seconds: float) -> LimitSample:
    """A fresh process that does the work with and without a limit in turn."""
    order = {"work": work.name, "seconds": seconds, **asdict(server.plain)}
    given = json.dumps(order).encode() + b"\n"
    figures = figures_of(worker("fleet.limit_worker"), given, CLIENT_CORES, _PATIENCE)
    if "unavailable" in figures:
        raise NotAvailable(str(figures["unavailable"]))
    return LimitSample(figures["without"], figures["limited"])


def run(server: Server, server_core: int, effort: Effort, progress: Callable[[str], None]) -> Results:
    """All rounds."""
    results = Results()
    plan = dict.fromkeys(LOADS, ENGINES)
    for load, engine in interleaved(plan, effort.rounds, lambda each, own: f"{own.title}: {each.title}", progress):
        if engine in results.unavailable:
            continue
        try:
            watched = watch(load, engine, effort.watched, server_core)
        except (NotAvailable, RuntimeError) as error:
            results.unavailable[engine] = str(error)
        else:
            results.agents.setdefault((load, engine), []).append(watched)
    for work, _ in interleaved(
        {each: (each,) for each in WORKS}, effort.rounds, lambda each, _: f"with and without: {each.title}", progress
    ):
        if work in results.unavailable:
            continue
        try:
            sample = compare(work, server, effort.seconds)
        except (NotAvailable, RuntimeError, subprocess.TimeoutExpired) as error:
            results.unavailable[work] = str(error)
        else:
            results.works.setdefault(work, []).append(sample)
    return results
