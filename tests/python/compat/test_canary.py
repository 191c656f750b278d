"""What `make canary` decides to run, and what it calls a loss."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "scripts"))

import canary
from canary_checks import Outcome

LOCKED = dict.fromkeys(canary.PACKAGES, "1.0")


def names(latest: dict[str, str], locked: dict[str, str] = LOCKED) -> list[str]:
    return [combination.name for combination in canary.combinations(locked, latest)]


def test_a_package_that_is_the_newest_already_has_no_environment_of_its_own() -> None:
    assert names(LOCKED) == ["all of them", "SDKs without litellm", "LiteLLM proxy"]
    assert names({**LOCKED, "litellm": "2.0"}) == ["all of them", "SDKs without litellm", "LiteLLM proxy"]


def test_each_newer_package_is_tried_alone() -> None:
    latest = {**LOCKED, "openai": "2.0", "trio": "1.1"}
    assert names(latest)[:2] == ["openai alone", "trio alone"]
    alone = canary.combinations(LOCKED, latest)[0]
    assert "openai==2.0" in alone.attempts[0]
    assert "trio==1.0" in alone.attempts[0]
    assert "trio" in alone.attempts[1]  # where the locked ones do not fit


def test_a_package_that_is_not_installed_here_is_pinned_to_nothing() -> None:
    locked = {**LOCKED, "anthropic": ""}  # on a Python that it does not support
    alone = canary.combinations(locked, {**LOCKED, "openai": "2.0"})[0]
    assert not any("==" in requirement and requirement.startswith("anthropic") for requirement in alone.attempts[0])


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(calls=9, carried=8, clients=3, native=3),
        Outcome(calls=9, carried=9, clients=3, native=2),
        Outcome(calls=9, carried=9, clients=0, native=0),
        Outcome(calls=9, carried=9, clients=3, native=3, differences=("a point is missing",)),
    ],
    ids=["not carried", "tls by a context", "no client", "a difference"],
)
def test_a_lost_acceleration_or_a_difference_is_a_loss(outcome: Outcome) -> None:
    assert outcome.is_loss


def test_nothing_is_lost_if_each_call_and_each_client_is_as_it_should_be() -> None:
    assert not Outcome.of([Outcome(9, 9, 3, 3), Outcome(2, 2, 1, 1)]).is_loss


def test_a_combination_that_cannot_be_run_is_a_loss_and_the_table_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(python: str) -> Outcome:
        raise AssertionError("the proxy ended | with 1")

    monkeypatch.setattr(canary, "prepare", lambda *_: (sys.executable, []))
    row, lost = canary.run(canary.Combination("mine", ("trio",), ((),), (fails,)), True, LOCKED, LOCKED)
    assert lost
    assert "could not be run: the proxy ended" in row.differences
    assert canary.table([row]).splitlines()[2] == (
        "| mine | trio 1.0 | trio 1.0 | none | none | could not be run: the proxy ended / with 1 |"
    )
