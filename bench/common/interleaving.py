"""The order of a measurement: rounds, so that a busy minute of the machine does not affect one client alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

Case = TypeVar("Case")
Client = TypeVar("Client")


def interleaved(
    plan: Mapping[Case, Sequence[Client]],
    rounds: int,
    name: Callable[[Case, Client], str],
    progress: Callable[[str], None],
) -> Iterator[tuple[Case, Client]]:
    """Yields what to measure next, after a line of progress. Each round goes through all cases, and in each through all
    clients, beginning with another one."""
    total = rounds * sum(len(clients) for clients in plan.values())
    done, begin = 0, time.monotonic()
    for number in range(rounds):
        for case, clients in plan.items():
            turn = number % max(1, len(clients))
            for client in (*clients[turn:], *clients[:turn]):
                left = (time.monotonic() - begin) / done * (total - done) if done else 0.0
                progress(f"round {number + 1}/{rounds}  {done}/{total}  about {left:.0f} s left  {name(case, client)}")
                yield case, client
                done += 1
