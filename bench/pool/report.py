"""What is printed of the pool's own part, and what of it stands in README.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from bench.common.tables import table, verdict
from bench.pool.idle import FEW, MANY_HTTPX
from bench.pool.part import PoolResults
from bench.pool.simple_pool import POOLS, THREADS

PAIR_LIMIT_NS = 30.0
#: Against a mutex and a deque: that of one thread, which reads the clock as ours does; of several at one endpoint, and
#: at one each.
CLOCKED_LIMIT = 0.8
CONTENDED_LIMIT = 0.5
APART_LIMIT = 0.8
FLAT_LIMIT = 1.3
MEMORY_LIMIT = 256
ORIGINAL_FACTOR = {1: 3.5, 8: 3.0}
LOCK_FACTOR = 10.0
_COUNTS = (10, 1_000, 100_000)
_LAYOUTS = {
    "one": "all to one endpoint",
    "ten": "spread over ten endpoints",
    "many": "ten to each endpoint, ten of these used",
    "walk": "the same, all endpoints in turn (no target: it is the caches' cost)",
}

NOT_MEASURED = """\
The C++ figures are of connections without I/O, so of the pool alone; a request's own cost is in the other part. One
thread's figures are its CPU time, those of several threads wall time over all their pairs; with more threads than cores
they hardly meet. The mutex and deque pool has neither ids, limits, lifetimes nor statistics. In the Python workload no
byte is sent: the original's ids stand for no socket, and neither do ours in the row 'without a connection', where every
lease takes a slot and gives it back; in the other row every lease is of a live connection."""


def _ns(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _factor(value: float | None, base: float | None) -> str:
    return "-" if not value or base is None else f"{base / value:.1f}"


# ---- get and return, from Python ------------------------------------------------------------------------------------


def _python_table(results: PoolResults) -> Iterator[str]:
    python = results.python
    rows = []
    for pool, title in POOLS.items():
        if pool in python.unavailable:
            rows.append([title, *["not measured"] * len(THREADS), "-", "-"])
            continue
        own = [python.median(pool, threads) for threads in THREADS]
        against = [
            " / ".join(
                _factor(value, python.median(base, threads)) for value, threads in zip(own, THREADS, strict=True)
            )
            for base in ("lock", "original")
        ]
        rows.append([title, *map(_ns, own), *against])
    heading = ["get and return, ns", "1 thread", "8 threads, with hash", "x lock pool", "x original"]
    return table(heading, rows)


def _python_verdicts(results: PoolResults) -> Iterator[str]:
    python = results.python
    for threads in THREADS:
        for pool in ("ours_bare", "ours_live"):
            for base, factor in (("original", ORIGINAL_FACTOR[threads]), ("lock", LOCK_FACTOR)):
                count = "1 thread" if threads == 1 else f"{threads} threads"
                name = f"{POOLS[pool]}, {count}: at least {factor:g} x the speed of '{POOLS[base]}'"
                own, peer = python.median(pool, threads), python.median(base, threads)
                if own is None or peer is None:
                    yield verdict(
                        name, None, python.unavailable.get(pool) or python.unavailable.get(base, "no figures")
                    )
                else:
                    yield verdict(name, peer / own >= factor, f"{peer / own:.1f} x ({own:.0f} against {peer:.0f} ns)")


# ---- acquire and release, in C++ ------------------------------------------------------------------------------------


def _core_table(results: PoolResults) -> Iterator[str]:
    titles = {
        "exchange": "one atomic exchange (yardstick)",
        "acquire": "`Pool::acquire` and release",
        "lease": "`Pool::try_lease` and release",
        "bare": "the same where no connection is idle",
        "locked": "a mutex and a deque",
        "clocked": "the same with the two looks at the clock that a pool with idle timeouts needs",
    }
    rows = []
    for name, title in titles.items():
        figure = results.core[f"uncontended.{name}"]
        rows.append([title, _ns(figure.ns), f"{figure.low:.1f}-{figure.high:.1f}"])
    for name, title in (("ours", "`Pool::acquire` and release"), ("locked", "a mutex and a deque")):
        figure = results.core[f"loop.{name}"]
        rows.append([f"{title}, 64 leases held together", _ns(figure.ns), f"{figure.low:.1f}-{figure.high:.1f}"])
    return table(["uncontended", "ns", "range"], rows)


def _threads_table(results: PoolResults) -> Iterator[str]:
    rows = []
    for threads in (1, 2, 4, 8):
        names = [f"{layout}.{pool}.{threads}" for layout in ("one", "many") for pool in ("ours", "locked")]
        rows.append([str(threads), *(_ns(results.core[name].ns) for name in names)])
    heading = ["threads", "one endpoint, ours", "mutex and deque", "one each, ours", "mutex and deque"]
    return table(heading, rows)


def _flat_table(results: PoolResults) -> Iterator[str]:
    rows = []
    for layout, title in _LAYOUTS.items():
        values = [results.core[f"flat.{layout}.{count}"].ns for count in _COUNTS]
        rows.append([title, *map(_ns, values), f"{max(values) / min(values):.2f}"])
    return table(["idle connections", *(f"{count:,}" for count in _COUNTS), "most / least"], rows)


def _core_verdicts(results: PoolResults) -> Iterator[str]:
    for name, call in (("acquire", "acquire"), ("lease", "try_lease")):
        value = results.core[f"uncontended.{name}"].ns
        yield verdict(f"{call} and release at most {PAIR_LIMIT_NS:g} ns", value <= PAIR_LIMIT_NS, f"{value:.1f} ns")
    ours, clocked = results.core["uncontended.acquire"].ns, results.core["uncontended.clocked"].ns
    name = f"uncontended at most {CLOCKED_LIMIT:g} x a mutex and a deque with the same looks at the clock"
    yield verdict(
        name, ours <= CLOCKED_LIMIT * clocked, f"{ours / clocked:.2f} x ({ours:.1f} against {clocked:.1f} ns)"
    )
    for layout, limit, where in (("one", CONTENDED_LIMIT, "one endpoint"), ("many", APART_LIMIT, "one endpoint each")):
        for threads in (2, 4, 8):
            ours = results.core[f"{layout}.ours.{threads}"].ns
            locked = results.core[f"{layout}.locked.{threads}"].ns
            name = f"{threads} threads, {where}: at most {limit:g} x a mutex and a deque"
            yield verdict(name, ours <= limit * locked, f"{ours / locked:.2f} x ({ours:.1f} against {locked:.1f} ns)")
    for layout, title in _LAYOUTS.items():
        if layout == "walk":
            continue
        values = [results.core[f"flat.{layout}.{count}"].ns for count in _COUNTS]
        name = f"10, 1,000 and 100,000 idle connections within {FLAT_LIMIT} x of each other, {title}"
        yield verdict(name, max(values) <= FLAT_LIMIT * min(values), f"{max(values) / min(values):.2f} x")


# ---- idle connections -----------------------------------------------------------------------------------------------


def _bytes(values: list[float] | None) -> str:
    return f"{statistics.median(values):,.0f}" if values else "-"


def _idle_table(results: PoolResults) -> Iterator[str]:
    own = results.idle
    rows = [
        ["C++ core", f"{own.connections:,}", _bytes(own.heap), _bytes(own.resident.get(("core", own.connections))), "-"]
    ]
    clients = (("ours", "`pool.request`"), ("httpx", "httpx, stock"))
    for client, title in clients:
        for count in (FEW, own.connections if client == "ours" else MANY_HTTPX):
            resident = _bytes(own.resident.get((client, count)))
            rows.append([title, f"{count:,}", "-", resident, _ns(own.median_us(client, count))])
    heading = ["idle connections", "how many", "heap bytes each", "resident bytes each", "request us"]
    return table(heading, rows)


def _idle_verdicts(results: PoolResults) -> Iterator[str]:
    own = results.idle
    name = f"at most {MEMORY_LIMIT} bytes of pool state per idle connection"
    if own.heap:
        value = statistics.median(own.heap)
        figures = f"{value:.0f} bytes of heap, of which the slot {own.slot} ({own.connections:,} real connections)"
        yield verdict(name, value <= MEMORY_LIMIT, figures)
    else:
        yield verdict(name, None, own.unavailable.get("memory", "no figures"))
    name = f"a request beside {own.connections:,} idle connections within {FLAT_LIMIT} x of one beside {FEW}"
    few, many = own.median_us("ours", FEW), own.median_us("ours", own.connections)
    if few is None or many is None:
        yield verdict(name, None, own.unavailable.get("ours", "no figures"))
    else:
        yield verdict(name, many <= FLAT_LIMIT * few, f"{many / few:.2f} x ({many:.1f} against {few:.1f} us)")


# ---- the whole ------------------------------------------------------------------------------------------------------


def render(results: PoolResults, conditions: str) -> str:
    """The whole part as Markdown."""
    lines = ["## Benchmark: the pool itself", "", f"{conditions}. Medians of interleaved rounds.", ""]
    lines += ["### Get and return, from Python", "", *_python_table(results), ""]
    lines += ["### Acquire and release of an idle connection, in C++", "", *_core_table(results), ""]
    lines += ["Nanoseconds per pair, of all threads together:", "", *_threads_table(results), ""]
    lines += ["Nanoseconds per pair beside idle connections:", "", *_flat_table(results), ""]
    lines += ["### Idle connections, real ones", "", *_idle_table(results), ""]
    verdicts = [*_python_verdicts(results), *_core_verdicts(results), *_idle_verdicts(results)]
    lines += ["### Targets", "", *verdicts, ""]
    notes = {**results.python.unavailable, **results.idle.unavailable}
    if notes:
        lines += ["### To note", "", *(f"- {name}: {reason}" for name, reason in notes.items()), ""]
    lines += ["### What this does not say", "", NOT_MEASURED]
    return "\n".join(lines)


def readme_figures(results: PoolResults, conditions: str) -> str:
    """The block of README.md: the published page's own table, and what else was asked for."""
    python = results.python
    columns = ("lock", "original", "ours_bare", "ours_live")
    rows = []
    for threads in THREADS:
        title = "single-threaded" if threads == 1 else f"{threads} threads, with a hash between"
        rows.append([title, *(_ns(python.median(pool, threads)) for pool in columns)])
    heading = ["get and return, ns", *(POOLS[pool] for pool in columns)]
    idle = results.idle
    heap = _bytes(idle.heap)
    few, many = idle.median_us("ours", FEW), idle.median_us("ours", idle.connections)
    httpx_few, httpx_many = idle.median_us("httpx", FEW), idle.median_us("httpx", MANY_HTTPX)
    httpx_bytes = _bytes(idle.resident.get(("httpx", MANY_HTTPX)))
    lines = [
        *table(heading, rows),
        "",
        "In C++:",
        "",
        *_core_table(results),
        "",
        "Nanoseconds per pair, of all threads together:",
        "",
        *_threads_table(results),
        "",
        *_flat_table(results),
        "",
        f"An idle connection takes {heap} bytes of heap beyond its socket ({idle.connections:,} real ones; stock",
        f"httpx: {httpx_bytes} bytes of resident memory). A request takes {_ns(few)} µs beside {FEW} idle connections",
        f"and {_ns(many)} µs beside {idle.connections:,}; stock httpx {_ns(httpx_few)} µs beside {FEW} and",
        f"{_ns(httpx_many)} µs beside {MANY_HTTPX}. {conditions}.",
    ]
    return "\n".join(lines)
