"""How a limit is shared: the decision with plain values, and its rules for any values."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fast_litellm.fleet.bargain import Member, Others, Report, bargain, decide
from fast_litellm.fleet.ledger import Ledger, Pace, Stale

NOW = 1000.0


def member(name: str, allotment: int = 0, in_use: int = 0, waiting: int = 0, seen: float = NOW) -> Member:
    return Member(name, allotment, in_use, waiting, seen)


def after_rounds(members: list[Member], limit: int, rounds: int) -> list[Member]:
    """Each member has a constant demand and takes leases as soon as it may."""
    for _ in range(rounds):
        given = bargain(members, limit, NOW)
        members = [
            Member(
                each.name,
                given[each.name],
                min(each.in_use + each.waiting, given[each.name]),
                max(0, each.in_use + each.waiting - given[each.name]),
                NOW,
            )
            for each in members
        ]
    return members


def allotments(members: list[Member]) -> list[int]:
    return [each.allotment for each in members]


def test_a_member_alone_gets_its_demand_and_half_of_the_rest() -> None:
    assert bargain([member("a", waiting=10)], 40, NOW) == {"a": 25}


def test_a_hungry_member_alone_gets_everything() -> None:
    assert bargain([member("a", waiting=1000)], 40, NOW) == {"a": 40}


def test_four_equally_hungry_members_end_with_a_quarter_each_however_they_began() -> None:
    members = [member("a", allotment=40, in_use=40, waiting=24)]
    members += [member(name, waiting=64) for name in "bcd"]
    assert allotments(after_rounds(members, 40, 10)) == [10, 10, 10, 10]


def test_room_that_a_smaller_allotment_frees_goes_to_others_only_after_the_leases_ended() -> None:
    full = [member("a", allotment=40, in_use=40, waiting=24), member("b", waiting=64)]
    assert bargain(full, 40, NOW) == {"a": 20, "b": 0}
    pace = Pace()
    ledger = Ledger(pace, run="1")
    ledger.report(Report("a", 1, 0, 0, 64, 40), NOW, "1")
    ledger.report(Report("b", 1, 0, 0, 64, 40), NOW, "1")
    assert ledger.report(Report("a", 2, 40, 40, 24, 40), NOW + 0.1, "1").value == 20
    assert ledger.report(Report("b", 2, 0, 0, 64, 40), NOW + 0.2, "1").value == 0
    ledger.report(Report("a", 3, 20, 35, 29, 40), NOW + 0.3, "1")
    assert ledger.report(Report("b", 3, 0, 0, 64, 40), NOW + 0.4, "1").value == 5


def test_hungry_members_share_what_is_idle_in_proportion_to_their_demand() -> None:
    members = [member("a", waiting=31), member("b", waiting=11), member("c"), member("d")]
    a, b, c, d = allotments(after_rounds(members, 24, 10))
    assert (c, d) == (1, 1)
    assert (a, b) == (16, 6)


def test_an_idle_member_keeps_one_and_gives_the_rest_up() -> None:
    members = [member("a", allotment=30), member("b", allotment=10, in_use=10, waiting=90)]
    assert allotments(after_rounds(members, 40, 3)) == [1, 39]


def test_a_member_that_was_not_seen_for_a_ttl_has_no_allotment() -> None:
    members = [member("a", allotment=40, seen=NOW - 5.0), member("b", waiting=64)]
    assert bargain(members, 40, NOW) == {"b": 40}


def test_if_members_outnumber_the_limit_the_newest_get_nothing() -> None:
    members = [member(name, waiting=3) for name in "abcde"]
    assert allotments(after_rounds(members, 3, 3)) == [1, 1, 1, 0, 0]


def test_if_members_outnumber_the_limit_those_without_callers_get_nothing() -> None:
    members = [member("a"), member("b"), member("c", waiting=1), member("d", waiting=9)]
    given = allotments(after_rounds(members, 3, 3))
    assert given == [0, 0, 1, 2]


def test_members_that_outnumber_the_limit_take_turns() -> None:
    pace = Pace()
    ledger = Ledger(pace, run="1")
    served: dict[str, int] = dict.fromkeys("abcdefg", 0)
    held = dict(served)
    now = NOW
    for epoch in range(1, 400):
        now += pace.quick
        for name in served:
            held[name] = ledger.report(Report(name, epoch, held[name], held[name], 5, 2), now, "1").value
            served[name] += held[name]
        assert sum(held.values()) <= 2
    least, most = min(served.values()), max(served.values())
    assert least > 0
    assert most <= 2 * least, served


@pytest.mark.parametrize("limit", [4, 10, 40, 41, 200])
def test_nothing_moves_while_the_demand_stays_nearly_the_same(limit: int) -> None:
    demands = [64, 60, 30, 20]
    members = after_rounds([member(str(n), waiting=demand) for n, demand in enumerate(demands)], limit, 20)
    settled = allotments(members)
    if limit < sum(demands):
        assert sum(settled) == limit
    for wobble in (1, -1, 1, -1, 0):
        members = [
            Member(each.name, each.allotment, each.in_use, max(1, each.waiting + wobble), NOW) for each in members
        ]
        members = after_rounds(members, limit, 1)
        if limit < sum(demands):
            assert allotments(members) == settled


def test_the_least_of_differing_limits_holds() -> None:
    ledger = Ledger(Pace(), run="1")
    assert ledger.report(Report("a", 1, 0, 0, 100, 40), NOW, "1").value == 40
    answer = ledger.report(Report("b", 1, 0, 0, 100, 10), NOW, "1")
    assert (answer.value, answer.limit) == (0, 10)
    assert ledger.report(Report("a", 2, 40, 0, 100, 40), NOW, "1").value == 5


def test_a_late_report_is_refused_and_changes_nothing() -> None:
    ledger = Ledger(Pace(), run="1")
    ledger.report(Report("a", 2, 0, 0, 5, 40), NOW, "1")
    before = repr(ledger)
    for epoch in (1, 2):
        with pytest.raises(Stale):
            ledger.report(Report("a", epoch, 0, 0, 500, 40), NOW + 1, "1")
    assert repr(ledger) == before


def test_a_new_state_settles_before_anybody_gets_more_than_it_holds() -> None:
    ledger = Ledger(Pace())
    assert ledger.report(Report("new", 1, 0, 0, 64, 40), NOW, "1").value == 0
    assert ledger.report(Report("new", 2, 0, 0, 64, 40), NOW + 1, "1").value == 0
    assert ledger.report(Report("new", 3, 0, 0, 64, 40), NOW + 2, "1").value == 40


def test_after_the_state_was_lost_members_keep_what_they_hold_and_nobody_gets_more_for_a_ttl() -> None:
    ledger = Ledger(Pace())
    assert ledger.report(Report("a", 7, 15, 15, 64, 40), NOW, "2").value == 15
    for second in range(1, 5):
        assert ledger.report(Report("new", second, 0, 0, 64, 40), NOW + second, "2").value == 0
        assert ledger.report(Report("a", 7 + second, 15, 15, 64, 40), NOW + second, "2").value == 15
    assert ledger.report(Report("new", 9, 0, 0, 64, 40), NOW + 5, "2").value > 0


def test_a_clock_that_jumps_takes_nothing_from_a_member_that_goes_on_reporting() -> None:
    ledger = Ledger(Pace(), run="1")
    now = NOW
    ledger.report(Report("a", 1, 0, 0, 64, 40), now, "1")
    for epoch, jump in enumerate((1, 3600, 1, 1, -7200, 1, 1, 1, 1, 1), start=1):
        now += jump
        assert ledger.report(Report("b", epoch, 0, 0, 1, 40), now, "1").value == 0, (epoch, jump)
        assert ledger.report(Report("a", epoch + 1, 40, 40, 0, 40), now, "1").members == 2


reports = st.builds(
    Report,
    member=st.just("me"),
    epoch=st.just(1),
    held=st.integers(0, 300),
    in_use=st.integers(0, 300),
    waiting=st.integers(0, 1000),
    limit=st.just(300),
)


@st.composite
def others(draw: st.DrawFn) -> Others:
    members = draw(st.integers(0, 80))
    wanting = draw(st.integers(0, members))
    return Others(
        members=members,
        wanting=wanting,
        wishes=draw(st.integers(0, 5000)) if wanting else 0,
        reserved=draw(st.integers(0, 400)),
        short=draw(st.integers(0, members)),
        ahead=draw(st.integers(0, wanting)),
    )


@settings(max_examples=1000, deadline=None)
@given(mine=reports, rest=others(), limit=st.integers(1, 300), frozen=st.booleans())
def test_an_allotment_is_within_the_free_room_whatever_the_numbers(
    mine: Report, rest: Others, limit: int, frozen: bool
) -> None:
    verdict = decide(mine, rest, limit, frozen=frozen)
    assert 0 <= verdict.allotment <= max(0, limit - rest.reserved)
    assert verdict.reserved == max(verdict.allotment, mine.held, mine.in_use)
    if frozen:
        assert verdict.allotment <= mine.held
    if rest.members < limit and not frozen and limit - rest.reserved >= 1:
        assert verdict.allotment >= 1


@settings(max_examples=300, deadline=None)
@given(
    limit=st.integers(1, 50),
    steps=st.lists(
        st.tuples(st.integers(0, 7), st.integers(0, 60), st.integers(0, 60), st.booleans(), st.floats(0, 1.4)),
        max_size=60,
    ),
)
def test_allotments_and_leases_in_use_never_exceed_the_limit(
    limit: int, steps: list[tuple[int, int, int, bool, float]]
) -> None:
    """Each step: a member ends some leases, reports, takes leases while the answer is under way, and has it or loses
    it. Each member reports at least every few seconds, so nobody is forgotten."""
    pace = Pace(ttl=1e9, heartbeat=1.0)
    ledger = Ledger(pace, run="1")
    cap, in_use, epoch = [0] * 8, [0] * 8, [0] * 8
    now = NOW
    for who, load, ended, arrives, passes in steps:
        now += passes
        epoch[who] += 1
        in_use[who] -= min(in_use[who], ended)
        waiting = max(0, load - in_use[who])
        said = Report(str(who), epoch[who], cap[who], in_use[who], waiting, limit)
        answer = ledger.report(said, now, "1")
        in_use[who] = max(in_use[who], min(cap[who], load))
        if arrives:
            cap[who] = answer.value
            in_use[who] = max(in_use[who], min(cap[who], load))
        assert sum(map(max, cap, in_use)) <= limit


@settings(max_examples=300, deadline=None)
@given(
    limit=st.integers(1, 60),
    demands=st.lists(st.tuples(st.integers(0, 80), st.integers(0, 60)), min_size=1, max_size=12),
)
def test_a_constant_demand_comes_to_rest_with_all_room_used_or_all_demand_served(
    limit: int, demands: list[tuple[int, int]]
) -> None:
    members = [member(f"{n:02}", allotment=0, in_use=0, waiting=demand) for n, (demand, _) in enumerate(demands)]
    rested = after_rounds(members, limit, 12)
    again = after_rounds(rested, limit, 3)
    assert allotments(again) == allotments(rested)
    wanted = sum(demand for demand, _ in demands)
    used = sum(each.in_use for each in rested)
    idle_places = sum(1 for demand, _ in demands if demand == 0)
    if len(demands) <= limit:
        assert used >= min(wanted, limit - idle_places)
        assert all(each.allotment >= 1 for each in rested)
