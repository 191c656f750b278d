"""How the report and the targets of the asynchronous part name works and write figures."""

from __future__ import annotations

from bench.loops.part import ONE_WAY_MS, STREAMS, TASKS, TENANT_TASKS, Effort, groups
from bench.loops.rounds import GroupResults

FEW, MANY = (f"post-{tasks}" for tasks in TASKS)
BURSTS, PACED = {"one stream": "burst-1", f"{STREAMS} streams": f"burst-{STREAMS}"}, f"paced-{STREAMS}"
ACCELERATED = ("httpx_accelerated", "httpx_litellm")
TITLES: dict[str, str] = {
    client.key: client.title for group in groups(Effort(1, 1.0)).values() for client in group.clients
}
STEADY, AGAIN = "steady-1", "again-1"
SINGLE, NEW_KEYS = f"single-{TENANT_TASKS}", f"tenants-{TENANT_TASKS}"
DELAY = f", {2 * ONE_WAY_MS} ms round trip"


def us(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}" if value < 1_000 else f"{value:,.0f}"


def minus(value: float | None, base: float | None) -> str:
    return "-" if value is None or base is None else f"{value - base:.1f}"


def per(value: float | None, base: float | None) -> str:
    return "-" if value is None or not base else f"{value / base:.2f}"


def ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def handshakes(results: GroupResults, client: str, *works: str) -> int | None:
    """Of these works in all rounds and of the client's very first call."""
    counted = results.total(client, works, "handshakes")
    return None if counted is None else counted + results.first_handshakes.get(client, 0)
