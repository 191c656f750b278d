"""The HTTP/2 part of the benchmark: what it measures, and how its figures become ratios, tables and targets."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.common.environment import SetupError
from bench.http2 import part, report, targets
from bench.http2.rounds import Results, Sample
from bench.http2.server import running_nginx

TASKS = part.Scenario(part.IN_TASKS, 64, tls=False)


def sample(cpu_us: float = 10.0, p50_us: float | None = None, us: float = 20.0) -> Sample:
    return Sample(100, cpu_us, us, server_cpu_us=15.0, connections=1, p50_us=p50_us)


def measured(**cpu_us: list[float]) -> Results:
    """Results of 64 tasks: the CPU of each client by its key, a figure per round."""
    clients = {client.key.replace("-", "_"): client for client in part.IN_TASKS.clients}
    return Results({(TASKS, clients[key]): [sample(value) for value in values] for key, values in cpu_us.items()})


def line_with(text: str, results: Results) -> str:
    (line,) = (line for line in targets.verdicts(results, [TASKS]) if text in line)
    return line


@pytest.mark.parametrize("target", targets.TARGETS, ids=lambda target: f"{target.client.key}-{target.width}")
def test_every_target_compares_clients_that_are_measured_together(target: targets.Target) -> None:
    assert {target.client, *target.bases} <= {*target.kind.clients}
    for tls in (False, True):
        assert part.Scenario(target.kind, target.width, tls) in part.scenarios()


def test_without_tls_every_scenario_is_plain() -> None:
    assert not any(scenario.tls for scenario in part.scenarios(tls=False))


def test_the_rows_of_a_table_are_of_different_clients() -> None:
    for kind in (*part.TABLES, *part.BESIDES):
        assert len({client.key for client in kind.clients}) == len(kind.clients)
        assert len({client.title for client in kind.clients}) == len(kind.clients)


def test_a_ratio_is_that_of_the_medians() -> None:
    results = measured(arequest_h2=[12.0, 99.0, 13.0], arequest_h1=[10.0, 9.0, 90.0])
    assert ": 1.30 (13.0 against 10.0 us; on the clock 1.00)" in line_with("1.1 x `await pool.arequest`, HTTP", results)


@pytest.mark.parametrize(("own", "word"), [(11.0, "reached"), (11.1, "NOT REACHED")])
def test_a_target_is_reached_up_to_the_asked_ratio(own: float, word: str) -> None:
    line = line_with("1.1 x `await pool.arequest`, HTTP", measured(arequest_h2=[own], arequest_h1=[10.0]))
    assert line.startswith(f"- {word}: ")


def test_a_peer_is_compared_with_on_the_loop_where_it_takes_least() -> None:
    results = measured(arequest_h2=[10.0], pyqwest_h2=[50.0], pyqwest_uvloop_h2=[40.0])
    line = line_with("0.3 x pyqwest, uvloop (64 tasks, plain)", results)
    assert ": 0.25 (10.0 against 40.0 us;" in line


def test_a_client_that_cannot_be_measured_has_no_row_and_its_targets_say_why() -> None:
    results = measured(accelerated_h2=[10.0])
    results.unavailable[part.HTTPX] = "not installed (h2)"
    text = report.render(results, [TASKS], "1 round", "nginx 1")
    assert "| httpx[http2]" not in text
    assert "- not measured: `accelerate(client)` at most 0.25 x httpx[http2] (64 tasks, plain): not installed" in text
    assert "\n- httpx[http2]: not installed (h2)" in text


def test_a_row_shows_how_much_of_its_core_the_server_needed() -> None:
    (row,) = (line for line in report.work_table(measured(httpx_h2=[10.0]), part.IN_TASKS, False) if "httpx[" in line)
    assert [cell.strip() for cell in row.strip("|").split("|")][1:6] == ["10.0", "20.0", "15.0", "75%", "1"]


@pytest.mark.parametrize(("kind", "asked"), [(part.DOWNLOAD, 2.0), (part.STALL, 1.1)], ids=["download", "stall"])
def test_latencies_are_compared_with_those_of_nothing_beside(kind: part.Kind, asked: float) -> None:
    alone, beside = (part.Scenario(each, part.BESIDE, tls=True) for each in (part.ALONE, kind))
    for factor, word in ((asked, "reached"), (asked * 1.01, "NOT REACHED")):
        results = Results(
            {
                (alone, part.ACCELERATED): [sample(p50_us=1_000.0)],
                (beside, part.ACCELERATED): [sample(p50_us=1_000.0 * factor)],
            }
        )
        (line,) = (
            line
            for line in targets.verdicts(results, [beside])
            if line.split(": ")[1].startswith(f"`accelerate(client)`, {beside.title}")
        )
        assert line.startswith(f"- {word}: ")


def test_a_missing_nginx_is_said_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SetupError, match=r"nginx is missing; run `scripts/setup\.sh bench`"), running_nginx(0):
        pass
