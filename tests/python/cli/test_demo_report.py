"""The demo fails when it should: decided on plain values."""

from __future__ import annotations

import pytest

from fast_litellm.cli.demo_report import PoolCounts, Row, percentile, verdict


def row(client: str = "accelerated", calls: int = 200, errors: dict[str, int] | None = None) -> Row:
    return Row(client, "completion", calls, errors or {}, [0.001] * calls, 0.001, 1, 1)


def pool(requests: int = 200, leases: int = 200, opened: int = 1, **stock: int) -> PoolCounts:
    return PoolCounts({"requests": requests, "leases": leases, "connections_opened": opened}, stock)


def test_all_is_well_when_the_pool_carried_every_call() -> None:
    assert verdict([row("stock"), row()], pool(), 1) == []


def test_a_request_that_was_sent_again_is_no_problem() -> None:
    assert verdict([row()], pool(leases=201, opened=2), 2) == []


def test_a_failed_call_of_either_client_is_a_problem() -> None:
    for client in ("stock", "accelerated"):
        (problem,) = verdict([row(client, errors={"Timeout: no answer": 3})], pool(), 1)
        assert "3 of 200" in problem
        assert "no answer" in problem


def test_a_call_that_the_pool_did_not_carry_is_a_problem() -> None:
    for counts in (pool(requests=199), pool(leases=199)):
        assert verdict([row()], counts, 1) == ["the pool carried 199 of the 200 calls of the accelerated client"]


def test_without_the_pool_nothing_was_carried() -> None:
    assert verdict([row()], PoolCounts.from_performance_stats({"pool": {}}), None)


def test_a_request_over_the_stock_transport_is_a_problem() -> None:
    (problem,) = verdict([row()], pool(instrumented=2), 1)
    assert "instrumented" in problem


def test_a_connection_that_the_pool_does_not_know_is_a_problem() -> None:
    assert verdict([row()], pool(opened=1), 2)


def test_of_a_real_provider_nobody_asks_how_many_connections_it_saw() -> None:
    assert verdict([row("stock"), row()], pool(), None) == []


@pytest.mark.parametrize(("share", "value"), [(0.5, 100), (0.99, 198), (1.0, 200), (0.0, 1), (0.001, 1), (0.995, 199)])
def test_a_percentile_is_a_value_that_was_measured(share: float, value: int) -> None:
    assert percentile(range(200, 0, -1), share) == value
