"""What is printed of the asynchronous part, and what of it stands in README.md."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import metadata

from async_part import AT_ONCE, ONE_WAY_MS, STREAMS, TASKS, TENANT_TASKS, AsyncResults, Effort, groups
from async_rounds import Group, GroupResults
from async_worker import TENANTS
from tables import table, verdict
from workload import EVENTS, INTERVAL_US

OVER_FLOOR_LIMIT_US = 32.0
ACCELERATED_LIMIT = 1.05
MANY_TASKS_LIMIT = 1.2
LOOP_LIMIT = 2.0
PYREQWEST_FACTOR = 3.0
BURST_FACTOR = 3.5
PACED_LIMIT = 0.5
FIRST_EVENT_LIMIT_MS = 5.0
RATE_LIMIT = 0.95
#: An in-memory client with less of its core than this was starved by others: its rate says nothing.
LEAST_SHARE = 0.9
AGAIN_LIMIT = 1.1
TENANTS_LIMIT = 1.05

NOT_MEASURED = f"""\
CPU is that of the client's process, user and system, all threads; the server has the other core. In memory nothing is
waited for, so the floor's tasks run one after the other; its streams are the same events, in one piece or one by one:
where litellm's aiohttp transport is not 3.5 x the floor, no transport under stock httpx can be 3.5 x ahead of it.
The bare loop parses nothing and knows its answer's size. A busy machine makes all CPU figures larger, if not the same
for each: ratios within one run are what counts. The delay of a first event is that of {STREAMS} streams which all go on
at one event per {INTERVAL_US / 1000:g} ms on one core, from the server's stamp to the line in the task's hands."""

_FEW, _MANY = (f"post-{tasks}" for tasks in TASKS)
_BURSTS, _PACED = {"one stream": "burst-1", f"{STREAMS} streams": f"burst-{STREAMS}"}, f"paced-{STREAMS}"
_ACCELERATED = ("httpx_accelerated", "httpx_litellm")
_TITLES: dict[str, str] = {
    client.key: client.title for group in groups(Effort(1, 1.0)).values() for client in group.clients
}


def _us(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}" if value < 1_000 else f"{value:,.0f}"


def _minus(value: float | None, base: float | None) -> str:
    return "-" if value is None or base is None else f"{value - base:.1f}"


def _per(value: float | None, base: float | None) -> str:
    return "-" if value is None or not base else f"{value / base:.2f}"


def _why(results: GroupResults, *clients: str) -> str:
    return next((results.unavailable[client] for client in clients if client in results.unavailable), "no figures")


def _rows(group: Group, results: GroupResults) -> Iterator[tuple[str, str]]:
    """The group's clients; those without a single figure are told below the table."""
    for client in group.clients:
        if any(results.of(client.key, work.key) for work in group.works):
            yield client.key, client.title


def _at_most(
    name: str, results: GroupResults, value: tuple[str, str], base: tuple[str, str], limit: float, figure: str
) -> str:
    """The line of a ratio that is not to be larger; `value` and `base` are client and work."""
    own, other = results.median(*value, figure), results.median(*base, figure)
    if own is None or other is None:
        return verdict(name, None, _why(results, value[0], base[0]))
    return verdict(name, own <= limit * other, f"{own / other:.2f} x ({_us(own)} against {_us(other)} us)")


def _at_least(name: str, results: GroupResults, client: str, peer: str, work: str, factor: float) -> str:
    """The line of a speed, by CPU per call, that is to be larger than a peer's."""
    own, other = results.median(client, work, "cpu_per_call"), results.median(peer, work, "cpu_per_call")
    if own is None or other is None:
        return verdict(name, None, _why(results, client, peer))
    return verdict(name, other / own >= factor, f"{other / own:.1f} x ({_us(own)} against {_us(other)} us)")


# ---- requests -------------------------------------------------------------------------------------------------------


def _httpx_table(group: Group, results: GroupResults) -> Iterator[str]:
    floor = [results.median("httpx_memory", work, "cpu_per_call") for work in (_FEW, _MANY)]
    rows = []
    for client, title in _rows(group, results):
        few, many = (results.median(client, work, "cpu_per_call") for work in (_FEW, _MANY))
        over = [_minus(few, floor[0]), _minus(many, floor[1])] if client != "httpx_memory" else ["-", "-"]
        rows.append(
            [title, _us(few), over[0], _per(few, floor[0]), _us(many), over[1], _per(many, floor[1]), _per(many, few)]
        )
    heading = [
        "CPU us per request",
        *(text for tasks in TASKS for text in (f"{tasks} tasks", "over floor", "x floor")),
        f"{TASKS[1]} / {TASKS[0]}",
    ]
    return table(heading, rows)


def _httpx_verdicts(results: GroupResults) -> Iterator[str]:
    name = f"httpx over our transport at most {OVER_FLOOR_LIMIT_US:g} us over its floor, {TASKS[0]} tasks"
    own, floor = (results.median(client, _FEW, "cpu_per_call") for client in ("httpx_own", "httpx_memory"))
    if own is None or floor is None:
        yield verdict(name, None, _why(results, "httpx_own", "httpx_memory"))
    else:
        yield verdict(name, own - floor <= OVER_FLOOR_LIMIT_US, f"{own - floor:.1f} us over {floor:.1f}")
    for client in _ACCELERATED:
        name = f"{_TITLES[client]} at most {ACCELERATED_LIMIT:g} x the floor, {TASKS[0]} tasks"
        yield _at_most(name, results, (client, _FEW), ("httpx_memory", _FEW), ACCELERATED_LIMIT, "cpu_per_call")
    for client in ("httpx_own", *_ACCELERATED):
        name = f"{_TITLES[client]}, {TASKS[1]} tasks at most {MANY_TASKS_LIMIT:g} x the CPU at {TASKS[0]}"
        yield _at_most(name, results, (client, _MANY), (client, _FEW), MANY_TASKS_LIMIT, "cpu_per_call")


def _bare_table(group: Group, results: GroupResults) -> Iterator[str]:
    rows = []
    for client, title in _rows(group, results):
        row = [title]
        for work in (_FEW, _MANY):
            own = results.median(client, work, "cpu_per_call")
            rate = results.median(client, work, "rate")
            row += [_us(own), _per(own, results.median("loop", work, "cpu_per_call")), f"{rate or 0:,.0f}"]
        rows.append(row)
    heading = ["CPU us per request", *(t for tasks in TASKS for t in (f"{tasks} tasks", "x limit", "requests/s"))]
    return table(heading, rows)


def _bare_verdicts(results: GroupResults) -> Iterator[str]:
    for client in ("pool", "pool-uvloop"):
        for tasks, work in zip(TASKS, (_FEW, _MANY), strict=True):
            title = f"{_TITLES[client]}, {tasks} tasks"
            name = f"{title}: at most {LOOP_LIMIT:g} x the bare loop"
            yield _at_most(name, results, (client, work), ("loop", work), LOOP_LIMIT, "cpu_per_call")
            name = f"{title}: at least {PYREQWEST_FACTOR:g} x pyreqwest on uvloop"
            yield _at_least(name, results, client, "pyreqwest-uvloop", work, PYREQWEST_FACTOR)


# ---- streams --------------------------------------------------------------------------------------------------------


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _sse_table(group: Group, results: GroupResults) -> Iterator[str]:
    rows = []
    for client, title in _rows(group, results):
        row = [title]
        for work in (*_BURSTS.values(), _PACED):
            own = results.median(client, work, "cpu_per_call")
            row += [_us(own), _per(own, results.median("httpx_aiohttp", work, "cpu_per_call"))]
        rows.append([*row, *(_ms(results.delay_ms(client, _PACED, percent)) for percent in (50, 99))])
    heading = [f"CPU us per stream of {EVENTS} events"]
    heading += [text for title in _BURSTS for text in (f"at once, {title}", "x aiohttp")]
    heading += [f"one per {INTERVAL_US / 1000:g} ms, {STREAMS} streams", "x aiohttp", "first event, ms", "its p99"]
    return table(heading, rows)


def _sse_verdicts(results: GroupResults) -> Iterator[str]:
    for streams, work in _BURSTS.items():
        for client in ("httpx_own", *_ACCELERATED):
            title = f"{_TITLES[client]}, {EVENTS} events at once, {streams}"
            name = f"{title}: at least {BURST_FACTOR:g} x litellm's aiohttp transport"
            yield _at_least(name, results, client, "httpx_aiohttp", work, BURST_FACTOR)
    for client in ("httpx_own", *_ACCELERATED):
        title = f"{_TITLES[client]}, one event per {INTERVAL_US / 1000:g} ms, {STREAMS} streams"
        name = f"{title}: at most {PACED_LIMIT:g} x the CPU of litellm's aiohttp transport"
        yield _at_most(name, results, (client, _PACED), ("httpx_aiohttp", _PACED), PACED_LIMIT, "cpu_per_call")
        name = f"{title}: the first event within {FIRST_EVENT_LIMIT_MS:g} ms of its sending (99 of 100)"
        half, most = (results.delay_ms(client, _PACED, percent) for percent in (50, 99))
        if half is None or most is None:
            yield verdict(name, None, _why(results, client))
        else:
            yield verdict(name, most <= FIRST_EVENT_LIMIT_MS, f"{most:.1f} ms, half within {half:.1f}")


# ---- litellm --------------------------------------------------------------------------------------------------------


def _litellm_table(group: Group, results: GroupResults) -> Iterator[str]:
    rows = []
    for client, title in _rows(group, results):
        row = [title]
        for tasks in AT_ONCE:
            work = f"acompletion-{tasks}"
            rate = results.median(client, work, "rate")
            base = results.median("litellm_memory", work, "rate")
            row += [f"{rate or 0:,.0f}", _per(rate, base), _us(results.median(client, work, "cpu_per_call"))]
        rows.append(row)
    heading = ["calls per second", *(t for n in AT_ONCE for t in (f"{n} at once", "x memory", "CPU us per call"))]
    return table(heading, rows)


def _litellm_verdicts(results: GroupResults) -> Iterator[str]:
    for tasks in AT_ONCE:
        work = f"acompletion-{tasks}"
        name = f"acompletion, {tasks} at once: at least {RATE_LIMIT:g} of the rate over an in-memory transport"
        rates = [results.median(f"litellm_{kind}", work, "rate") for kind in ("own", "memory", "stock", "httpx")]
        own, memory, *peers = rates
        if own is None or memory is None:
            yield verdict(name, None, _why(results, "litellm_own", "litellm_memory"))
            continue
        share = results.median("litellm_memory", work, "core_share") or 0.0
        if share < LEAST_SHARE:
            yield verdict(name, None, f"the in-memory client, which waits for nothing, had {share:.0%} of its core")
            continue
        stock, httpx = (_per(peer, memory) for peer in peers)
        figures = f"{own / memory:.2f} ({own:,.0f} against {memory:,.0f} per second; stock {stock}, its httpx {httpx})"
        yield verdict(name, own >= RATE_LIMIT * memory, figures)


# ---- loops and keys -------------------------------------------------------------------------------------------------

_STEADY, _AGAIN = "steady-1", "again-1"
_SINGLE, _TENANTS = f"single-{TENANT_TASKS}", f"tenants-{TENANT_TASKS}"


def _handshakes(results: GroupResults, client: str, *works: str) -> int | None:
    """Of these works in all rounds and of the client's very first call."""
    counted = results.total(client, works, "handshakes")
    return None if counted is None else counted + results.first_handshakes.get(client, 0)


def _keys_table(group: Group, results: GroupResults) -> Iterator[str]:
    rows = []
    for client, title in _rows(group, results):
        steady, again, single, tenants = (
            results.median(client, work, "us_per_call") for work in (_STEADY, _AGAIN, _SINGLE, _TENANTS)
        )
        loops, keys = (_handshakes(results, client, *works) for works in ((_STEADY, _AGAIN), (_SINGLE, _TENANTS)))
        rows.append([title, _us(steady), _us(again), _per(again, steady), str(loops)])
        rows[-1] += [_us(single), _us(tenants), _per(tenants, single), str(keys)]
    heading = ["us per call", "one loop", "`asyncio.run` each", "ratio", "handshakes"]
    heading += [f"one key, {TENANT_TASKS} at once", f"{TENANTS} new keys", "ratio", "handshakes"]
    return table(heading, rows)


def _within(results: GroupResults, name: str, work: str, base: str, limit: float) -> str:
    """The line of a ratio of two works, with the ratio that litellm itself has where nothing is sent."""
    line = _at_most(name, results, ("litellm_own", work), ("litellm_own", base), limit, "us_per_call")
    alone = _per(*(results.median("litellm_floor", each, "us_per_call") for each in (work, base)))
    return line if alone == "-" else f"{line}; litellm without a network: {alone} x"


def _keys_verdicts(results: GroupResults, where: str) -> Iterator[str]:
    own = "litellm_own"
    name = f"`asyncio.run(acompletion())` again and again{where}: at most {AGAIN_LIMIT:g} x the steady call"
    yield _within(results, name, _AGAIN, _STEADY, AGAIN_LIMIT)
    name = f"`asyncio.run(acompletion())` again and again{where}: one handshake in all"
    count, calls = _handshakes(results, own, _STEADY, _AGAIN), results.total(own, (_STEADY, _AGAIN), "calls")
    if count is None:
        yield verdict(name, None, _why(results, own))
    else:
        yield verdict(name, count == 1, f"{count} handshakes for {calls:,} calls")
    name = f"{TENANTS} tenants' keys{where}: at most {TENANTS_LIMIT:g} x the single-key call"
    yield _within(results, name, _TENANTS, _SINGLE, TENANTS_LIMIT)
    name = f"{TENANTS} tenants' keys{where}: one set of connections, {TENANT_TASKS} at most"
    count = _handshakes(results, own, _STEADY, _AGAIN, _SINGLE, _TENANTS)
    if count is None:
        yield verdict(name, None, _why(results, own))
    else:
        tenants = results.total(own, (_TENANTS,), "handshakes")
        figures = f"{count} handshakes in all, {tenants} of them while tenants called"
        yield verdict(name, count <= TENANT_TASKS, figures)


def _empty_note(results: GroupResults) -> str:
    value = results.median("litellm_own", "empty-1", "us_per_call")
    return "" if value is None else f"`asyncio.run` of nothing takes {value:.0f} us of it."


# ---- the whole ------------------------------------------------------------------------------------------------------

_DELAY = f", {2 * ONE_WAY_MS} ms round trip"


def _tables(results: AsyncResults) -> Iterator[tuple[str, Iterator[str], str]]:
    """Title, table and remark of each group that was measured."""
    known = groups(Effort(1, 1.0))
    made = {
        "httpx": (f"A request through httpx, {TASKS[0]} and {TASKS[1]} tasks", _httpx_table, ""),
        "bare": ("A request without httpx", _bare_table, ""),
        "sse": (f"Server-sent events through httpx's `aiter_lines`, {STREAMS} streams", _sse_table, ""),
        "litellm": ("`litellm.acompletion`", _litellm_table, ""),
        "keys": ("`litellm.acompletion` over TLS: loops and keys", _keys_table, _empty_note(results.of("keys"))),
        "link": (f"The same{_DELAY}", _keys_table, ""),
    }
    for name, (title, make, remark) in made.items():
        own = results.of(name)
        if own.samples:
            yield title, make(known["keys" if name == "link" else name], own), remark


def _verdicts(results: AsyncResults) -> Iterator[str]:
    made = {
        "httpx": _httpx_verdicts,
        "bare": _bare_verdicts,
        "sse": _sse_verdicts,
        "litellm": _litellm_verdicts,
        "keys": lambda own: _keys_verdicts(own, ""),
        "link": lambda own: _keys_verdicts(own, _DELAY),
    }
    for name, make in made.items():
        if name in results.groups:
            yield from make(results.of(name))


def versions() -> str:
    """Python's, and of every package that is compared."""
    known = []
    for name in ("httpx", "litellm", "openai", "aiohttp", "pyreqwest", "uvloop", "fast-litellm"):
        try:
            known.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            known.append(f"{name} not installed")
    return f"Python {platform.python_version()}, " + ", ".join(known)


def render(results: AsyncResults, conditions: str) -> str:
    """The whole part as Markdown."""
    lines = ["## Benchmark: asynchronous clients", "", f"{conditions}; {versions()}.", ""]
    lines += ["Medians of interleaved rounds; each client in a process of its own, the server on core 0.", ""]
    for title, rows, remark in _tables(results):
        lines += [f"### {title}", "", *rows, ""]
        lines += [remark, ""] if remark else []
    lines += ["### Targets", "", *_verdicts(results), ""]
    notes = [
        f"- {_TITLES.get(client, client)} ({name}): {reason}"
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
    *((f"{EVENTS} events at once, {name}, µs CPU", "sse", work, "cpu_per_call") for name, work in _BURSTS.items()),
    (f"{EVENTS} events, one per {INTERVAL_US / 1000:g} ms, µs CPU", "sse", _PACED, "cpu_per_call"),
    *((f"`acompletion`, {n} at once, calls/s", "litellm", f"acompletion-{n}", "rate") for n in AT_ONCE),
    *(
        (f"`acompletion`, TLS{where}, {title}, µs", group, work, "us_per_call")
        for group, where in (("keys", ""), ("link", _DELAY))
        for title, work in (
            ("in one loop", _STEADY),
            ("`asyncio.run` each", _AGAIN),
            ("one key", _SINGLE),
            (f"{TENANTS} new keys", _TENANTS),
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
            rows.append([title, *("-" if value is None else _us(value) for value in values)])
    return "\n".join([*table(["", *_COLUMNS], rows), "", f"{conditions}."])
