"""Starts the processes of a fleet, and reads what they tell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from fast_litellm.fleet.engines.opening import open_engine
from fast_litellm.fleet.ledger import Pace

PATIENCE = 180.0  # only a failing test waits that long


class Worker:
    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-m", "fleet.worker", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        self.last: dict[str, Any] = {}
        self.waits: list[float] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def allotment(self) -> int:
        return int(self.last.get("allotment", 0))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.last = {}

    def end(self) -> list[float]:
        """Lets it finish its requests; their times in seconds, sorted."""
        if self.process.poll() is None:
            self._close_input()
            self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return self.waits

    def _close_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            if "waits" in said:
                self.waits = said["waits"]
            else:
                self.last = said


class Workers(list[Worker]):
    """Ends all of them on leaving."""

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for worker in self:
            if worker.process.poll() is None:
                worker.kill()

    def end(self) -> list[float]:
        """Lets all finish their requests, at the same time; the times of all, sorted."""
        for worker in self:
            worker._close_input()
        return sorted(wait for worker in self for wait in worker.end())

    def allotments(self) -> list[int]:
        return [worker.allotment for worker in self]


def settled_meanwhile(url: str) -> None:
    """Makes the engine's file: it gives nothing for two seconds from then on, which programs take to start."""
    engine = open_engine(url, Pace())
    engine.leave("http://nobody", "nobody")
    engine.close()


def wait_until(
    holds: Callable[[], bool], what: str, seen: Callable[[], object] = str, patience: float = PATIENCE
) -> None:
    """`seen`: what a failure says besides."""
    end = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < end, f"not within {patience} s: {what}; {seen()}"
        time.sleep(0.02)
