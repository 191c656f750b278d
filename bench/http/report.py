"""What is printed: the tables, the targets reached or not, and what the figures do not say."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Iterator

from bench.common.environment import versions
from bench.common.tables import table, verdict
from bench.http.rounds import CLIENTS, FLOOR, Results, Scenario

#: Of these the cost over the floor is told.
OVER_FLOOR = ("httpx_own", "httpx_accelerated", "httpx_pyreqwest", "httpx_stock")
RAW_RATIO_LIMIT = 1.4
OVER_FLOOR_LIMIT_US = 45.0
ACCELERATED_LIMIT = 0.95

PACKAGES = ("httpx", "httpcore", "pycurl", "pyreqwest", "fast-litellm")

NOT_MEASURED = """\
Not measured here: real networks, latency and loss (all is loopback); dialing, handshakes and resumption (each client is
warm before the clock starts); bodies other than 300 bytes, streaming, chunked; HTTP/2; asyncio; memory; tail latency
under load beyond the p99 in the JSON file; machines with more than the cores used here. The CPU is the client process's
own (user + system); part of the kernel's loopback work for the server's answer is charged to whichever process runs it,
so 'same core' and 'cross-core' differ for every client alike. All clients take the status and the whole body; raw
system calls parse nothing, pycurl here hands no response headers to Python, and our `Response` and pyreqwest's build
them when asked. With 8 threads cross-core the server's one core can be the limit for requests/s: compare CPU there.
pycurl's wheel brings its own OpenSSL and pyreqwest uses rustls, so the TLS tables compare TLS libraries too. The floor
has neither TLS nor a socket and stands for both tables of its placement."""


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _ratio(value: float | None, base: float | None) -> str:
    return "-" if value is None or not base else f"{value / base:.2f}"


def _row(results: Results, scenario: Scenario, client: str) -> list[str]:
    if not results.of(scenario, client):
        reason = results.unavailable.get(client, "failed")
        return [CLIENTS[client], "not installed" if reason.startswith("not installed") else "failed", *["-"] * 6]
    cpu = results.median(scenario, client, "cpu_us")
    floor = results.median(scenario, FLOOR, "cpu_us")
    spread = [sample.cpu_us for sample in results.of(scenario, client)]
    over = "-"
    if client in OVER_FLOOR and cpu is not None and floor is not None:
        over = _number(cpu - floor)
    in_memory = client == FLOOR
    return [
        CLIENTS[client],
        _number(cpu),
        f"{min(spread):.1f}-{max(spread):.1f}",
        _ratio(cpu, results.median(scenario, "raw", "cpu_us")),
        over,
        _number(results.median(scenario, client, "p50_us")),
        _number(results.median(scenario, client, "requests_per_second"), 0),
        "-" if in_memory else _number(results.median(scenario, client, "server_cpu_us")),
    ]


_HEADINGS = ["client", "CPU us/request", "range", "x raw", "over floor", "p50 us", "requests/s", "server CPU us"]


def _against_raw(results: Results, scenario: Scenario, client: str) -> str:
    own, raw = results.median(scenario, client, "cpu_us"), results.median(scenario, "raw", "cpu_us")
    name = f"{CLIENTS[client]} at most {RAW_RATIO_LIMIT} x raw system calls ({scenario.title})"
    if own is None or raw is None:
        return verdict(name, None, results.unavailable.get(client, "no figures"))
    return verdict(name, own <= RAW_RATIO_LIMIT * raw, f"{own / raw:.2f} x ({own:.1f} against {raw:.1f} us)")


def _against_pycurl(results: Results, scenario: Scenario, client: str) -> str:
    name = f"{CLIENTS[client]} ahead of pycurl ({scenario.title})"
    figures: list[float] = []
    for measured in (client, "pycurl"):
        for figure in ("cpu_us", "requests_per_second"):
            value = results.median(scenario, measured, figure)
            if value is None:
                return verdict(name, None, results.unavailable.get(measured, "no figures"))
            figures.append(value)
    own_cpu, own_rate, peer_cpu, peer_rate = figures
    return verdict(
        name,
        own_cpu < peer_cpu and own_rate > peer_rate,
        f"{own_cpu:.1f} against {peer_cpu:.1f} us, {own_rate:,.0f} against {peer_rate:,.0f} requests/s",
    )


def _over_floor(results: Results, scenario: Scenario) -> str:
    name = f"through httpx at most {OVER_FLOOR_LIMIT_US:.0f} us over its floor ({scenario.title})"
    floor, own = results.median(scenario, FLOOR, "cpu_us"), results.median(scenario, "httpx_own", "cpu_us")
    if floor is None or own is None:
        return verdict(name, None, results.unavailable.get("httpx_own", "no figures"))
    peers = []
    for client in ("httpx_stock", "httpx_pyreqwest"):
        value = results.median(scenario, client, "cpu_us")
        peers.append(f"{CLIENTS[client]} {'-' if value is None else f'{value - floor:.1f}'}")
    figures = f"{own - floor:.1f} us over {floor:.1f} (for orientation: {', '.join(peers)})"
    return verdict(name, own - floor <= OVER_FLOOR_LIMIT_US, figures)


def _accelerated(results: Results, scenario: Scenario) -> str:
    name = f"{CLIENTS['httpx_accelerated']} at most {ACCELERATED_LIMIT} x httpx over memory ({scenario.title})"
    floor, own = results.median(scenario, FLOOR, "cpu_us"), results.median(scenario, "httpx_accelerated", "cpu_us")
    if floor is None or own is None:
        return verdict(name, None, results.unavailable.get("httpx_accelerated", "no figures"))
    return verdict(name, own <= ACCELERATED_LIMIT * floor, f"{own / floor:.2f} x ({own:.1f} against {floor:.1f} us)")


def _verdicts(results: Results, wanted: list[Scenario]) -> Iterator[str]:
    """One line per target and scenario that was measured."""
    for scenario in wanted:
        if scenario.placement == "same":
            for client in ("pool_lease", "pool_url"):
                yield _against_raw(results, scenario, client)
    for scenario in wanted:
        if scenario.placement != "free":
            yield _against_pycurl(results, scenario, "pool_lease")
    for scenario in wanted:
        if scenario.placement == "cross":
            yield _over_floor(results, scenario)
    for scenario in wanted:
        if scenario.threads == 1:
            yield _accelerated(results, scenario)


def _warnings(results: Results) -> Iterator[str]:
    for (scenario, client), samples in results.samples.items():
        if client == FLOOR:
            continue
        for sample in samples:
            # Twice the threads: clients that race connections at the start may open more than they need.
            if sample.connections > 2 * scenario.threads + 1:
                yield (
                    f"{CLIENTS[client]} ({scenario.title}) opened {sample.connections} connections: "
                    "it does not reuse them as it should, its figures hold dials"
                )
                break
    yield from results.failures


def render(results: Results, wanted: list[Scenario], clients: Iterable[str], conditions: str) -> str:
    """The whole report as Markdown."""
    clients = list(clients)
    lines = [
        "## Benchmark: a POST of 300 bytes, answered with 300 bytes of JSON",
        "",
        f"{conditions}; {versions(*PACKAGES)}; {platform.system()} {platform.machine()}.",
        "Medians of interleaved rounds, each client in a fresh process each time; the range is that of the rounds.",
        "The server is pinned to core 0; 'same core': the client too, 'cross-core': the client is pinned to core 1.",
        "",
    ]
    for scenario in wanted:
        lines += [f"### {scenario.title}", ""]
        lines += table(_HEADINGS, [_row(results, scenario, client) for client in clients])
        lines.append("")
    lines += ["### Targets", "", *_verdicts(results, wanted), ""]
    notes = list(_warnings(results))
    notes += [f"{CLIENTS[client]}: {reason}" for client, reason in results.unavailable.items()]
    if notes:
        lines += ["### To note", "", *(f"- {note}" for note in notes), ""]
    lines += ["### What this does not say", "", NOT_MEASURED]
    return "\n".join(lines)


def print_progress(text: str) -> None:
    """One line that rewrites itself on a terminal; elsewhere a line now and then would drown the report, so each."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
    else:
        sys.stderr.write(text + "\n")
    sys.stderr.flush()
