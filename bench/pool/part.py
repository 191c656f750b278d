"""The part of the benchmark that measures the pool itself; its requests only show what idle connections cost."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass

from bench.common.environment import POOL_PROGRAM, SetupError
from bench.pool import idle, simple_pool


@dataclass(frozen=True)
class Figure:
    """Nanoseconds per acquire and release in C++: median and range of the rounds."""

    name: str
    threads: int
    ns: float
    low: float
    high: float


@dataclass
class PoolResults:
    core: dict[str, Figure]
    python: simple_pool.SimplePoolResults
    idle: idle.IdleResults

    def as_json(self) -> dict[str, object]:
        return {
            "core": [asdict(figure) for figure in self.core.values()],
            "python": self.python.as_json(),
            "idle": self.idle.as_json(),
        }


@dataclass(frozen=True)
class Effort:
    """How long it may take: rounds and seconds per sample, in C++ and in Python."""

    core_rounds: int
    core_seconds: float
    rounds: int
    seconds: float

    @classmethod
    def of(cls, quick: bool, rounds: int | None) -> Effort:
        return cls(5, 0.005, rounds or 1, 0.2) if quick else cls(41, 0.008, rounds or 11, 0.3)


def _core(effort: Effort) -> dict[str, Figure]:
    command = [str(POOL_PROGRAM), str(effort.core_rounds), str(effort.core_seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SetupError(f"{POOL_PROGRAM.name} failed: {done.stderr.strip()}")
    figures = [Figure(**json.loads(line)) for line in done.stdout.splitlines()]
    return {figure.name: figure for figure in figures}


def run(server_core: int, descriptors: int, effort: Effort, progress: Callable[[str], None]) -> PoolResults:
    progress("acquire and release in C++")
    core = _core(effort)
    python = simple_pool.measure(effort.rounds, effort.seconds, progress)
    rounds = min(3, effort.rounds)  # most of the time of one is spent on httpx, which opens its connections slowly
    return PoolResults(core, python, idle.measure(server_core, descriptors, rounds, effort.seconds, progress))
