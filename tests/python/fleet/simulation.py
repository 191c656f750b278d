"""A fleet in simulated time: processes, network, engine and clocks that fail, on the real ledger and decision.

    python -m fleet.simulation --rounds 10000000 --seed 1      # in tests/python

Every process takes leases as greedily as its allotment allows, also between counting its leases and applying the
answer. Faults: kills, pauses and partitions (shorter and longer than the TTL), lost requests and answers, answers after
the process gave up, the engine down, restarted with and without its data, its clock jumping forward and backward.

Checked after every change: the sum of max(allotment in force, leases in use), over the processes that are reachable,
is at most the limit. A process that was out of reach for a TTL (or for any time, if meanwhile the engine lost its data
or its clock jumped forward) counts again when an engine that knows all members has admitted it within the limit, and it
holds no more than its allotment: until then its leases are the only excess. Checked besides: a hungry process gets a
lease within a bounded time.
"""

from __future__ import annotations

import argparse
import heapq
import random
import time
from dataclasses import dataclass, field

from fast_litellm.fleet.bargain import Report
from fast_litellm.fleet.ledger import Allotment, Ledger, Pace, Stale
from fast_litellm.fleet.rounds import Standing, pause_after, unchanged_reports

SEND, ARRIVE, APPLY, GIVE_UP, FAULT = range(5)


class Broken(AssertionError):
    """A rule of the fleet does not hold."""


@dataclass(frozen=True)
class Plan:
    """What happens in a run. `fault_every`: seconds of simulated time between two faults, on average; 0: none."""

    members: int = 64
    limit: int = 200
    fault_every: float = 3.0
    engine_faults: bool = True
    longest_lease: float = 3.0
    starved_after: float = 60.0


@dataclass(slots=True)
class Process:
    name: str
    limit: int
    epoch: int = 0
    cap: int = 0
    deadline: float = 0.0
    in_use: int = 0
    waiting: int = 0
    load: int = 0
    alive: bool = True
    paused_until: float = 0.0
    cut_until: float = 0.0
    #: Was out of reach for a TTL: its leases may be excess.
    stray: bool = False
    degraded: bool = False
    known: int = 1
    answered: float = 0.0
    pending: int = -1
    hungry_since: float = -1.0
    counted: int = 0
    taken: int = 0
    #: As of the last answered report: decides when the next one is due.
    standing: Standing = field(default_factory=lambda: Standing(0))


@dataclass
class Fleet:
    plan: Plan
    seed: int
    pace: Pace = field(default_factory=Pace)
    now: float = 1000.0
    rounds: int = 0
    longest_hunger: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.ledger = Ledger(self.pace)
        self.skew = 0.0
        self.run_number = 1
        self.down_until = 0.0
        self.lost_at = 0.0
        self.sum = 0
        self.born = 0
        self.events: list[tuple[float, int, int, object, object]] = []
        self.serial = 0
        self.processes: list[Process] = []
        for _ in range(self.plan.members):
            self._spawn()
        if self.plan.fault_every:
            self._at(self.now + 10, FAULT, None, None)

    def run(self, rounds: int) -> None:
        events, pop = self.events, heapq.heappop
        while self.rounds < rounds:
            self.now, _, kind, who, what = pop(events)
            if kind == FAULT:
                self._fault()
            else:
                process: Process = who  # type: ignore[assignment]
                if not process.alive:
                    if kind == ARRIVE:
                        self._arrive(process, what)
                    continue
                if kind != ARRIVE and process.paused_until > self.now:
                    self._at(process.paused_until, kind, process, what)
                    continue
                if kind == SEND:
                    self._send(process)
                elif kind == ARRIVE:
                    self._arrive(process, what)
                elif kind == APPLY:
                    self._apply(process, what)
                elif kind == GIVE_UP and process.pending == what:
                    self._failed(process)

    # Events.

    def _at(self, when: float, kind: int, who: object, what: object) -> None:
        self.serial += 1
        heapq.heappush(self.events, (when, self.serial, kind, who, what))

    def _spawn(self) -> None:
        self.born += 1
        process = Process(f"{self.born:06d}", self.plan.limit)
        process.answered = self.now
        process.load = self.random.choice((0, 1, 3, 10, 50))
        self.processes.append(process)
        self._at(self.now + self.random.random(), SEND, process, None)

    def _send(self, process: Process) -> None:
        self._work(process)
        now = self.now
        if process.deadline - now < self.pace.patience and not process.degraded:
            self._set_cap(process, 0, now)
        process.epoch += 1
        process.pending = process.epoch
        said = Report(
            process.name,
            process.epoch,
            process.cap,
            process.in_use,
            process.waiting,
            process.limit,
            process.degraded,
        )
        draw = self.random.random()
        if draw > 0.005 and process.cut_until <= now:
            slow = draw > 0.99
            delay = self.random.random() * (1.5 if slow else 0.03)
            self._at(now + delay, ARRIVE, process, (said, now))
            if not slow:
                return
        self._at(now + self.pace.patience, GIVE_UP, process, process.epoch)

    def _arrive(self, process: Process, what: object) -> None:
        said, sent = what  # type: ignore[misc]
        if self.now < self.down_until:
            self._at(sent + self.pace.patience, GIVE_UP, process, said.epoch)
            return
        if process.alive and process.paused_until <= self.now:
            self._work(process)
        self.rounds += 1
        try:
            answer = self.ledger.report(said, self.now + self.skew, f"run {self.run_number}")
        except Stale:
            return
        if self.random.random() > 0.004 and process.cut_until <= self.now:
            self._at(self.now + self.random.random() * 0.03, APPLY, process, (said, sent, answer))
        else:
            self._at(max(self.now, sent + self.pace.patience), GIVE_UP, process, said.epoch)

    def _apply(self, process: Process, what: object) -> None:
        said, sent, answer = what  # type: ignore[misc]
        if process.pending != said.epoch:
            return
        process.pending = -1
        if self.now >= sent + self.pace.ttl:
            self._at(self.now, SEND, process, None)
            return
        self._applied(process, said, sent, answer)

    def _applied(self, process: Process, said: Report, sent: float, answer: Allotment) -> None:
        process.degraded = False
        process.answered = sent
        process.known = answer.members
        self._set_cap(process, min(answer.value, process.limit), sent + self.pace.ttl)
        ledger = self.ledger
        knows = ledger.clock >= ledger.frozen_until and ledger.reserved <= self.plan.limit
        if process.stray and knows and process.in_use <= process.cap:
            process.stray = False
            self._recount(process)
        self._work(process)
        unchanged = unchanged_reports(process.standing, said.in_use, said.waiting, answer)
        process.standing = Standing(
            process.limit,
            cap=process.cap,
            members=answer.members,
            content=answer.content,
            in_use=said.in_use,
            waiting=said.waiting,
            unchanged=unchanged,
        )
        pause = self.pace.heartbeat if answer.content else pause_after(unchanged, self.pace)
        self._at(max(self.now, sent + pause), SEND, process, None)

    def _failed(self, process: Process) -> None:
        process.pending = -1
        process.standing.failed = True
        now = self.now
        began = now - self.pace.patience
        if began >= process.answered + self.pace.ttl:
            process.stray = process.degraded = True
            self._recount(process)
            self._set_cap(process, max(1, process.limit // process.known), now + self.pace.ttl)
        self._work(process)
        self._at(now + self.pace.quick, SEND, process, None)

    # Load.

    def _work(self, process: Process) -> None:
        """Ends some leases, takes as many as are allowed, and sometimes changes the load."""
        draw = self.random.random()
        ended = int(process.in_use * draw * 0.7 + draw)
        process.in_use -= min(ended, process.in_use)
        if draw < 0.03:
            process.load = self.random.choice((0, 0, 1, 2, 5, 10, 50, 200))
        cap = process.cap if self.now < process.deadline else 0
        room = cap - process.in_use
        wanted = process.load - process.in_use
        if wanted > 0 and room > 0:
            taken = min(wanted, room)
            process.in_use += taken
            wanted -= taken
            process.hungry_since = -1.0
        process.waiting = max(0, wanted)
        if process.waiting == 0 or process.stray or process.cut_until > self.now or self.now < self.down_until:
            process.hungry_since = -1.0
        elif process.in_use == 0:
            if process.hungry_since < 0:
                process.hungry_since = self.now
            hunger = self.now - process.hungry_since
            if hunger > self.longest_hunger:
                self.longest_hunger = hunger
                if hunger > self.plan.starved_after:
                    raise Broken(f"seed {self.seed}: {process.name} starves for {hunger:.1f} s at {self.now:.3f}")
        self._recount(process)

    def _set_cap(self, process: Process, cap: int, deadline: float) -> None:
        process.cap, process.deadline = cap, deadline
        self._recount(process)

    def _recount(self, process: Process) -> None:
        counts = process.alive and not process.stray
        held = max(process.cap, process.in_use) if counts else 0
        change = held - process.counted
        process.counted = held
        self.sum += change
        if change > 0 and self.sum > self.plan.limit:
            self._check()

    def _check(self) -> None:
        """The exact sum: lapsed allotments and processes out of reach are taken off."""
        total = 0
        for each in self.processes:
            away = max(each.cut_until, each.paused_until)
            if each.answered < self.lost_at and away > each.answered and each.alive:
                each.stray = True
                self.sum -= each.counted
                each.counted = 0
            elif each.deadline <= self.now and each.alive and not each.stray:
                if self.now - each.answered >= self.pace.ttl and each.in_use > 0:
                    each.stray = True
                each.cap = 0
                self.sum -= each.counted
                each.counted = 0 if each.stray else each.in_use
                self.sum += each.counted
            total += each.counted
        assert total == self.sum
        if total > self.plan.limit:
            raise Broken(f"seed {self.seed}: {total} of {self.plan.limit} at {self.now:.3f}, faults {self.faults}")

    # Faults.

    def _fault(self) -> None:
        self._at(self.now + self.random.expovariate(1 / self.plan.fault_every), FAULT, None, None)
        kinds = ["kill", "pause", "pause", "partition", "leave"]
        if self.plan.engine_faults:
            kinds += ["restart", "wipe", "down", "clock"]
        kind = self.random.choice(kinds)
        self.faults[kind] = self.faults.get(kind, 0) + 1
        process = self.random.choice(self.processes)
        if kind in ("kill", "leave"):
            process.alive = False
            self._recount(process)
            self.processes.remove(process)
            if kind == "leave" and self.now >= self.down_until:
                self.ledger.leave(process.name)
            self._spawn()
        elif kind == "pause":
            process.paused_until = self.now + self.random.choice((0.5, 2.0, 4.9, 5.5, 12.0))
        elif kind == "partition":
            process.cut_until = self.now + self.random.choice((0.5, 2.0, 4.9, 5.5, 12.0))
        elif kind == "restart":
            self.run_number += 1
            self.down_until = self.now + self.random.choice((0.0, 0.5, 3.0))
        elif kind == "wipe":
            self.run_number += 1
            self.ledger = Ledger(self.pace)
            self.lost_at = self.now
            self.down_until = self.now + self.random.choice((0.0, 0.5, 3.0))
        elif kind == "down":
            self.down_until = self.now + self.random.choice((0.5, 4.0, 9.0))
        elif kind == "clock":
            jump = self.random.choice((-3600.0, -7.0, -1.0, 1.0, 7.0, 3600.0))
            self.skew += jump
            if jump > 0:
                self.lost_at = self.now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1_000_000, help="rounds in all, over all seeds")
    parser.add_argument("--each", type=int, default=100_000, help="rounds of one seed")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    arguments = parser.parse_args()
    begin, done, seed, faults = time.perf_counter(), 0, arguments.seed, 0
    longest, turns = 0.0, 0.0
    while done < arguments.rounds:
        limit = (40, 64, 65, 200, 1000, 10)[seed % 6]
        plan = Plan(limit=limit, starved_after=60.0 if limit >= 64 else 300.0)
        fleet = Fleet(plan, seed)
        fleet.run(arguments.each)
        done += fleet.rounds
        faults += sum(fleet.faults.values())
        if limit >= plan.members:
            longest = max(longest, fleet.longest_hunger)
        else:
            turns = max(turns, fleet.longest_hunger)
        seed += 1
    seconds = time.perf_counter() - begin
    print(f"{done} rounds, {faults} faults, seeds {arguments.seed} to {seed - 1}: the limit held; {seconds:.0f} s")
    print(f"longest hunger: {longest:.1f} s with members <= limit, {turns:.1f} s with members in turns")


if __name__ == "__main__":
    main()
