"""The LiteLLM proxy under `fast-litellm run`: a real server, two workers, no change to it.

FAST_LITELLM_TEST_PROXY_REQUESTS says how many requests; from 2,000 on the proxy is also run with everything turned off.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fast_litellm.server import EmbeddedServer
from peers.litellm_proxy import LitellmProxy

REQUESTS = int(os.environ.get("FAST_LITELLM_TEST_PROXY_REQUESTS") or 400)
AT_ONCE = 64
WORKERS = 2
LAUNCHER = [sys.executable, "-m", "fast_litellm", "run"]


async def chat(session: aiohttp.ClientSession, proxy: LitellmProxy, number: int) -> str:
    """One request, every fourth streamed; "" if the answer is what it must be, else what was wrong with it."""
    prompt = f"request {number}: what is a connection pool? " + "word " * (number % 50)
    body = {"model": "chat", "messages": [{"role": "user", "content": prompt}], "stream": number % 4 == 0}
    async with session.post(
        f"{proxy.url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {proxy.key}"}
    ) as response:
        text = await response.text()
        if response.status != 200:
            return f"status {response.status}: {text[:200]}"
        answer = streamed(text) if body["stream"] else json.loads(text)["choices"][0]["message"]["content"]
        return "" if answer == prompt else f"another answer: {text[:200]!r}"


def streamed(text: str) -> str:
    events = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    if events[-1] != "[DONE]":
        return f"no end: {events[-1]}"
    choices = [choice for event in events[:-1] for choice in json.loads(event)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


async def send_all(proxy: LitellmProxy) -> Counter[str]:
    """All requests, so many at a time; what was wrong with how many."""
    numbers = iter(range(REQUESTS))
    wrong: Counter[str] = Counter()

    async def one_after_the_other(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            wrong[await chat(session, proxy, number)] += 1

    connector = aiohttp.TCPConnector(limit=AT_ONCE)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120)) as session:
        await asyncio.gather(*(one_after_the_other(session) for _ in range(AT_ONCE)))
    wrong.pop("", None)
    return wrong


def total(reports: list[dict[str, Any]], name: str) -> int:
    return sum(report["stats"]["pool"][name] for report in reports)


def test_the_proxy_answers_through_the_pool_and_stops_cleanly(openai_server: EmbeddedServer, tmp_path: Path) -> None:
    with LitellmProxy(tmp_path / "proxy", openai_server, LAUNCHER, WORKERS, {}) as proxy:
        # What a worker asks for when it starts is no chat: counted from here on.
        before = openai_server.stats()
        requests_before = total([report for report in proxy.reports() if report], "requests")
        assert asyncio.run(send_all(proxy)) == {}
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


@pytest.mark.skipif(REQUESTS < 2000, reason="it starts for half a minute; `make stress` runs it")
def test_turned_off_the_proxy_answers_without_the_package(openai_server: EmbeddedServer, tmp_path: Path) -> None:
    with LitellmProxy(tmp_path / "proxy", openai_server, LAUNCHER, WORKERS, {"FAST_LITELLM_ENABLED": "false"}) as proxy:
        assert asyncio.run(send_all(proxy)) == {}
        assert proxy.reports() == [None] * WORKERS
        assert proxy.stop() == 0
        assert proxy.left_behind() == []
