"""The kinds of calls that the demo makes, known to both of its processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

AT_ONCE = 64
TENANTS = 50


@dataclass(frozen=True)
class Phase:
    name: str
    title: str
    #: The two clients take turns so often, each with its part of the calls: what else the machine does hits both.
    rounds: int = 4
    #: "none": litellm.completion; "one": acompletion on one event loop; "each": an asyncio.run for each call.
    loop: Literal["none", "one", "each"] = "none"
    streaming: bool = False
    at_once: int = 1
    keys: int = 1


PHASES = (
    Phase("completion", "completion"),
    Phase("streaming", "completion, streamed", streaming=True),
    Phase("acompletion", f"acompletion, {AT_ONCE} at once", rounds=2, loop="one", at_once=AT_ONCE),
    Phase("astreaming", f"{AT_ONCE} at once, streamed", 2, "one", streaming=True, at_once=AT_ONCE),
    Phase("asyncio-run", "asyncio.run for each call", loop="each"),
    Phase("tenants", f"{TENANTS} tenants' keys in turn", loop="one", keys=TENANTS),
)


def parts(calls: int, rounds: int) -> list[int]:
    """`calls` in at most so many parts, as equal as can be, none empty."""
    rounds = min(calls, rounds)
    return [calls // rounds + (number < calls % rounds) for number in range(rounds)]
