"""The LiteLLM proxy under `fast-litellm run`: a real server, two workers, no change to it.

FAST_LITELLM_TEST_PROXY_REQUESTS says how many requests; from 2,000 on the proxy is also run with everything turned off.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from fast_litellm.server import EmbeddedServer
from peers.litellm_proxy import LitellmProxy
from peers.proxy_load import AT_ONCE, send_all

REQUESTS = int(os.environ.get("FAST_LITELLM_TEST_PROXY_REQUESTS") or 400)
WORKERS = 2
LAUNCHER = [sys.executable, "-m", "fast_litellm", "run"]


def total(reports: list[dict[str, Any]], name: str) -> int:
    return sum(report["stats"]["pool"][name] for report in reports)


def test_the_proxy_answers_through_the_pool_and_stops_cleanly(openai_server: EmbeddedServer, tmp_path: Path) -> None:
    with LitellmProxy(tmp_path / "proxy", openai_server, LAUNCHER, WORKERS, {}) as proxy:
        # What a worker asks for when it starts is no chat: counted from here on.
        before = openai_server.stats()
        requests_before = total([report for report in proxy.reports() if report], "requests")
        assert asyncio.run(send_all(proxy, REQUESTS)) == {}
        added = openai_server.stats().since(before)
        reports = [report for report in proxy.reports() if report]
        assert len(reports) == WORKERS

        assert added.requests == REQUESTS
        assert total(reports, "requests") - requests_before == REQUESTS
        for report in reports:
            assert report["patch"]["applied"]
            assert report["patch"]["requests_stock"] == {}
        # In each worker as many connections as it had requests under way at most, and all of them the pool's.
        assert total(reports, "connections_opened") >= added.connections_accepted
        for report in reports:
            assert 0 < report["stats"]["pool"]["connections_opened"] <= AT_ONCE
        assert total(reports, "retried") == 0

        assert proxy.stop() == 0
        assert proxy.left_behind() == []
        assert "Traceback" not in proxy.log()
        assert "never retrieved" not in proxy.log()


@pytest.mark.skipif(REQUESTS < 2000, reason="elsewhere: it starts for half a minute; `make stress` runs it")
def test_turned_off_the_proxy_answers_without_the_package(openai_server: EmbeddedServer, tmp_path: Path) -> None:
    with LitellmProxy(tmp_path / "proxy", openai_server, LAUNCHER, WORKERS, {"FAST_LITELLM_ENABLED": "false"}) as proxy:
        assert asyncio.run(send_all(proxy, REQUESTS)) == {}
        assert proxy.reports() == [None] * WORKERS
        assert proxy.stop() == 0
        assert proxy.left_behind() == []
