"""The targets of the asynchronous part: what is to be reached, and a line per target that says whether it was."""

from __future__ import annotations

from collections.abc import Iterator

from bench.common.tables import verdict
from bench.common.workload import EVENTS, INTERVAL_US
from bench.loops.figures import (
    ACCELERATED,
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
    per,
    us,
)
from bench.loops.part import AT_ONCE, STREAMS, TASKS, TENANT_TASKS, AsyncResults
from bench.loops.rounds import GroupResults
from bench.loops.worker import TENANTS

OVER_FLOOR_LIMIT_US = 32.0
ACCELERATED_LIMIT = 0.75
MANY_TASKS_LIMIT = 1.2
LOOP_LIMIT = 2.0
PYREQWEST_FACTOR = 3.0
BURST_FACTOR = 3
PACED_LIMIT = 0.5
FIRST_EVENT_LIMIT_MS = 5.0
RATE_LIMIT = 0.95
#: An in-memory client with less of its core than this was starved by others: its rate says nothing.
LEAST_SHARE = 0.9
AGAIN_LIMIT = 1.1
TENANTS_LIMIT = 1.05
TUNNEL_LIMIT = 1.05


def _why(results: GroupResults, *clients: str) -> str:
    return next((results.unavailable[client] for client in clients if client in results.unavailable), "no figures")


def _at_most(
    name: str, results: GroupResults, value: tuple[str, str], base: tuple[str, str], limit: float, figure: str
) -> str:
    """The line of a ratio that is not to be larger; `value` and `base` are client and work."""
    own, other = results.median(*value, figure), results.median(*base, figure)
    if own is None or other is None:
        return verdict(name, None, _why(results, value[0], base[0]))
    return verdict(name, own <= limit * other, f"{own / other:.2f} x ({us(own)} against {us(other)} us)")


def _at_least(name: str, results: GroupResults, client: str, peer: str, work: str, factor: float) -> str:
    """The line of a speed, by CPU per call, that is to be larger than a peer's."""
    own, other = results.median(client, work, "cpu_per_call"), results.median(peer, work, "cpu_per_call")
    if own is None or other is None:
        return verdict(name, None, _why(results, client, peer))
    return verdict(name, other / own >= factor, f"{other / own:.1f} x ({us(own)} against {us(other)} us)")


def _httpx_verdicts(results: GroupResults) -> Iterator[str]:
    name = f"httpx over our transport at most {OVER_FLOOR_LIMIT_US:g} us over its floor, {TASKS[0]} tasks"
    own, floor = (results.median(client, FEW, "cpu_per_call") for client in ("httpx_own", "httpx_memory"))
    if own is None or floor is None:
        yield verdict(name, None, _why(results, "httpx_own", "httpx_memory"))
    else:
        yield verdict(name, own - floor <= OVER_FLOOR_LIMIT_US, f"{own - floor:.1f} us over {floor:.1f}")
    for client in ACCELERATED:
        for tasks, work in zip(TASKS, (FEW, MANY), strict=True):
            name = f"{TITLES[client]} at most {ACCELERATED_LIMIT:g} x the floor, {tasks} tasks"
            yield _at_most(name, results, (client, work), ("httpx_memory", work), ACCELERATED_LIMIT, "cpu_per_call")
    for client in ("httpx_own", *ACCELERATED):
        name = f"{TITLES[client]}, {TASKS[1]} tasks at most {MANY_TASKS_LIMIT:g} x the CPU at {TASKS[0]}"
        yield _at_most(name, results, (client, MANY), (client, FEW), MANY_TASKS_LIMIT, "cpu_per_call")


def _bare_verdicts(results: GroupResults) -> Iterator[str]:
    for client in ("pool", "pool-uvloop"):
        for tasks, work in zip(TASKS, (FEW, MANY), strict=True):
            title = f"{TITLES[client]}, {tasks} tasks"
            name = f"{title}: at most {LOOP_LIMIT:g} x the bare loop"
            yield _at_most(name, results, (client, work), ("loop", work), LOOP_LIMIT, "cpu_per_call")
            name = f"{title}: at least {PYREQWEST_FACTOR:g} x pyreqwest on uvloop"
            yield _at_least(name, results, client, "pyreqwest-uvloop", work, PYREQWEST_FACTOR)


def _sse_verdicts(results: GroupResults) -> Iterator[str]:
    for streams, work in BURSTS.items():
        for client in ("httpx_own", *ACCELERATED):
            title = f"{TITLES[client]}, {EVENTS} events at once, {streams}"
            name = f"{title}: at least {BURST_FACTOR:g} x litellm's aiohttp transport"
            yield _at_least(name, results, client, "httpx_aiohttp", work, BURST_FACTOR)
    for client in ("httpx_own", *ACCELERATED):
        title = f"{TITLES[client]}, one event per {INTERVAL_US / 1000:g} ms, {STREAMS} streams"
        name = f"{title}: at most {PACED_LIMIT:g} x the CPU of litellm's aiohttp transport"
        yield _at_most(name, results, (client, PACED), ("httpx_aiohttp", PACED), PACED_LIMIT, "cpu_per_call")
        name = f"{title}: the first event within {FIRST_EVENT_LIMIT_MS:g} ms of its sending (99 of 100)"
        half, most = (results.delay_ms(client, PACED, percent) for percent in (50, 99))
        if half is None or most is None:
            yield verdict(name, None, _why(results, client))
        else:
            yield verdict(name, most <= FIRST_EVENT_LIMIT_MS, f"{most:.1f} ms, half within {half:.1f}")


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
        stock, httpx = (per(peer, memory) for peer in peers)
        figures = f"{own / memory:.2f} ({own:,.0f} against {memory:,.0f} per second; stock {stock}, its httpx {httpx})"
        yield verdict(name, own >= RATE_LIMIT * memory, figures)


def _within(results: GroupResults, name: str, work: str, base: str, limit: float) -> str:
    """The line of a ratio of two works, with the ratio that litellm itself has where nothing is sent."""
    line = _at_most(name, results, ("litellm_own", work), ("litellm_own", base), limit, "us_per_call")
    alone = per(*(results.median("litellm_floor", each, "us_per_call") for each in (work, base)))
    return line if alone == "-" else f"{line}; litellm without a network: {alone} x"


def _keys_verdicts(results: GroupResults, where: str) -> Iterator[str]:
    own = "litellm_own"
    name = f"`asyncio.run(acompletion())` again and again{where}: at most {AGAIN_LIMIT:g} x the steady call"
    yield _within(results, name, AGAIN, STEADY, AGAIN_LIMIT)
    name = f"`asyncio.run(acompletion())` again and again{where}: one handshake in all"
    count, calls = handshakes(results, own, STEADY, AGAIN), results.total(own, (STEADY, AGAIN), "calls")
    if count is None:
        yield verdict(name, None, _why(results, own))
    else:
        yield verdict(name, count == 1, f"{count} handshakes for {calls:,} calls")
    name = f"{TENANTS} tenants' keys{where}: at most {TENANTS_LIMIT:g} x the single-key call"
    yield _within(results, name, NEW_KEYS, SINGLE, TENANTS_LIMIT)
    name = f"{TENANTS} tenants' keys{where}: one set of connections, {TENANT_TASKS} at most"
    count = handshakes(results, own, STEADY, AGAIN, SINGLE, NEW_KEYS)
    if count is None:
        yield verdict(name, None, _why(results, own))
    else:
        tenants = results.total(own, (NEW_KEYS,), "handshakes")
        figures = f"{count} handshakes in all, {tenants} of them while tenants called"
        yield verdict(name, count <= TENANT_TASKS, figures)


def _proxy_verdicts(results: GroupResults) -> Iterator[str]:
    for own in ("accelerated", "own"):
        for tasks in (1, TASKS[0]):
            work = f"post-{tasks}"
            name = f"{TITLES[f'tunnel_{own}']} through a tunnel, {tasks} tasks: at most {TUNNEL_LIMIT:g} x no proxy"
            yield _at_most(name, results, (f"tunnel_{own}", work), (f"tls_{own}", work), TUNNEL_LIMIT, "cpu_per_call")


def verdicts(results: AsyncResults) -> Iterator[str]:
    made = {
        "httpx": _httpx_verdicts,
        "bare": _bare_verdicts,
        "sse": _sse_verdicts,
        "litellm": _litellm_verdicts,
        "keys": lambda own: _keys_verdicts(own, ""),
        "link": lambda own: _keys_verdicts(own, DELAY),
        "proxy": _proxy_verdicts,
    }
    for name, make in made.items():
        if name in results.groups:
            yield from make(results.of(name))
