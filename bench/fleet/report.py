"""What is printed of the part over the fleet."""

from __future__ import annotations

from collections.abc import Iterator

from bench.common.environment import versions
from bench.common.tables import table
from bench.fleet.part import ENGINES, LOADS, WORKS, Engine, Load
from bench.fleet.rounds import Results
from bench.fleet.targets import verdicts

_PACKAGES = ("redis", "hiredis", "httpx", "fast-litellm")

NOT_MEASURED = """\
Not measured here: networks between the members and Redis; fleets of more than three members; several origins, of which
each has its own reports; the CPU of redis-server. The members share one core, and its caches: the agent wakes to cold
caches, as in a process that does something else, and most of its time goes into that."""


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _cells(results: Results, load: Load, engine: Engine) -> list[str]:
    figures = (("ms_per_second", 2), ("rounds_per_second", 1), ("leases_per_second", 0))
    return [_number(results.of_agent(load, engine, figure), digits) for figure, digits in figures]


def agent_table(results: Results) -> Iterator[str]:
    rows = [[load.title, *(cell for engine in ENGINES for cell in _cells(results, load, engine))] for load in LOADS]
    columns = ("reports/s", "leases/s")
    return table(["agent", *(t for each in ENGINES for t in (f"{each.title}: CPU, ms/s", *columns))], rows)


def limit_table(results: Results) -> Iterator[str]:
    """Works without any figure are left out."""
    rows = [
        [
            f"{work.title}, {work.unit}",
            *(_number(results.of_work(work, figure), 1) for figure in ("without", "limited")),
            _number(results.of_work(work, "ratio"), 2),
        ]
        for work in WORKS
        if work in results.works
    ]
    return table(["CPU per call", "without a limit", "with a limit", "ratio"], rows)


def render(results: Results, conditions: str) -> str:
    """The whole part as Markdown."""
    lines = ["## Benchmark: the fleet", "", f"{conditions}; {versions(*_PACKAGES)}.", ""]
    lines += ["Medians of interleaved rounds, all processes fresh each time.", ""]
    lines += [
        "### The agent",
        "",
        "CPU time of the agent's thread, of the busiest member. A fleet has two members; where they take turns, three.",
        "",
        *agent_table(results),
        "",
        "### What a limit adds",
        "",
        "One process that does the same without and with a limit in turn; CPU of the whole process. The limit is never",
        "reached. A request is a POST of 300 bytes, answered with 300 bytes of JSON.",
        "",
        *limit_table(results),
        "",
    ]
    lines += ["### Targets", "", *verdicts(results), ""]
    notes = [f"- {each.title}: {reason}" for each, reason in results.unavailable.items()]
    if notes:
        lines += ["### To note", "", *notes, ""]
    lines += ["### What this does not say", "", NOT_MEASURED]
    return "\n".join(lines)
