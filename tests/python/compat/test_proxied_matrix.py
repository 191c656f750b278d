"""The matrices with a proxy, for the versions that are installed here; `make compat` runs them for older ones."""

from __future__ import annotations

from typing import Any

import pytest

from . import comparing, matrix
from .cells import PROXIED_CELLS, Cell
from .sdk_cells import PROXIED_SDK_CELLS, SdkCell

#: Anthropic has no embeddings.
NOT_OFFERED = {Cell("anthropic", "aembedding")}


@pytest.fixture(scope="module")
def of_litellm() -> dict[str, Any]:
    return matrix.run_proxied()


@pytest.fixture(scope="module")
def of_sdks() -> dict[str, Any]:
    return matrix.run_proxied_sdks()


@pytest.mark.parametrize("cell", PROXIED_CELLS, ids=lambda cell: cell.name)
def test_a_call_of_litellm_goes_through_the_pool_and_the_environments_proxy(
    of_litellm: dict[str, Any], cell: Cell
) -> None:
    outcomes = of_litellm["cells"][cell.name]
    verdict = comparing.judge(cell, outcomes)
    assert verdict.state == (comparing.NOT_OFFERED if cell in NOT_OFFERED else comparing.POOL), str(verdict)
    assert outcomes["accelerated"]["past_the_proxy"] == 0


@pytest.mark.parametrize("cell", PROXIED_SDK_CELLS, ids=lambda cell: cell.name)
def test_a_call_of_an_sdk_goes_through_the_pool_and_its_proxy(of_sdks: dict[str, Any], cell: SdkCell) -> None:
    outcomes = of_sdks["cells"][cell.name]
    verdict = comparing.judge(cell, outcomes)
    assert verdict.state == comparing.POOL, str(verdict)
    assert outcomes["accelerated"]["past_the_proxy"] == 0


def test_pictures_over_plain_http_are_forwarded(of_litellm: dict[str, Any]) -> None:
    for name in ("anthropic-image", "anthropic-aimage"):
        fetched = of_litellm["cells"][name]["accelerated"]["requests"][0]["head"]
        assert fetched.startswith(f"GET http://127.0.0.1:{_port(fetched)}/images/{name}.png ")


def _port(head: str) -> str:
    return head.partition("127.0.0.1:")[2].partition("/")[0]


@pytest.mark.parametrize("which", ["of_litellm", "of_sdks"])
def test_the_proxies_were_used_and_no_client_was_left_out(which: str, request: pytest.FixtureRequest) -> None:
    report = request.getfixturevalue(which)
    assert all("CONNECT" in methods for methods in report["proxied"].values())
    assert report["status"]["requests_stock"] == report["status"]["tls_by_context"] == {}
