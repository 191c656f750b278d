"""`Ledger`: what an engine knows of one origin, in memory, and the rules around the decision of `bargain.py`.

The engines keep the same rows in SQLite or Redis; tests compare them with this class, and the simulation runs on it.
Time comes in as a parameter, in seconds of the engine's clock. Used by one thread at a time.

- A member that has not reported for two heartbeats is *suspected*, and forgotten if it does not report for `ttl` minus
  one heartbeat more: `ttl` and one heartbeat after its last report. Its own deadline is earlier: `ttl` from before it
  sent that report. Suspicion changes nothing yet: the engine's clock may have jumped.
- **Settling.** If the state is new, or the engine was restarted since the last report, members may exist of which the
  state knows nothing. For `settle` seconds no member gets more than it holds. Two heartbeats are enough for each member
  that is reachable to report.
- **Contradiction.** A member that holds an allotment in force, but has no row: the state was lost. For `ttl` seconds
  no member gets more than it holds; by then every allotment of which the state knows nothing has lapsed.
- **Two clocks.** The engine's clock may jump. It says when a member was last seen, but a jump only makes
  suspects; a clock that went backward does not keep the dead alive (no `seen` is later than `now`). Suspicion,
  settling and turns are measured by the ledger's own clock: it advances with each report, by at most one heartbeat.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .bargain import Others, Report, decide


@dataclass(frozen=True, slots=True)
class Pace:
    """The times of a fleet, in seconds. All members of an origin must have the same."""

    ttl: float = 5.0
    heartbeat: float = 1.0
    settle: float = 2.0
    turn: float = 2.0
    #: The shortest time between two rounds of one member.
    quick: float = 0.1
    #: How often a member without leases looks whether callers wait.
    idle: float = 0.5
    #: The longest time that one call of the engine takes.
    patience: float = 1.0

    def scaled(self, factor: float) -> Pace:
        """All times multiplied: tests use a shorter TTL."""
        names = self.__dataclass_fields__
        return Pace(**{name: getattr(self, name) * factor for name in names})


@dataclass(frozen=True, slots=True)
class Allotment:
    """An engine's answer. `value`: leases that the member may have. `members`: those alive, the member included.
    `limit`: the least of their limits. `content`: another round before the next heartbeat gains nothing."""

    value: int
    members: int
    limit: int
    content: bool


class Stale(Exception):
    """The report is older than one that the engine has: nothing was changed."""


@dataclass(slots=True)
class Row:
    epoch: int
    seen: float
    allotment: int
    reserved: int
    in_use: int
    waiting: int
    limit: int
    short: bool
    ticket: int
    turn_since: float
    suspected: float = -1.0

    @property
    def demand(self) -> int:
        return self.in_use + self.waiting


@dataclass(slots=True)
class Ledger:
    pace: Pace = field(default_factory=Pace)
    rows: dict[str, Row] = field(default_factory=dict)  # in the order of their last reports
    run: str = ""
    last: float = 0.0  # the engine's clock at the last report
    clock: float = 0.0
    # By `clock`, as are the rows' `turn_since` and `suspected`.
    frozen_until: float = 0.0
    tickets: int = 0
    # Sums over the rows.
    reserved: int = 0
    wanting: int = 0
    wishes: int = 0
    short: int = 0

    def report(self, said: Report, now: float, run: str) -> Allotment:
        """One round. `run` identifies the engine's run; `Stale` if the report is not newer than the last one."""
        pace = self.pace
        old = self.rows.get(said.member)
        if old is not None and said.epoch <= old.epoch:
            raise Stale
        self.clock += min(max(now - self.last, 0.0), pace.heartbeat)
        self.last = now
        clock = self.clock
        if run != self.run:
            self.run = run
            self.frozen_until = max(self.frozen_until, clock + pace.settle)
        self._forget(now)

        old = self.rows.pop(said.member, None)
        if old is None:
            if said.held > 0 and not said.degraded:
                self.frozen_until = clock + pace.ttl
            self.tickets += 1
            ticket, turn_since, before = self.tickets, clock, 0
        else:
            self._count(old, -1)
            ticket, turn_since, before = old.ticket, old.turn_since, old.allotment

        limit = min((row.limit for row in self.rows.values()), default=said.limit)
        limit = min(limit, said.limit)
        ahead = 0
        if len(self.rows) + 1 > limit:
            wanting = self.wanting + (said.demand > 0)
            if wanting > limit and said.held > 0 and clock - turn_since >= pace.turn:
                self.tickets += 1
                ticket = self.tickets
            ahead = sum(row.ticket < ticket and row.demand > 0 for row in self.rows.values())
        others = Others(len(self.rows), self.wanting, self.wishes, self.reserved, self.short, ahead)
        verdict = decide(said, others, limit, frozen=clock < self.frozen_until)
        if verdict.allotment > 0 and before == 0:
            turn_since = clock
        row = Row(
            said.epoch,
            now,
            verdict.allotment,
            verdict.reserved,
            said.in_use,
            said.waiting,
            said.limit,
            verdict.short,
            ticket,
            turn_since,
        )
        self.rows[said.member] = row
        self._count(row, 1)
        return Allotment(verdict.allotment, len(self.rows), limit, verdict.content)

    def lose(self, now: float) -> None:
        """A part of what an engine stored is gone, as if Redis evicted a key: the rest is void, and for `ttl` seconds
        no member gets more than it holds."""
        self.rows.clear()
        self.run, self.last, self.clock, self.frozen_until = "", now, 0.0, self.pace.ttl
        self.tickets = self.reserved = self.wanting = self.wishes = self.short = 0

    def add(self, name: str, row: Row) -> None:
        """A row as an engine stored it. Rows are to be added in the order of their last reports."""
        self.rows[name] = row
        self._count(row, 1)

    def leave(self, member: str) -> None:
        """The member has no leases and takes none any more."""
        row = self.rows.pop(member, None)
        if row is not None:
            self._count(row, -1)

    def _forget(self, now: float) -> None:
        """Suspects the members that are silent, and removes those that have been suspects for long enough."""
        pace = self.pace
        silent = now - 2 * pace.heartbeat
        gone = []
        for name, row in self.rows.items():
            if row.seen > now:
                row.seen = now
            elif row.seen > silent:
                break
            elif row.suspected < 0:
                row.suspected = self.clock
            elif self.clock - row.suspected >= pace.ttl - pace.heartbeat:
                gone.append(name)
        for name in gone:
            self._count(self.rows.pop(name), -1)

    def _count(self, row: Row, sign: int) -> None:
        demand = row.demand
        self.reserved += sign * row.reserved
        self.short += sign * row.short
        if demand > 0:
            self.wanting += sign
            self.wishes += sign * (demand - 1)
