"""The demo's client process: litellm, nothing else, measured.

Takes one line of JSON with the settings on standard input, then one line per part of a phase (`Part`), and answers each
with lines of JSON: progress, and the part's result at the end. litellm's own printing goes to stderr.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import fast_litellm

from .phases import PHASES, Phase

PROGRESS_EVERY = 10


class Answer(NamedTuple):
    text: str
    first_token: float | None  # when it came, by the clock of perf_counter; None if the answer was not streamed


class Client:
    """litellm with the settings of the demo."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        litellm: Any = importlib.import_module("litellm")
        litellm.suppress_debug_info = True
        self._completion = litellm.completion
        self._acompletion = litellm.acompletion

    def call(self, prompt: str, *, streaming: bool, key: str = "", **more: Any) -> Answer:
        answer = self._completion(**self._arguments(prompt, streaming, key), **more)
        if not streaming:
            return Answer(answer.choices[0].message.content or "", None)
        text = Text()
        for chunk in answer:
            text.add(chunk)
        return text.answer()

    async def acall(self, prompt: str, *, streaming: bool, key: str = "", **more: Any) -> Answer:
        answer = await self._acompletion(**self._arguments(prompt, streaming, key), **more)
        if not streaming:
            return Answer(answer.choices[0].message.content or "", None)
        text = Text()
        async for chunk in answer:
            text.add(chunk)
        return text.answer()

    def rehearse(self) -> None:
        """Imports what litellm would import at its first call. Makes no client and sends nothing."""
        importlib.import_module("openai.resources.chat.completions")
        for streaming in (False, True):
            self.call("rehearsal", streaming=streaming, mock_response="rehearsal")
            asyncio.run(self.acall("rehearsal", streaming=streaming, mock_response="rehearsal"))

    def _arguments(self, prompt: str, streaming: bool, key: str) -> dict[str, Any]:
        return {
            "model": f"openai/{self._settings['model']}",
            "api_base": self._settings["base_url"],
            "api_key": key or self._settings["api_key"],
            "messages": [{"role": "user", "content": prompt}],
            "stream": streaming,
            "max_tokens": 32,
            "timeout": 60,
            # Each call is one request: a failure is shown, not covered up.
            "num_retries": 0,
            "max_retries": 0,
        }


class Text:
    """The text of a stream, and when it began."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._first: float | None = None

    def add(self, chunk: Any) -> None:
        piece = (chunk.choices[0].delta.content or "") if chunk.choices else ""
        if piece:
            self._pieces.append(piece)
            if self._first is None:
                self._first = time.perf_counter()

    def answer(self) -> Answer:
        return Answer("".join(self._pieces), self._first)


class Part:
    """Some calls of one phase: the numbers from `first` on. One at a time per process."""

    def __init__(
        self, client: Client, phase: Phase, first: int, calls: int, echoes: bool, report: Callable[[int], None]
    ) -> None:
        self._client = client
        self._phase = phase
        self._first = first
        self._calls = calls
        self._echoes = echoes
        self._report = report
        self._latencies: list[float] = []
        self._first_tokens: list[float] = []
        self._errors: Counter[str] = Counter()

    def run(self, loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
        """Makes the calls; `loop` is for phases that have one."""
        processor_time, start = time.process_time(), time.perf_counter()
        numbers = iter(range(self._first, self._first + self._calls))
        if self._phase.loop == "one":
            loop.run_until_complete(self._at_once(numbers))
        else:
            for number in numbers:
                self._one_by_one(number)
        return {
            "calls": self._calls,
            "errors": dict(self._errors),
            "latencies": self._latencies,
            "first_tokens": self._first_tokens,
            "elapsed": time.perf_counter() - start,
            "processor_time": time.process_time() - processor_time,
            "stats": fast_litellm.get_performance_stats(),
        }

    def _one_by_one(self, number: int) -> None:
        start = time.perf_counter()
        try:
            if self._phase.loop == "each":
                answer = asyncio.run(self._client.acall(**self._arguments(number)))
            else:
                answer = self._client.call(**self._arguments(number))
            self._check(number, answer, start)
        except Exception as error:
            self._count(error)
        self._done(start)

    async def _at_once(self, numbers: Iterator[int]) -> None:
        async def one_after_the_other() -> None:
            for number in numbers:
                start = time.perf_counter()
                try:
                    self._check(number, await self._client.acall(**self._arguments(number)), start)
                except Exception as error:
                    self._count(error)
                self._done(start)

        await asyncio.gather(*(one_after_the_other() for _ in range(min(self._phase.at_once, self._calls))))

    def _arguments(self, number: int) -> dict[str, Any]:
        key = f"tenant-{number % self._phase.keys}" if self._phase.keys > 1 else ""
        return {"prompt": self._prompt(number), "streaming": self._phase.streaming, "key": key if self._echoes else ""}

    def _prompt(self, number: int) -> str:
        return f"{self._phase.name} {number}: what is a connection pool?"

    def _check(self, number: int, answer: Answer, start: float) -> None:
        if self._echoes and answer.text != self._prompt(number):
            raise ValueError(f"the answer to another question: {answer.text!r} for {self._prompt(number)!r}")
        if answer.first_token is not None:
            self._first_tokens.append(answer.first_token - start)

    def _count(self, error: Exception) -> None:
        self._errors[f"{type(error).__name__}: {error}"] += 1

    def _done(self, start: float) -> None:
        self._latencies.append(time.perf_counter() - start)
        if len(self._latencies) % PROGRESS_EVERY == 0:
            self._report(len(self._latencies))


def end(loop: asyncio.AbstractEventLoop) -> None:
    """What asyncio.run does at its end."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message, default=str) + "\n")
        answers.flush()

    settings = json.loads(sys.stdin.readline())
    client = Client(settings)
    client.rehearse()
    phases = {phase.name: phase for phase in PHASES}
    loop = asyncio.new_event_loop()
    say({"ready": True, "patch": fast_litellm.get_patch_status(), "stats": fast_litellm.get_performance_stats()})
    for line in sys.stdin:
        wanted = json.loads(line)
        part = Part(
            client,
            phases[wanted["phase"]],
            wanted["first"],
            wanted["calls"],
            settings["echoes"],
            lambda done: say({"done": done}),
        )
        say({"result": part.run(loop)})
    end(loop)


if __name__ == "__main__":
    main()
