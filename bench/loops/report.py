"""What is printed of the asynchronous part, and what of it stands in README.md."""

from __future__ import annotations

from collections.abc import Iterator

from bench.common.environment import versions
from bench.common.tables import table
from bench.common.workload import EVENTS, INTERVAL_US
from bench.loops.figures import (
    AGAIN,
    BURSTS,
    DELAY,
    FEW,
    MANY,
    NEW_KEYS,
    PACED,
    SINGLE,
    STEADY,
    TITLES,
    handshakes,
    minus,
    ms,
    per,
    us,
)
from bench.loops.part import AT_ONCE, STREAMS, TASKS, TENANT_TASKS, AsyncResults, Effort, groups
from bench.loops.rounds import Group, GroupResults
from bench.loops.targets import verdicts
from bench.loops.worker import TENANTS

_PACKAGES = ("httpx", "litellm", "openai", "aiohttp", "pyreqwest", "uvloop", "fast-litellm")

NOT_MEASURED = f"""\
CPU is that of the client's process, user and system, all threads; the server has the other core. In memory nothing is
waited for, so the floor's tasks run one after the other; its streams are the same events, in one piece or one by one:
where litellm's aiohttp transport is not 3.5 x the floor, no transport under stock httpx can be 3.5 x ahead of it.
The bare loop parses nothing and knows its answer's size. A busy machine makes all CPU figures larger, if not the same
for each: ratios within one run are what counts. The delay of a first event is that of {STREAMS} streams which all go on
at one event per {INTERVAL_US / 1000:g} ms on one core, from the server's stamp to the line in the task's hands."""


def _rows(group: Group, results: GroupResults) -> Iterator[tuple[str, str]]:
    """The group's clients that have a figure. The reasons of the others are printed below the table."""
    for client in group.clients:
        if any(results.of(client.key, work.key) for work in group.works):
            yield client.key, client.title


def _httpx_table(group: Group, results: GroupResults) -> Iterator[str]:
    floor = [results.median("httpx_memory", work, "cpu_per_call") for work in (FEW, MANY)]
    rows = []
    for client, title in _rows(group, results):
        few, many = (results.median(client, work, "cpu_per_call") for work in (FEW, MANY))
        over = [minus(few, floor[0]), minus(many, floor[1])] if client != "httpx_memory" else ["-", "-"]
        rows.append(
            [title, us(few), over[0], per(few, floor[0]), us(many), over[1], per(many, floor[1]), per(many, few)]
        )
    heading = [
        "CPU us per request",
        *(text for tasks in TASKS for text in (f"{tasks} tasks", "over floor", "x floor")),
        f"{TASKS[1]} / {TASKS[0]}",
    ]
    return table(heading, rows)


def _bare_table(group: Group, results: GroupResults) -> Iterator[str]:
    rows = []
    for client, title in _rows(group, results):
        row = [title]
        for work in (FEW, MANY):
            own = results.median(client, work, "cpu_per_call")
            rate = results.median(client, work, "rate")
            row += [us(own), per(own, results.median("loop", work, "cpu_per_call")), f"{rate or 0:,.0f}"]
        rows.append(row)
    heading = ["CPU us per request", *(t for tasks in TASKS for t in (f"{tasks} tasks", "x limit", "requests/s"))]
    return table(heading, rows)


def _sse_table(group: Group, results: GroupResults) -> Iterator[str]:
    rows = []
    for client, title in _rows(group, results):
        row = [title]
        for work in (*BURSTS.values(), PACED):
            own = results.median(client, work, "cpu_per_call")
            row += [us(own), per(own, results.median("httpx_aiohttp", work, "cpu_per_call"))]
        rows.append([*row, *(ms(results.delay_ms(client, PACED, percent)) for percent in (50, 99))])
    heading = [f"CPU us per stream of {EVENTS} events"]
    heading += [text for title in BURSTS for text in (f"at once, {title}", "x aiohttp")]
    heading += [f"one per {INTERVAL_US / 1000:g} ms, {STREAMS} streams", "x aiohttp", "first event, ms", "its p99"]
    return table(heading, rows)


def _litellm_table(group: Group, results: GroupResults) -> Iterator[str]:
    rows = []
    for client, title in _rows(group, results):
        row = [title]
        for tasks in AT_ONCE:
            work = f"acompletion-{tasks}"
            rate = results.median(client, work, "rate")
            base = results.median("litellm_memory", work, "rate")
            row += [f"{rate or 0:,.0f}", per(rate, base), us(results.median(client, work, "cpu_per_call"))]
        rows.append(row)
    heading = ["calls per second", *(t for n in AT_ONCE for t in (f"{n} at once", "x memory", "CPU us per call"))]
    return table(heading, rows)


def _keys_table(group: Group, results: GroupResults) -> Iterator[str]:
    rows = []
    for client, title in _rows(group, results):
        steady, again, single, tenants = (
            results.median(client, work, "us_per_call") for work in (STEADY, AGAIN, SINGLE, NEW_KEYS)
        )
        loops, keys = (handshakes(results, client, *works) for works in ((STEADY, AGAIN), (SINGLE, NEW_KEYS)))
        rows.append([title, us(steady), us(again), per(again, steady), str(loops)])
        rows[-1] += [us(single), us(tenants), per(tenants, single), str(keys)]
    heading = ["us per call", "one loop", "`asyncio.run` each", "ratio", "handshakes"]
    heading += [f"one key, {TENANT_TASKS} at once", f"{TENANTS} new keys", "ratio", "handshakes"]
    return table(heading, rows)


def _proxy_table(group: Group, results: GroupResults) -> Iterator[str]:
    rows = []
    for client, title in _rows(group, results):
        row = [title]
        for work in ("post-1", FEW):
            own = results.median(client, work, "cpu_per_call")
            row += [us(own), per(own, results.median("tls_accelerated", work, "cpu_per_call"))]
        rows.append(row)
    heading = ["CPU us per request", "one task", "x no proxy", f"{TASKS[0]} tasks", "x no proxy"]
    return table(heading, rows)


def _empty_note(results: GroupResults) -> str:
    value = results.median("litellm_own", "empty-1", "us_per_call")
    return "" if value is None else f"`asyncio.run` of nothing takes {value:.0f} us of it."


def _tables(results: AsyncResults) -> Iterator[tuple[str, Iterator[str], str]]:
    """Title, table and remark of each group that was measured."""
    known = groups(Effort(1, 1.0))
    made = {
        "httpx": (f"A request through httpx, {TASKS[0]} and {TASKS[1]} tasks", _httpx_table, ""),
        "bare": ("A request without httpx", _bare_table, ""),
        "sse": (f"Server-sent events through httpx's `aiter_lines`, {STREAMS} streams", _sse_table, ""),
        "litellm": ("`litellm.acompletion`", _litellm_table, ""),
        "keys": ("`litellm.acompletion` over TLS: loops and keys", _keys_table, _empty_note(results.of("keys"))),
        "link": (f"The same{DELAY}", _keys_table, ""),
        "proxy": ("A request over TLS through a proxy's tunnel", _proxy_table, ""),
    }
    for name, (title, make, remark) in made.items():
        own = results.of(name)
        if own.samples:
            yield title, make(known["keys" if name == "link" else name], own), remark


def render(results: AsyncResults, conditions: str) -> str:
    """The whole part as Markdown."""
    lines = ["## Benchmark: asynchronous clients", "", f"{conditions}; {versions(*_PACKAGES)}.", ""]
    lines += ["Medians of interleaved rounds; each client in a process of its own, the server on core 0.", ""]
    for title, rows, remark in _tables(results):
        lines += [f"### {title}", "", *rows, ""]
        lines += [remark, ""] if remark else []
    lines += ["### Targets", "", *verdicts(results), ""]
    notes = [
        f"- {TITLES.get(client, client)} ({name}): {reason}"
        for name, own in results.groups.items()
        for client, reason in own.unavailable.items()
    ]
    if notes:
        lines += ["### To note", "", *notes, ""]
    lines += ["### What this does not say", "", NOT_MEASURED]
    return "\n".join(lines)


#: Of README.md's table: a column per kind of client, and which client that is in each group.
_COLUMNS: dict[str, dict[str, str]] = {
    "the limit": {
        "httpx": "httpx_memory",
        "bare": "loop",
        "sse": "httpx_memory",
        "litellm": "litellm_memory",
        "keys": "litellm_floor",
    },
    "ours": {"httpx": "httpx_own", "bare": "pool", "sse": "httpx_own"},
    "ours, accelerated": {
        "httpx": "httpx_accelerated",
        "sse": "httpx_accelerated",
        "litellm": "litellm_own",
        "keys": "litellm_own",
        "link": "litellm_own",
    },
    "aiohttp": {
        "httpx": "httpx_aiohttp",
        "bare": "aiohttp",
        "sse": "httpx_aiohttp",
        "litellm": "litellm_stock",
        "keys": "litellm_stock",
        "link": "litellm_stock",
    },
    "pyreqwest": {"httpx": "httpx_pyreqwest", "bare": "pyreqwest-uvloop", "sse": "httpx_pyreqwest"},
    "httpx": {"httpx": "httpx_stock", "sse": "httpx_stock", "litellm": "litellm_httpx"},
}
#: Its rows: title, group, work, and which figure of it.
_LINES = (
    *((f"request through httpx, {n} tasks, µs CPU", "httpx", f"post-{n}", "cpu_per_call") for n in TASKS),
    *((f"request without httpx, {n} tasks, µs CPU", "bare", f"post-{n}", "cpu_per_call") for n in TASKS),
    *((f"{EVENTS} events at once, {name}, µs CPU", "sse", work, "cpu_per_call") for name, work in BURSTS.items()),
    (f"{EVENTS} events, one per {INTERVAL_US / 1000:g} ms, µs CPU", "sse", PACED, "cpu_per_call"),
    *((f"`acompletion`, {n} at once, calls/s", "litellm", f"acompletion-{n}", "rate") for n in AT_ONCE),
    *(
        (f"`acompletion`, TLS{where}, {title}, µs", group, work, "us_per_call")
        for group, where in (("keys", ""), ("link", DELAY))
        for title, work in (
            ("in one loop", STEADY),
            ("`asyncio.run` each", AGAIN),
            ("one key", SINGLE),
            (f"{TENANTS} new keys", NEW_KEYS),
        )
    ),
)


def readme_figures(results: AsyncResults, conditions: str) -> str:
    """The block of README.md: a line per work, ours beside the peers."""
    rows = []
    for title, group, work, figure in _LINES:
        own = results.of(group)
        clients = [column.get(group, "") for column in _COLUMNS.values()]
        values = [own.median(client, work, figure) for client in clients]
        if any(value is not None for value in values):
            rows.append([title, *("-" if value is None else us(value) for value in values)])
    return "\n".join([*table(["", *_COLUMNS], rows), "", f"{conditions}."])
