"""Requests to the LiteLLM proxy whose answers are known: the embedded server repeats what it was sent."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import aiohttp

from .litellm_proxy import LitellmProxy

AT_ONCE = 64


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


async def send_all(proxy: LitellmProxy, requests: int, at_once: int = AT_ONCE) -> Counter[str]:
    """Sends so many, `at_once` at a time; what was wrong with how many."""
    numbers = iter(range(requests))
    wrong: Counter[str] = Counter()

    async def one_after_the_other(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            wrong[await chat(session, proxy, number)] += 1

    connector = aiohttp.TCPConnector(limit=at_once)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120)) as session:
        await asyncio.gather(*(one_after_the_other(session) for _ in range(at_once)))
    wrong.pop("", None)
    return wrong
