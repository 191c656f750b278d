"""The demo's figures: what each client measured in each phase, and how the tables show it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.table import Table


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass
class Row:
    """One phase of one client; its parts are added as they come. Times in seconds."""

    client: str
    phase: str  # its title
    calls: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    first_tokens: list[float] = field(default_factory=list)
    elapsed: float = 0.0
    processor_time: float = 0.0
    #: None where they cannot be counted: a real provider, and a client without our pool.
    handshakes: int | None = None
    connections: int | None = None

    def add(self, result: Mapping[str, Any]) -> None:
        """A part as the client process tells it."""
        self.calls += result["calls"]
        self.errors.update(result["errors"])
        self.latencies += result["latencies"]
        self.first_tokens += result["first_tokens"]
        self.elapsed += result["elapsed"]
        self.processor_time += result["processor_time"]

    def add_connections(self, handshakes: int, connections: int) -> None:
        self.handshakes = (self.handshakes or 0) + handshakes
        self.connections = (self.connections or 0) + connections

    @property
    def error_count(self) -> int:
        return sum(self.errors.values())

    @property
    def processor_time_per_call(self) -> float:
        return self.processor_time / self.calls

    @property
    def first_token(self) -> float | None:
        return percentile(self.first_tokens, 0.5) if self.first_tokens else None


@dataclass
class PoolCounts:
    """What the accelerated process's pool says it did, over all its phases."""

    statistics: dict[str, Any] = field(default_factory=dict)
    #: Reasons why requests of accelerated clients went through the stock transport -> how many.
    requests_stock: dict[str, int] = field(default_factory=dict)

    def count(self, name: str) -> int:
        value = self.statistics.get(name, 0)
        return value if isinstance(value, int) else 0

    @property
    def carried(self) -> int:
        """Requests that the pool was given and had a live connection for. One that was sent again has two leases."""
        return min(self.count("requests"), self.count("leases"))

    @classmethod
    def from_performance_stats(cls, stats: Mapping[str, Any]) -> PoolCounts:
        return cls(dict(stats.get("pool") or {}), dict(stats.get("requests_stock") or {}))


def milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.2f}"


def results_table(rows: Iterable[Row]) -> Table:
    """Stock and accelerated beside each other, phase by phase."""
    table = Table(box=box.SIMPLE_HEAD, title="litellm, stock and accelerated", padding=(0, 1, 0, 0))
    table.add_column("call", no_wrap=True)
    table.add_column("client")
    headings = (
        "calls",
        "errors",
        "handshakes",
        "connections",
        "calls/s",
        "p50 ms",
        "p99 ms",
        "first token ms",
        "CPU ms",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    phase = ""
    for row in rows:
        if phase and row.phase != phase:
            table.add_section()
        table.add_row(
            row.phase if row.phase != phase else "",
            row.client,
            str(row.calls),
            str(row.error_count),
            "n/a" if row.handshakes is None else str(row.handshakes),
            "n/a" if row.connections is None else str(row.connections),
            f"{row.calls / row.elapsed:,.0f}",
            milliseconds(percentile(row.latencies, 0.5)),
            milliseconds(percentile(row.latencies, 0.99)),
            milliseconds(row.first_token),
            milliseconds(row.processor_time_per_call),
        )
        phase = row.phase
    table.caption = "handshakes, connections: made in this phase; first token: p50; CPU: of the client, per call"
    return table


def pool_table(pool: PoolCounts) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title="The pool of the accelerated process")
    table.add_column("statistic")
    table.add_column("value", justify="right")
    for name, value in pool.statistics.items():
        if isinstance(value, (int, float)):
            table.add_row(name, str(value))
        elif isinstance(value, Mapping) and name.startswith("errors"):
            table.add_row(name, ", ".join(f"{kind}: {count}" for kind, count in value.items() if count) or "none")
    return table


def verdict(rows: Iterable[Row], pool: PoolCounts, server_connections: int | None) -> list[str]:
    """What was wrong, as sentences; empty if all went well.

    `server_connections`: what the server accepted from the accelerated process; None if the server is not ours.
    """
    problems = []
    rows = list(rows)
    for row in rows:
        for message, count in sorted(row.errors.items(), key=lambda item: -item[1])[:3]:
            problems.append(f"{row.client}, {row.phase}: {count} of {row.calls} calls failed: {message}")
    calls = sum(row.calls for row in rows if row.client == "accelerated")
    if pool.carried < calls:
        problems.append(f"the pool carried {pool.carried} of the {calls} calls of the accelerated client")
    for reason, count in pool.requests_stock.items():
        problems.append(f"{count} requests went through the stock transport: {reason}")
    opened = pool.count("connections_opened")
    if server_connections is not None and server_connections > opened:
        problems.append(f"the server accepted {server_connections} connections, of which the pool knows {opened}")
    return problems
