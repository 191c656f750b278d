"""What is printed of the C++ part, and its block of README.md."""

from __future__ import annotations

from collections.abc import Iterator

from bench.common.placement import PLACEMENTS
from bench.common.tables import table
from bench.cpp.part import BLOCKING, LOOPING, SMALL, Client, Scenario
from bench.cpp.rounds import Results
from bench.cpp.targets import TARGETS, ratio, verdicts

NOT_MEASURED = """\
Not measured here: real networks, latency and loss (all is loopback); dialing and handshakes (each client is warm
before the clock starts); HTTP/2; memory; tail latency. The CPU is the client process's own (user + system, all
threads); part of the kernel's loopback work for the server's answer is charged to whichever process runs it. All
clients take the status and the whole body; `open`, `read` keeps none of it. Beast and the raw system calls have no
pool, no timeouts and no retries: each thread or coroutine keeps one connection. libcurl hands no headers over. All use
the same OpenSSL."""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}" if value < 1_000 else f"{value:,.0f}"


def _row_title(scenario: Scenario) -> str:
    return f"{scenario.work.title}, {scenario.count}, {PLACEMENTS[scenario.placement]}"


def cpu_table(results: Results, scenarios: list[Scenario], clients: tuple[Client, ...]) -> Iterator[str]:
    """CPU microseconds per request; a client without any figure is left out."""
    columns = [client for client in clients if any(results.of(scenario, client) for scenario in scenarios)]
    rows = [
        [_row_title(scenario), *(_number(results.median(scenario, client)) for client in columns)]
        for scenario in scenarios
    ]
    return table(["µs CPU per request", *(client.title for client in columns)], rows)


def _cpu_tables(results: Results, wanted: list[Scenario]) -> Iterator[tuple[str, Iterator[str]]]:
    """A table for threads and one for loops, plain and with TLS."""
    for loop, clients, kind in ((False, BLOCKING, "On threads"), (True, LOOPING, "On an event loop")):
        for tls in (False, True):
            scenarios = [scenario for scenario in wanted if scenario.loop == loop and scenario.tls == tls]
            if scenarios:
                yield f"{kind}, {'TLS' if tls else 'plain'}", cpu_table(results, scenarios, clients)


def ratio_table(results: Results, wanted: list[Scenario]) -> Iterator[str]:
    """Each target beside what was measured."""
    places = list(dict.fromkeys((scenario.tls, scenario.placement) for scenario in wanted))
    rows = []
    for target in TARGETS:
        measured = {}
        for scenario in filter(target.applies, wanted):
            value = ratio(results, target, scenario)
            measured[scenario.tls, scenario.placement] = "-" if value is None else f"{value:.2f}"
            count = f"{scenario.work.title}, {scenario.count}"
        if any(value != "-" for value in measured.values()):
            rows.append(
                [f"{target.title}, {count}", f"{target.asked:.2f}", *(measured.get(place, "-") for place in places)]
            )
    heading = [f"{'TLS' if tls else 'plain'}, {PLACEMENTS[placement]}" for tls, placement in places]
    return table(["CPU of one over the other", "asked", *heading], rows)


def _spread(results: Results, wanted: list[Scenario]) -> Iterator[str]:
    """Requests per second and the range of the CPU, of the small response."""
    for scenario in wanted:
        if scenario.work is not SMALL:
            continue
        rows = []
        for client in scenario.clients:
            cpu = [sample.cpu_us for sample in results.of(scenario, client)]
            if cpu:
                rate = results.median(scenario, client, "requests_per_second")
                own = _number(results.median(scenario, client))
                rows.append([client.title, own, f"{min(cpu):.1f}-{max(cpu):.1f}", f"{rate:,.0f}"])
        yield f"### {scenario.title}"
        yield ""
        yield from table(["client", "µs CPU per request", "range", "requests/s"], rows)
        yield ""


def _warnings(results: Results) -> Iterator[str]:
    for (scenario, client), samples in results.samples.items():
        most = max(sample.connections for sample in samples)
        if most > 2 * scenario.width + 1:
            yield f"{client.title} ({scenario.title}) opened {most} connections: its figures hold dials"
    yield from results.absent
    yield from results.failures


def render(results: Results, wanted: list[Scenario], conditions: str) -> str:
    """The whole part as Markdown."""
    lines = [
        "## Benchmark: the C++ interface beside its peers",
        "",
        f"{conditions}; {', '.join(results.versions)}.",
        "",
    ]
    lines += [
        "Medians of interleaved rounds, each client in a fresh process each time. The server is pinned to core 0;"
    ]
    lines += ["'same core': the client too, 'cross-core': the client is pinned to core 1. A POST of 300 bytes.", ""]
    lines += _spread(results, wanted)
    for title, rows in _cpu_tables(results, wanted):
        lines += [f"### {title}", "", *rows, ""]
    lines += ["### Asked and measured", "", *ratio_table(results, wanted), ""]
    lines += ["### Targets", "", *verdicts(results, wanted), ""]
    notes = [f"- {note}" for note in _warnings(results)]
    if notes:
        lines += ["### To note", "", *notes, ""]
    lines += ["### What this does not say", "", NOT_MEASURED]
    return "\n".join(lines)


def readme_figures(results: Results, wanted: list[Scenario], conditions: str) -> str:
    """The block of README.md: the ratios, then the figures they are made of."""
    lines = [*ratio_table(results, wanted), ""]
    for title, rows in _cpu_tables(results, wanted):
        lines += [f"{title}:", "", *rows, ""]
    return "\n".join([*lines, f"{', '.join(results.versions)}. {conditions}."])
