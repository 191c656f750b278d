"""How long a member waits between two looks at its pool, and between two reports (`fleet/rounds.py`)."""

from __future__ import annotations

import dataclasses

import pytest

from fast_litellm.fleet.ledger import Allotment, Pace
from fast_litellm.fleet.rounds import Standing, is_due, next_look, pause_after, quiet_looks, unchanged_reports

PACE = Pace()


@pytest.mark.parametrize(("count", "pause"), [(0, 0.1), (24, 0.1), (25, 0.2), (29, 0.2), (30, 0.5), (1_000_000, 0.5)])
def test_pauses_are_a_tenth_then_a_fifth_then_half_a_second(count: int, pause: float) -> None:
    assert pause_after(count, PACE) == pytest.approx(pause)


def test_members_that_wait_for_a_new_engine_to_settle_report_ten_times_a_second_until_it_has() -> None:
    assert pause_after(int(PACE.settle / PACE.quick) + 1, PACE) == PACE.quick


#: 40 reports in a row changed nothing, the last one 0.1 s ago: 2 leases, 4 callers wait.
STUCK = Standing(40, tried=0.0, cap=2, members=3, content=False, in_use=2, waiting=4, unchanged=40)


@pytest.mark.parametrize(
    ("in_use", "waiting", "since", "due"),
    [
        (2, 4, 0.48, False),
        (2, 4, 0.51, True),
        (2, 9, 0.1, False),
        (2, 10, 0.1, True),
        (2, 2, 0.1, False),
        (1, 2, 0.1, True),
        (2, 0, 0.51, False),
        (2, 0, 1.0, True),
    ],
)
def test_a_member_that_waits_in_vain_reports_less_often_until_its_need_is_another(
    in_use: int, waiting: int, since: float, due: bool
) -> None:
    assert is_due(STUCK, in_use, waiting, since, PACE) is due


def test_room_that_others_wait_for_is_reported_at_once_however_long_nothing_changed() -> None:
    over = dataclasses.replace(STUCK, content=True, in_use=5)
    assert is_due(over, 4, 4, 0.1, PACE)
    assert unchanged_reports(over, 4, 4, Allotment(2, 3, 40, True)) == 0


@pytest.mark.parametrize(
    ("changed", "answer", "in_use", "waiting", "unchanged"),
    [
        ("nothing", Allotment(2, 3, 40, False), 2, 4, 41),
        ("a caller more", Allotment(2, 3, 40, False), 2, 5, 41),
        ("the allotment", Allotment(3, 3, 40, False), 2, 4, 0),
        ("the members", Allotment(2, 4, 40, False), 2, 4, 0),
        ("more reports gain nothing", Allotment(2, 3, 40, True), 2, 4, 0),
        ("the demand doubled", Allotment(2, 3, 40, False), 2, 10, 0),
        ("nobody waits", Allotment(2, 3, 40, False), 2, 0, 0),
    ],
)
def test_a_report_that_changed_something_ends_the_row_of_those_that_did_not(
    changed: str, answer: Allotment, in_use: int, waiting: int, unchanged: int
) -> None:
    assert unchanged_reports(STUCK, in_use, waiting, answer) == unchanged


def test_a_report_after_a_failed_one_begins_a_new_row() -> None:
    failed = dataclasses.replace(STUCK, failed=True)
    assert unchanged_reports(failed, 2, 4, Allotment(2, 3, 40, False)) == 0


HELD = Standing(40, tried=0.0, cap=10, members=3, in_use=5, quiet=40)


@pytest.mark.parametrize(
    ("standing", "in_use", "waiting", "since", "pause"),
    [
        # Nobody waits.
        (HELD, 5, 0, 0.0, 0.5),
        (dataclasses.replace(HELD, quiet=0), 5, 0, 0.0, 0.1),
        (HELD, 0, 0, 0.0, 0.5),
        (dataclasses.replace(HELD, cap=0, in_use=0), 0, 0, 0.0, 0.1),
        # Callers wait: with the engine's word that reports gain nothing, without it, and before the first report.
        (dataclasses.replace(HELD, in_use=10, waiting=3), 10, 3, 0.25, 0.75),
        (dataclasses.replace(HELD, in_use=10, waiting=3, content=False), 10, 3, 0.05, 0.1),
        (dataclasses.replace(HELD, in_use=10, waiting=3, content=False, unchanged=40), 10, 3, 0.0, 0.5),
        (HELD, 10, 3, 0.05, 0.1),
        # Leases keep room that belongs to others.
        (dataclasses.replace(HELD, in_use=12, waiting=3, quiet=0), 12, 3, 0.0, 0.1),
        (dataclasses.replace(HELD, in_use=12, waiting=3), 12, 3, 0.0, 0.5),
        # The engine did not answer.
        (dataclasses.replace(HELD, failed=True), 5, 0, 0.0, 0.5),
        # Never at once.
        (dataclasses.replace(HELD, in_use=10, waiting=3), 10, 3, 7.0, 0.1),
    ],
)
def test_the_next_look_is_when_something_may_be_to_report(
    standing: Standing, in_use: int, waiting: int, since: float, pause: float
) -> None:
    assert next_look(standing, in_use, waiting, since, PACE) == pytest.approx(pause)


@pytest.mark.parametrize(
    ("leases", "in_use", "waiting", "quiet"), [(5, 5, 0, 41), (5, 5, 1, 0), (12, 12, 3, 41), (12, 11, 3, 0)]
)
def test_a_look_is_quiet_if_nobody_waits_or_no_lease_of_too_many_ended(
    leases: int, in_use: int, waiting: int, quiet: int
) -> None:
    assert quiet_looks(dataclasses.replace(HELD, in_use=leases), in_use, waiting) == quiet
