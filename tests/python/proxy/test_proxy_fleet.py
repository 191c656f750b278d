"""The LiteLLM proxy with four workers and one limit for all of them, by environment alone."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fleet.counting_chat import CountingChat
from fleet.processes import wait_until
from peers.litellm_proxy import LitellmProxy
from peers.proxy_load import send_all

REQUESTS = int(os.environ.get("FAST_LITELLM_TEST_PROXY_REQUESTS") or 400)
WORKERS = 4
LIMIT = 40
#: Each takes 2 s: 25 s at the limit, and the requests at the end, which no others wait behind.
AT_ONCE = 128
SENT = 500 + AT_ONCE
LAUNCHER = [sys.executable, "-m", "fast_litellm", "run"]


async def load(proxy: LitellmProxy, upstream: CountingChat) -> tuple[Counter[str], float]:
    """What was wrong with the answers, and how much of the limit was used while more requests waited than it allows."""
    served, begin, busy = upstream.served, time.monotonic(), upstream.busy_seconds()
    sending = asyncio.create_task(send_all(proxy, SENT, AT_ONCE))
    while not sending.done() and upstream.served - served < SENT - AT_ONCE:
        await asyncio.sleep(0.02)
    used = (upstream.busy_seconds() - busy) / (time.monotonic() - begin) / LIMIT
    return await sending, used


def of_fleet(proxy: LitellmProxy, origin: str) -> list[dict[str, Any]]:
    """What each worker's agent says of the origin; nothing for a worker without an agent."""
    return [report["fleet"].get("origins", {}).get(origin, {}) for report in proxy.reports() if report]


@pytest.mark.skipif(REQUESTS < 2000, reason="elsewhere: four workers start for a minute; `make stress` runs it")
def test_the_workers_of_the_proxy_together_never_exceed_the_limit(
    tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    with CountingChat(2.0) as upstream:
        environment = {
            "FAST_LITELLM_FLEET": f"sqlite:///{tmp_path}/fleet.db",
            "FAST_LITELLM_FLEET_LIMITS": f"{upstream.origin}={LIMIT}",
        }
        with LitellmProxy(tmp_path / "proxy", upstream, LAUNCHER, WORKERS, environment) as proxy:
            # The kernel chooses who accepts a connection: the second load follows when all workers have had requests.
            assert asyncio.run(send_all(proxy, 160, AT_ONCE)) == {}
            wait_until(
                lambda: (
                    [each.get("members", 0) >= WORKERS for each in of_fleet(proxy, upstream.origin)] == [True] * WORKERS
                ),
                "each worker is a member",
                lambda: of_fleet(proxy, upstream.origin),
            )
            served = upstream.served
            wrong, used = asyncio.run(load(proxy, upstream))
            assert wrong == {}
            members = max(each.get("members", 0) for each in of_fleet(proxy, upstream.origin))
            print(f"utilisation {used:.3f}, most {upstream.most} of {LIMIT}, {members} members")
            record_property("utilisation", used)
            reports = [report for report in proxy.reports() if report]

            assert upstream.served - served == SENT
            # All of it is used while all are hungry, if the machine is fast enough: the figure above says so.
            assert LIMIT // 2 < upstream.most <= LIMIT
            for report in reports:
                assert report["patch"]["requests_stock"] == {}
                assert report["fleet"]["error"] == ""
                assert report["fleet"]["times_degraded"] == 0
            assert proxy.stop() == 0
            assert proxy.left_behind() == []
            assert "Traceback" not in proxy.log()
