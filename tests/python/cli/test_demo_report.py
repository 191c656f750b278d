"""The demo fails when it should, and shows what it measured: decided on plain values."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from fast_litellm.cli.demo.phases import PHASES, parts
from fast_litellm.cli.demo.report import PoolCounts, Row, percentile, results_table, verdict
from fast_litellm.cli.demo.run import _draw


def row(client: str = "accelerated", calls: int = 200, errors: dict[str, int] | None = None) -> Row:
    return Row(client, "completion", calls, Counter(errors or {}), [0.001] * calls, [], 1.0, 0.001 * calls, 1, 1)


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


def test_with_a_real_provider_its_connections_are_not_counted() -> None:
    assert verdict([row("stock"), row()], pool(), None) == []


@pytest.mark.parametrize(("share", "value"), [(0.5, 100), (0.99, 198), (1.0, 200), (0.0, 1), (0.001, 1), (0.995, 199)])
def test_a_percentile_is_a_value_that_was_measured(share: float, value: int) -> None:
    assert percentile(range(200, 0, -1), share) == value


@pytest.mark.parametrize("calls", [1, 2, 3, 7, 200, 256])
def test_each_call_is_in_exactly_one_part(calls: int) -> None:
    for phase in PHASES:
        each = parts(calls, phase.rounds)
        assert sum(each) == calls
        assert len(each) <= phase.rounds
        assert 0 < min(each) <= max(each) <= min(each) + 1


def test_the_parts_of_a_phase_add_up() -> None:
    whole = Row("stock", "streamed")
    for errors in ({"Timeout": 1}, {"Timeout": 2, "Other": 1}):
        whole.add(
            {
                "calls": 3,
                "errors": errors,
                "latencies": [0.2, 0.1, 0.3],
                "first_tokens": [0.05],
                "elapsed": 0.6,
                "processor_time": 0.3,
            }
        )
        whole.add_connections(2, 3)
    assert (whole.calls, whole.errors, whole.error_count) == (6, {"Timeout": 3, "Other": 1}, 4)
    assert (whole.handshakes, whole.connections) == (4, 6)
    assert whole.processor_time_per_call == pytest.approx(0.1)
    assert whole.first_token == 0.05
    assert len(whole.latencies) == 6


def test_one_table_shows_stock_beside_accelerated() -> None:
    console = Console(width=140)
    streamed = Row("stock", "streamed", 4, Counter(), [0.02] * 4, [0.0123] * 4, 2.0, 0.04)
    with console.capture() as capture:
        console.print(results_table([row("stock"), row("accelerated"), streamed]))
    lines = capture.get().splitlines()
    (first,) = [number for number, line in enumerate(lines) if "completion" in line]
    assert "stock" in lines[first]
    assert "accelerated" in lines[first + 1]
    (line,) = [line for line in lines if "streamed" in line]
    assert "12.30" in line  # the first token
    assert "n/a" in line  # connections that cannot be counted


def test_the_figures_become_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    streamed = Row("accelerated", "streamed", 4, Counter(), [0.02] * 4, [0.0123] * 4, 2.0, 0.04)
    file = tmp_path / "new" / "demo.png"
    assert str(file) in _draw([row("stock"), row(), streamed], file)
    assert file.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_report_says_how_to_get_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    assert "pip install 'fast-litellm[picture]'" in _draw([row("stock"), row()], tmp_path / "demo.png")
    assert not (tmp_path / "demo.png").exists()


def test_a_picture_that_cannot_be_written_does_not_fail_the_demo(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "file").touch()
    assert "No picture: " in _draw([row("stock"), row()], tmp_path / "file" / "demo.png")
