"""Sends a file of prompts, one per line, to a model by the workers of a Ray cluster, within one limit for all of them.

    python batch.py prompts.txt answers.jsonl --limit https://api.openai.com=40 --fleet redis://redis.my-app:6379/0

The answers are lines of JSON, in the order in which they come: `number` (of the line, from 0), `answer` or `error`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path
from typing import Any

import ray
from ray.util import ActorPool

Prompt = tuple[int, str]


@ray.remote
class Worker:
    """A process on some node of the cluster. It sends its prompts at once; the fleet says how many are under way."""

    def __init__(self, engine: str, limits: dict[str, int], options: dict[str, Any]) -> None:
        from fast_litellm import fleet

        # As an argument, because Ray shows what a runtime environment has, and the URL may contain a password.
        fleet.configure(limits, url=engine)
        self._options = options

    async def answer(self, prompts: list[Prompt]) -> list[dict[str, Any]]:
        return await asyncio.gather(*(self._answer(number, prompt) for number, prompt in prompts))

    async def fleet(self) -> dict[str, Any]:
        import fast_litellm

        return fast_litellm.get_fleet_status()

    async def _answer(self, number: int, prompt: str) -> dict[str, Any]:
        import litellm

        try:
            answer = await litellm.acompletion(messages=[{"role": "user", "content": prompt}], **self._options)
        except Exception as error:
            return {"number": number, "error": f"{type(error).__name__}: {error}"}
        return {"number": number, "answer": answer.choices[0].message.content}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("prompts", type=Path)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--fleet", default=os.environ.get("FAST_LITELLM_FLEET"), help="URL of the engine")
    parser.add_argument("--limit", action="append", required=True, metavar="ORIGIN=N", help="may be repeated")
    parser.add_argument("--model", default="openai/gpt-4o-mini")
    parser.add_argument("--api-base")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--at-once", type=int, default=64, help="prompts that a worker has at once")
    parser.add_argument("--address", help="of the cluster; default: RAY_ADDRESS, or a cluster on this machine")
    given = parser.parse_args()
    if not given.fleet:
        parser.error("--fleet, or FAST_LITELLM_FLEET, must name the engine")

    limits = {origin: int(limit) for origin, _, limit in (each.rpartition("=") for each in given.limit)}
    options = {"model": given.model, "timeout": 3600, **({"api_base": given.api_base} if given.api_base else {})}
    prompts: list[Prompt] = list(enumerate(given.prompts.read_text().splitlines()))
    parts = [prompts[begin : begin + given.at_once] for begin in range(0, len(prompts), given.at_once)]

    ray.init(address=given.address)
    workers = [Worker.remote(given.fleet, limits, options) for _ in range(given.workers)]
    failed = 0
    with open(given.answers, "w") as file:
        for answers in ActorPool(workers).map_unordered(lambda worker, part: worker.answer.remote(part), parts):
            for answer in answers:
                failed += "error" in answer
                file.write(json.dumps(answer) + "\n")
    statuses = ray.get([worker.fleet.remote() for worker in workers])
    print(json.dumps({"prompts": len(prompts), "failed": failed, "fleet": [each["origins"] for each in statuses]}))
    ray.shutdown()


if __name__ == "__main__":
    main()
