"""The matrix for the versions that are installed here; `make compat` runs it for older ones."""

from __future__ import annotations

from typing import Any

import pytest

from . import comparing, matrix
from .cells import CELLS, Cell

#: Anthropic has no embeddings.
NOT_OFFERED = {Cell("anthropic", "embedding"), Cell("anthropic", "aembedding")}
#: These take no URL of a picture over plain HTTP: litellm fetches it. The others get the URL.
FETCHING = {Cell(provider, operation) for provider in ("anthropic", "ollama") for operation in ("image", "aimage")}


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return matrix.run()


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_a_call_goes_through_the_pool_without_a_visible_difference(report: dict[str, Any], cell: Cell) -> None:
    verdict = comparing.judge(cell, report["cells"][cell.name])
    expected = comparing.NOT_OFFERED if cell in NOT_OFFERED else comparing.POOL
    assert verdict.state == expected, str(verdict)


@pytest.mark.parametrize("cell", sorted(FETCHING), ids=lambda cell: cell.name)
def test_the_picture_was_fetched(report: dict[str, Any], cell: Cell) -> None:
    fetched, asked = (request["head"] for request in report["cells"][cell.name]["accelerated"]["requests"])
    assert fetched.startswith(f"GET /images/{cell.name}.png ")
    assert asked.startswith("POST ")


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.operation in ("router", "arouter")], ids=str)
def test_the_router_fell_back(report: dict[str, Any], cell: Cell) -> None:
    first, second = (r["head"] + r["body"] for r in report["cells"][cell.name]["accelerated"]["requests"])
    assert "error-500" in first
    assert "error-500" not in second


def test_the_workers_differ_in_what_carries_them(report: dict[str, Any]) -> None:
    """Or the comparisons above would prove nothing."""
    heads = {mode: seen["requests"][0]["head"] for mode, seen in report["cells"]["openai-acompletion"].items()}
    assert "\r\nhost: " in heads["stock"]  # aiohttp's side of litellm
    assert "\r\nHost: " in heads["httpx"]
    assert report["patch"]["applied"]


def test_the_patch_found_every_point(report: dict[str, Any]) -> None:
    assert "missing" not in report["patch"]["points"].values()


def test_no_worker_reports_leaked_objects_or_warnings(report: dict[str, Any]) -> None:
    for complaint in ("never retrieved", "never awaited", "Unclosed", "ResourceWarning", "Fatal Python error"):
        assert complaint not in report["stderr"]["accelerated"]
