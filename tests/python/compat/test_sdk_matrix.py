"""The matrix of the SDKs by themselves, for the versions that are installed here; `make canary`: for the newest."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from . import comparing, matrix
from .sdk_cells import SDK_CELLS, SdkCell

HERE = [cell for cell in SDK_CELLS if importlib.util.find_spec(cell.sdk) is not None]


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return matrix.run_sdks(cells=HERE)


@pytest.mark.parametrize("cell", HERE, ids=lambda cell: cell.name)
def test_a_call_of_an_sdk_goes_through_the_pool_without_a_visible_difference(
    report: dict[str, Any], cell: SdkCell
) -> None:
    verdict = comparing.judge(cell, report["cells"][cell.name])
    assert verdict.state == comparing.POOL, str(verdict)


def test_each_client_had_the_pools_own_tls(report: dict[str, Any]) -> None:
    assert report["status"]["accelerated_clients"] == len(HERE)
    assert report["status"]["tls_by_context"] == report["status"]["fallback_reasons"] == {}
