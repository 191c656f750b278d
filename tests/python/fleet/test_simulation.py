"""The simulated fleet keeps its rules under faults, and the simulation notices when a rule is broken."""

from __future__ import annotations

import dataclasses

import pytest

from fast_litellm.fleet import ledger
from fast_litellm.fleet.bargain import Others, Report, Verdict, decide
from fast_litellm.fleet.ledger import Ledger, Pace
from fleet.simulation import Broken, Fleet, Plan

ROUNDS = 8_000


@pytest.mark.parametrize(
    ("seed", "limit"), [(1, 200), (2, 64), (3, 65), (4, 40), (5, 10), (6, 1000), (7, 64), (8, 200), (1001, 10)]
)
def test_the_limit_holds_and_nobody_starves_whatever_fails(seed: int, limit: int) -> None:
    plan = Plan(limit=limit, starved_after=60 if limit >= 64 else 300)
    fleet = Fleet(plan, seed)
    fleet.run(ROUNDS)
    assert sum(fleet.faults.values()) > 10


def without_reservation(mine: Report, others: Others, limit: int, *, frozen: bool = False) -> Verdict:
    """Gives away what a smaller allotment frees before the leases ended."""
    verdict = decide(mine, others, limit, frozen=frozen)
    return dataclasses.replace(verdict, reserved=verdict.allotment)


def without_freezing(mine: Report, others: Others, limit: int, *, frozen: bool = False) -> Verdict:
    return decide(mine, others, limit)


@pytest.mark.parametrize(
    ("broken", "faults", "finds"),
    [(without_reservation, 0.0, 5_000), (without_freezing, 3.0, 100_000)],
)
def test_the_simulation_notices_a_decision_that_breaks_the_limit(
    broken: object, faults: float, finds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "decide", broken)
    with pytest.raises(Broken, match=" of 200 at "):
        Fleet(Plan(limit=200, fault_every=faults), 1).run(finds)


def test_the_simulation_notices_members_that_starve() -> None:
    endless_turns = dataclasses.replace(Pace(), turn=1e9)
    with pytest.raises(Broken, match="starves"):
        Fleet(Plan(members=30, limit=5, fault_every=0, starved_after=60), 1, endless_turns).run(50_000)


def test_the_room_of_a_killed_member_is_back_within_a_ttl_and_one_round() -> None:
    """Four hungry members report every heartbeat; one of them stops."""
    pace = Pace()
    known = Ledger(pace, run="1")
    held = dict.fromkeys("abcd", 0)
    epoch, now, killed, back = 0, 1000.0, 1010.0, 0.0
    while not back:
        epoch += 1
        now += pace.heartbeat / 4
        name = "abcd"[epoch % 4]
        if name == "d" and now >= killed:
            continue
        held[name] = known.report(Report(name, epoch, held[name], held[name], 64, 40), now, "1").value
        if now >= killed and sum(held[each] for each in "abc") == 40:
            back = now
        assert now < killed + 60
    # The member's last report was up to one heartbeat before its end.
    assert back <= killed + pace.ttl + 2 * pace.heartbeat
