"""Which of litellm's clients use the pool, where FAST_LITELLM_CONNECTION_POOL says not all of them do."""

from __future__ import annotations

import itertools
import os

from .. import config


class Rollout:
    """Decides for one client after the other: of any 100 in a row, exactly N of `canary:N` are chosen, evenly spread.

    A process often has few clients, so each begins somewhere else in the hundred: of many processes with one client
    each, about N per cent choose it. Any thread may ask.
    """

    def __init__(self, first: int) -> None:
        self._numbers = itertools.count(first)

    def chooses(self, percent: float) -> bool:
        number = next(self._numbers)
        return (number + 1) * percent // 100 > number * percent // 100


def stock_reason() -> str:
    """To be asked once for each client that could use the pool: "" if it is to, else why it is left to httpx."""
    percent = config.pool_percent()
    if percent <= 0:
        return "connection pool off"
    return "" if _rollout.chooses(percent) else "canary"


def _begin() -> None:
    global _rollout
    _rollout = Rollout(int.from_bytes(os.urandom(4), "little") % 100)


_rollout: Rollout
_begin()
# A server's forked workers must not all make the same choice.
os.register_at_fork(after_in_child=_begin)
