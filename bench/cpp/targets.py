"""The targets of the C++ part: ratios of two clients, or of two works, that are not to be larger than asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.common.tables import verdict
from bench.cpp.part import (
    ASIO_AWAITABLE,
    ASIO_HANDLER,
    AT_ONCE,
    BEAST_ASYNC,
    BEAST_SYNC,
    COROUTINE,
    EASY,
    LOOP,
    MEGABYTE,
    MULTI,
    REUSE,
    SEND,
    SMALL,
    STREAM,
    STREAMED,
    THREADS,
    Client,
    Scenario,
    Work,
)
from bench.cpp.rounds import Results


@dataclass(frozen=True)
class Target:
    """CPU per request of `client` over that of `base`, in each scenario of this work and width."""

    client: Client
    base: Client
    asked: float
    work: Work
    width: int

    @property
    def title(self) -> str:
        return f"{self.client.title} / {self.base.title}"

    def applies(self, scenario: Scenario) -> bool:
        return (
            scenario.work is self.work
            and scenario.width == self.width
            and {self.client, self.base} <= {*scenario.clients}
        )


TARGETS = (
    *(Target(SEND, BEAST_SYNC, 1.25, SMALL, threads) for threads in THREADS),
    *(Target(SEND, EASY, 0.6, SMALL, threads) for threads in THREADS),
    Target(LOOP, BEAST_ASYNC, 0.7, SMALL, AT_ONCE[0]),
    Target(LOOP, MULTI, 0.45, SMALL, AT_ONCE[0]),
    *(Target(COROUTINE, LOOP, 1.15, SMALL, at_once) for at_once in AT_ONCE),
    *(Target(ASIO_HANDLER, LOOP, 1.35, SMALL, at_once) for at_once in AT_ONCE),
    *(Target(ASIO_AWAITABLE, LOOP, 1.35, SMALL, at_once) for at_once in AT_ONCE),
    Target(REUSE, EASY, 1.1, MEGABYTE, THREADS[0]),
    *(Target(STREAM, SEND, 1.05, work, THREADS[0]) for work in (SMALL, MEGABYTE, STREAMED)),
)


def ratio(results: Results, target: Target, scenario: Scenario) -> float | None:
    own, base = results.median(scenario, target.client), results.median(scenario, target.base)
    return None if own is None or not base else own / base


def verdicts(results: Results, wanted: list[Scenario]) -> Iterator[str]:
    """One line per target and scenario."""
    for target in TARGETS:
        for scenario in filter(target.applies, wanted):
            name = f"{target.title} at most {target.asked:g} ({scenario.title})"
            value = ratio(results, target, scenario)
            if value is None:
                yield verdict(name, None, "no figures")
                continue
            own, base = results.median(scenario, target.client), results.median(scenario, target.base)
            yield verdict(name, value <= target.asked, f"{value:.2f} ({own:.1f} against {base:.1f} us)")
