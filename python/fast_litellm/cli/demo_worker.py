"""The demo's client process: litellm, nothing else, measured.

Takes one line of JSON with the settings on standard input, then one line per phase ("completion" or "streaming"), and
answers each with lines of JSON: progress, and the phase's result at the end. litellm's own printing goes to stderr.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections import Counter
from typing import Any

import fast_litellm

PROGRESS_EVERY = 10


class Client:
    """litellm with the settings of the demo."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        litellm: Any = importlib.import_module("litellm")
        litellm.suppress_debug_info = True
        self._completion = litellm.completion

    def call(self, prompt: str, *, streaming: bool, **more: Any) -> str:
        """One call; the text of the answer."""
        answer = self._completion(
            model=f"openai/{self._settings['model']}",
            api_base=self._settings["base_url"],
            api_key=self._settings["api_key"],
            messages=[{"role": "user", "content": prompt}],
            stream=streaming,
            max_tokens=32,
            timeout=60,
            # Each call is one request: a failure is shown, not covered up.
            num_retries=0,
            max_retries=0,
            **more,
        )
        if not streaming:
            return answer.choices[0].message.content or ""
        return "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)

    def rehearse(self) -> None:
        """Imports what litellm would import at its first call. Makes no client and sends nothing."""
        importlib.import_module("openai.resources.chat.completions")
        for streaming in (False, True):
            self.call("rehearsal", streaming=streaming, mock_response="rehearsal")


def run_phase(client: Client, phase: str, calls: int, echoes: bool, report: Any) -> dict[str, Any]:
    latencies: list[float] = []
    errors: Counter[str] = Counter()
    processor_time = time.process_time()
    for number in range(calls):
        prompt = f"{phase} {number}: what is a connection pool?"
        start = time.perf_counter()
        try:
            text = client.call(prompt, streaming=phase == "streaming")
            if echoes and text != prompt:
                raise ValueError(f"the answer to another question: {text!r} for {prompt!r}")
        except Exception as error:
            errors[f"{type(error).__name__}: {error}"] += 1
        latencies.append(time.perf_counter() - start)
        if (number + 1) % PROGRESS_EVERY == 0:
            report({"done": number + 1})
    processor_time = time.process_time() - processor_time
    return {
        "phase": phase,
        "calls": calls,
        "errors": dict(errors),
        "latencies": latencies,
        "cpu_per_call": processor_time / calls,
        "stats": fast_litellm.get_performance_stats(),
    }


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def report(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message, default=str) + "\n")
        answers.flush()

    settings = json.loads(sys.stdin.readline())
    client = Client(settings)
    client.rehearse()
    report({"ready": True, "patch": fast_litellm.get_patch_status(), "stats": fast_litellm.get_performance_stats()})
    for line in sys.stdin:
        report({"result": run_phase(client, line.strip(), settings["calls"], settings["echoes"], report)})


if __name__ == "__main__":
    main()
