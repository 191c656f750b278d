"""The targets of the part over HTTP/2: ratios that are not to be larger than asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.common.tables import verdict
from bench.http2.part import (
    ACCELERATED,
    ACCELERATED_1,
    ALONE,
    AREQUEST,
    AREQUEST_1,
    BESIDE,
    CPP_LOOP,
    CPP_THREADS,
    DOWNLOAD,
    HTTPX,
    IN_TASKS,
    LOOP,
    LOOP_1,
    ON_THREADS,
    PYQWEST,
    PYQWEST_UVLOOP,
    REQUEST,
    REQUEST_1,
    SEND,
    SEND_1,
    STALL,
    TASKS,
    THREADS,
    TRANSPORT,
    TRANSPORT_1,
    Client,
    Kind,
    Scenario,
)
from bench.http2.rounds import Results

#: Of a median latency that is to be the same: what two measurements of the same may differ by.
SAME = 1.1
DOWNLOAD_LIMIT = 2.0


@dataclass(frozen=True)
class Target:
    """The client's CPU per request over that of the best of `bases`."""

    client: Client
    bases: tuple[Client, ...]
    asked: float
    kind: Kind
    width: int

    def base(self, results: Results, tls: bool) -> tuple[Client, float | None]:
        """The one that takes least, and what it takes; the first, and None, where none was measured."""
        scenario = Scenario(self.kind, self.width, tls)
        known = [(value, each) for each in self.bases if (value := results.median(scenario, each)) is not None]
        if not known:
            return self.bases[0], None
        value, client = min(known, key=lambda pair: pair[0])
        return client, value


TARGETS = (
    Target(LOOP, (LOOP_1,), 0.7, CPP_LOOP, TASKS[0]),
    Target(AREQUEST, (AREQUEST_1,), 1.1, IN_TASKS, TASKS[0]),
    *(Target(AREQUEST, (PYQWEST, PYQWEST_UVLOOP), 0.3, IN_TASKS, tasks) for tasks in TASKS),
    *(Target(ACCELERATED, (HTTPX,), 0.25, IN_TASKS, tasks) for tasks in TASKS),
    *(Target(ACCELERATED, (HTTPX,), 0.25, ON_THREADS, threads) for threads in THREADS),
    Target(SEND, (SEND_1,), 1.2, CPP_THREADS, THREADS[1]),
    Target(REQUEST, (REQUEST_1,), 1.2, ON_THREADS, THREADS[1]),
    Target(TRANSPORT, (TRANSPORT_1,), 1.2, ON_THREADS, THREADS[1]),
    Target(ACCELERATED, (ACCELERATED_1,), 1.2, ON_THREADS, THREADS[1]),
)


def _why(results: Results, scenario: Scenario, *clients: Client) -> str:
    missing = next(client for client in clients if not results.of(scenario, client))
    return results.unavailable.get(missing) or results.failures.get((scenario, missing), "no figures")


def _on_cpu(results: Results, target: Target, tls: bool) -> str:
    scenario = Scenario(target.kind, target.width, tls)
    own = results.median(scenario, target.client)
    base, other = target.base(results, tls)
    name = f"{target.client.title} at most {target.asked:g} x {base.title} ({scenario.title})"
    if own is None or other is None:
        return verdict(name, None, _why(results, scenario, target.client, base))
    clock = [results.median(scenario, each, "us") or 0.0 for each in (target.client, base)]
    figures = f"{own / other:.2f} ({own:.1f} against {other:.1f} us; on the clock {clock[0] / clock[1]:.2f})"
    return verdict(name, own <= target.asked * other, figures)


def _on_latency(results: Results, client: Client, kind: Kind, tls: bool) -> str:
    alone, beside = Scenario(ALONE, BESIDE, tls), Scenario(kind, BESIDE, tls)
    asked = DOWNLOAD_LIMIT if kind is DOWNLOAD else SAME
    name = f"{client.title}, {beside.title}: p50 at most {asked:g} x that alone"
    own, base = results.median(beside, client, "p50_us"), results.median(alone, client, "p50_us")
    if own is None or base is None:
        return verdict(name, None, _why(results, beside if own is None else alone, client))
    return verdict(name, own <= asked * base, f"{own / base:.2f} ({own / 1e3:.2f} against {base / 1e3:.2f} ms)")


def verdicts(results: Results, wanted: list[Scenario]) -> Iterator[str]:
    """One line per target, plain and over TLS."""
    secured = dict.fromkeys(scenario.tls for scenario in wanted)
    for target in TARGETS:
        for tls in secured:
            yield _on_cpu(results, target, tls)
    for kind in (DOWNLOAD, STALL):
        for client in (ACCELERATED, TRANSPORT):
            for tls in secured:
                yield _on_latency(results, client, kind, tls)
