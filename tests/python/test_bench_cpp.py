"""The C++ part of the benchmark: what it measures where, and how its figures become ratios and tables."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.common.interleaving import interleaved
from bench.common.workload import Peer
from bench.cpp import part, report, targets
from bench.cpp.rounds import Effort, Results, Sample, command

PLAIN = Peer(8080, None)
TLS = Peer(8443, "ca.pem")
EFFORT = Effort(rounds=1, seconds=0.3)


def found(**wanted: object) -> part.Scenario:
    """The one scenario with these properties."""
    (scenario,) = (
        each for each in part.scenarios(2) if all(getattr(each, name) == value for name, value in wanted.items())
    )
    return scenario


SMALL = found(work=part.SMALL, width=1, tls=False, placement="same")


def measured(**cpu_us: list[float]) -> Results:
    """Results of one scenario: the CPU of each client by its name, a figure per round."""
    clients = {client.name: client for client in (*part.BLOCKING, *part.LOOPING)}
    samples = {
        (SMALL, clients[name]): [Sample(100, value, 1e6 / value, 1) for value in values]
        for name, values in cpu_us.items()
    }
    return Results(samples)


def test_every_target_is_measured_with_and_without_tls_on_the_same_core_and_across_cores() -> None:
    for target in targets.TARGETS:
        places = {(each.tls, each.placement) for each in part.scenarios(2) if target.applies(each)}
        assert places >= {(tls, placement) for tls in (False, True) for placement in ("same", "cross")}, target.title


def test_one_core_leaves_only_the_scenarios_of_one_core() -> None:
    assert {scenario.placement for scenario in part.scenarios(1)} == {"same"}
    assert {scenario.placement for scenario in part.scenarios(2)} == {"same", "cross", "free"}
    assert not any(scenario.tls for scenario in part.scenarios(2, tls=False))


def test_a_program_gets_the_url_the_sizes_the_times_and_the_authority() -> None:
    scenario = found(work=part.MEGABYTE, loop=False, tls=True, placement="cross")
    own = command(part.REUSE, TLS, scenario, EFFORT)
    assert own[1:] == ["reuse", "https://127.0.0.1:8443/large", "1000000", "1", "0.05", "0.3", "ca.pem"]


def test_the_raw_client_gets_the_size_on_the_wire() -> None:
    scenario = found(work=part.STREAMED, loop=True, tls=False, placement="same")
    raw = command(part.RAW_EPOLL, PLAIN, scenario, EFFORT)
    assert raw[1:] == ["8080", "64", "0.05", "0.3", str(part.STREAMED.wire_size)]
    assert part.STREAMED.wire_size > part.STREAMED.body_size


def test_a_ratio_is_that_of_the_medians() -> None:
    results = measured(send=[12.0, 99.0, 13.0], beast=[10.0, 9.0, 90.0])
    target = targets.TARGETS[0]
    assert (target.client, target.base) == (part.SEND, part.BEAST_SYNC)
    assert targets.ratio(results, target, SMALL) == pytest.approx(1.3)


@pytest.mark.parametrize(("send", "word"), [(12.5, "reached"), (12.6, "NOT REACHED")])
def test_a_target_is_reached_up_to_the_asked_ratio(send: float, word: str) -> None:
    lines = [*targets.verdicts(measured(send=[send], beast=[10.0]), [SMALL])]
    (line,) = (line for line in lines if "`send` / Beast" in line)
    assert line.startswith(f"- {word}: ")
    assert f"({send:.1f} against 10.0 us)" in line


def test_a_missing_peer_has_no_row_and_its_targets_are_not_measured() -> None:
    results = measured(send=[12.0], beast=[10.0])
    results.absent.append("libcurl easy: not built, libcurl is missing")
    text = report.render(results, [SMALL], "1 round")
    assert "| libcurl easy" not in text
    assert "- not measured: `send` / libcurl easy at most 0.6 " in text
    assert "\n- libcurl easy: not built" in text
    assert "libcurl easy" not in report.readme_figures(results, [SMALL], "1 round")


def test_the_readme_shows_what_is_asked_beside_what_was_measured() -> None:
    lines = report.readme_figures(measured(send=[12.0], beast=[10.0]), [SMALL], "1 round").splitlines()
    (row,) = (line for line in lines if "`send` / Beast" in line)
    assert [cell.strip() for cell in row.strip("|").split("|")][1:] == ["1.25", "1.20"]


def test_figures_that_hold_dials_are_named() -> None:
    results = measured(send=[12.0])
    results.samples[SMALL, part.SEND].append(replace(results.samples[SMALL, part.SEND][0], connections=5))
    assert "`send` (300 B, 1 thread, plain, same core) opened 5 connections" in report.render(
        results, [SMALL], "1 round"
    )


def test_each_round_begins_with_another_client() -> None:
    told: list[str] = []
    order = [*interleaved({"case": ["a", "b", "c"]}, 2, lambda case, client: f"{case}: {client}", told.append)]
    assert order == [("case", client) for client in "abcbca"]
    assert told[0].startswith("round 1/2  0/6")
    assert told[-1].endswith("case: a")
