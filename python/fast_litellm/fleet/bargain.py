"""How members share a limit: the decision, as pure functions of plain values.

A *member* is a process. It reports, once a round, how many leases it has in use, how many callers wait, and which
allotment it holds; the engine answers with its new allotment. `decide` is that answer. It needs the member's report and
sums over the other members, so an engine decides in constant time. `bargain` is a whole round: every member reports
once, in the order of joining.

What holds, whatever the reports say:

- **Reserved room.** A member's reservation is max(what it was just given, what it held before, leases in use). A member
  gets at most the limit minus the other reservations. So the sum of max(allotment, in use) never exceeds the limit:
  what a smaller allotment frees is given away only after the member reported that it holds the smaller one, and how
  many leases it still has.
- **Shares.** A member with `demand` = in use + waiting has a claim of at least one while the members are at most the
  limit. If all claims fit, each member may have its demand and an even part of half of the rest; the other half stays
  unassigned, for the next member that needs it. If not, what is left after one each is divided in proportion to
  demand - 1.
- **Turns.** If members outnumber the limit, those without demand get 0. If those with demand still outnumber it, the
  first `limit` of a queue get one each; a member that had its turn goes to the end of the queue.
- **Nothing flaps.** A member above its share gives up the difference only if it has no callers waiting, or if another
  member is *short*: below its share by more than a tolerance.

Shares are real numbers; every operation is exact or correctly rounded in IEEE double precision, in the order written,
so that another language computes the same (engines/bargain.lua).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Report:
    """What a member says in one round. Counts are of one origin.

    `epoch`: rises with each round of a member; an engine refuses a report that is not above the last one, so a delayed
    report changes nothing. `held`: the allotment in force when `in_use` was counted, 0 if it has lapsed. `limit`: the
    limit of the whole fleet as this member is configured; the least of all members' holds. `degraded`: the member set
    `held` by itself, after it lost the engine.
    """

    member: str
    epoch: int
    held: int
    in_use: int
    waiting: int
    limit: int
    degraded: bool = False

    @property
    def demand(self) -> int:
        return self.in_use + self.waiting


@dataclass(frozen=True, slots=True)
class Others:
    """Sums over the members other than the one that reports.

    `wanting`: those with a demand. `wishes`: the sum of their max(0, demand - 1). `short`: those that are short.
    `ahead`: those with a demand that stand before this member in the queue for turns.
    """

    members: int = 0
    wanting: int = 0
    wishes: int = 0
    reserved: int = 0
    short: int = 0
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """`short`: the member got less than its share. `content`: another round before the next heartbeat gains nothing."""

    allotment: int
    reserved: int
    short: bool
    content: bool


def decide(mine: Report, others: Others, limit: int, *, frozen: bool = False) -> Verdict:
    """The new allotment of the member that reports. `frozen`: it must not rise above what the member holds."""
    demand = mine.demand
    members = others.members + 1
    wanting = others.wanting + (1 if demand > 0 else 0)
    wish = demand - 1 if demand > 1 else 0
    free = limit - others.reserved
    hungry = mine.waiting > 0

    claims = members if members <= limit else wanting
    needed = claims + others.wishes + wish
    scarce = needed > limit
    turns = claims > limit
    if members > limit and demand == 0:
        share = 0.0
    elif turns:
        share = 1.0 if others.ahead < limit else 0.0
    elif scarce:
        share = 1 + (limit - claims) * wish / (others.wishes + wish)
    else:
        share = 1 + wish + (limit - needed) / (2 * claims)

    least = math.floor(share)
    most = math.ceil(share) if others.short == 0 else least
    held = mine.held
    if turns or (held > most and (not hungry or others.short > 0)):
        wanted = least
    elif held > most or (held >= least and not hungry):
        wanted = held
    else:
        wanted = most if hungry else least
    allotment = max(0, min(wanted, free, limit))
    if frozen:
        allotment = min(allotment, held)

    if allotment == 0:
        short = least > 0
    elif not hungry:
        short = False
    elif scarce:
        short = least - allotment > max(0.0, share - 6) / 8
    else:
        short = allotment < demand
    reserved = max(allotment, held, mine.in_use)
    content = not short and (scarce or not hungry)
    return Verdict(allotment, reserved, short, content)


@dataclass(frozen=True, slots=True)
class Member:
    """A member as an engine knows it: its last report, and what it was given since."""

    name: str
    allotment: int
    in_use: int
    waiting: int
    seen: float


def bargain(members: Sequence[Member], limit: int, now: float, *, ttl: float = 5.0) -> dict[str, int]:
    """One whole round: the members that were seen within `ttl` seconds before `now` report, one after the other in the
    given order, and all know who is short. Returns their new allotments; a member that was not seen in time has none.

    The order is that of the queue for turns: the oldest first.
    """
    living = [each for each in members if now - each.seen < ttl]
    reserved = {each.name: max(each.allotment, each.in_use) for each in living}
    short = {each.name: False for each in living}

    def verdict_of(at: int, *, frozen: bool = False) -> Verdict:
        rest = living[:at] + living[at + 1 :]
        demands = [each.in_use + each.waiting for each in rest]
        others = Others(
            members=len(rest),
            wanting=sum(demand > 0 for demand in demands),
            wishes=sum(max(0, demand - 1) for demand in demands),
            reserved=sum(reserved[each.name] for each in rest),
            short=sum(short[each.name] for each in rest),
            ahead=sum(demand > 0 for demand in demands[:at]),
        )
        mine = living[at]
        said = Report(mine.name, 0, mine.allotment, mine.in_use, mine.waiting, limit)
        return decide(said, others, limit, frozen=frozen)

    # Short is who would be it without any change.
    short = {each.name: verdict_of(at, frozen=True).short for at, each in enumerate(living)}
    given: dict[str, int] = {}
    for at, each in enumerate(living):
        verdict = verdict_of(at)
        given[each.name], reserved[each.name], short[each.name] = verdict.allotment, verdict.reserved, verdict.short
    return given
