"""What is printed of the part over HTTP/2."""

from __future__ import annotations

from collections.abc import Iterator

from bench.common.environment import versions
from bench.common.tables import table
from bench.http2.part import ALONE, BESIDE, BESIDES, DOWNLOAD, STALL, TABLES, Client, Kind, Scenario
from bench.http2.rounds import Results
from bench.http2.targets import verdicts

_PACKAGES = ("httpx", "httpcore", "h2", "pyqwest", "pyreqwest", "uvloop", "fast-litellm")

JUDGED_BY = """\
The targets compare the client's CPU per request. nginx has one core, and its cost per request ("nginx") differs between
the protocols. Where that core is the limit ("nginx's core" near 100%), the clock compares nginx with itself, not two
clients. A client that waits for nginx wakes for each response or for a few, so its CPU per request is higher than
beside a faster server. The latencies beside a download or unread streams are judged on the clock."""

NOT_MEASURED = """\
Not measured here: real networks, latency and loss (all is loopback), where many requests on one connection wait for one
lost packet; dialing and handshakes (each client is warm before the clock starts); request bodies of more than 300
bytes; server push and priorities; more than one connection per origin. pyqwest and pyreqwest use rustls, so the TLS
tables compare TLS libraries too. A download competes with the small requests for nginx's core and for the client's,
over HTTP/1.1 too, where it has a connection of its own: the rows "HTTP/1.1" show this share."""


def _us(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}" if value < 1_000 else f"{value:,.0f}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value / 1e3:.2f}"


def _ratio(value: float | None, base: float | None) -> str:
    return "-" if value is None or not base else f"{value / base:.2f}"


def server_share(results: Results, scenario: Scenario, client: Client) -> float | None:
    """How much of its core nginx needs at the rate of this client."""
    cpu, clock = (results.median(scenario, client, figure) for figure in ("server_cpu_us", "us"))
    return None if cpu is None or not clock else cpu / clock


def _cells(results: Results, scenario: Scenario, client: Client) -> list[str]:
    cpu, clock, server, connections = (
        results.median(scenario, client, figure) for figure in ("cpu_us", "us", "server_cpu_us", "connections")
    )
    share = server_share(results, scenario, client)
    return [
        _us(cpu),
        _us(clock),
        _us(server),
        "-" if share is None else f"{min(1.0, share):.0%}",
        "-" if connections is None else f"{connections:.0f}",
    ]


def work_table(results: Results, kind: Kind, tls: bool) -> Iterator[str]:
    """Of one kind of work; clients without any figure are left out."""
    places = [Scenario(kind, width, tls) for width in kind.widths]
    rows = [
        [client.title, *(cell for scenario in places for cell in _cells(results, scenario, client))]
        for client in kind.clients
        if any(results.of(scenario, client) for scenario in places)
    ]
    columns = ("clock", "nginx", "nginx's core", "connections")
    return table(["us per request", *(t for each in places for t in (f"{each.count}: CPU", *columns))], rows)


def beside_table(results: Results, tls: bool) -> Iterator[str]:
    """The median latency of the small requests, alone and beside something else."""
    alone, download, stall = (Scenario(kind, BESIDE, tls) for kind in (ALONE, DOWNLOAD, STALL))
    rows = []
    for client in ALONE.clients:
        base, beside, unread = (results.median(each, client, "p50_us") for each in (alone, download, stall))
        if base is None:
            continue
        rate = results.median(download, client, "megabytes_per_second")
        rows.append([client.title, _ms(base), _ms(beside), _ratio(beside, base)])
        rows[-1] += ["-" if rate is None else f"{rate:.0f}", _ms(unread), _ratio(unread, base)]
    heading = [f"p50 of {BESIDE} tasks, ms", ALONE.title, DOWNLOAD.title, "ratio", "its MB/s", STALL.title, "ratio"]
    return table(heading, rows)


def _tables(results: Results, wanted: list[Scenario]) -> Iterator[tuple[str, Iterator[str]]]:
    for tls in dict.fromkeys(scenario.tls for scenario in wanted):
        place = "TLS" if tls else "plain"
        for kind in TABLES:
            if any(scenario.kind == kind and scenario.tls == tls for scenario in wanted):
                yield f"{kind.title}, {place}", work_table(results, kind, tls)
        if any(scenario.kind in BESIDES and scenario.tls == tls for scenario in wanted):
            yield f"Small requests beside others on the same client, {place}", beside_table(results, tls)


def _notes(results: Results) -> Iterator[str]:
    yield from (f"{client.title}: {reason}" for client, reason in results.unavailable.items())
    for (scenario, client), reason in results.failures.items():
        yield f"{client.title} ({scenario.title}): {reason}"


def render(results: Results, wanted: list[Scenario], conditions: str, server: str) -> str:
    """The whole part as Markdown."""
    lines = ["## Benchmark: HTTP/2", "", f"{conditions}; {server}, {versions(*_PACKAGES)}.", ""]
    lines += [
        "Medians of interleaved rounds, each client in a fresh process each time. nginx is pinned to core 0, the",
        "client to core 1. A POST of 300 bytes, answered with 300 bytes of JSON. Over HTTP/2 unless the row says",
        "HTTP/1.1.",
        "",
    ]
    for title, rows in _tables(results, wanted):
        lines += [f"### {title}", "", *rows, ""]
    lines += ["### Targets", "", JUDGED_BY, "", *verdicts(results, wanted), ""]
    notes = [f"- {note}" for note in _notes(results)]
    if notes:
        lines += ["### To note", "", *notes, ""]
    lines += ["### What this does not say", "", NOT_MEASURED]
    return "\n".join(lines)
