"""The asynchronous part of the benchmark: which clients do which works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.common.environment import ROOT, Server, SetupError, child_environment, worker
from bench.loops import tunnel
from bench.loops.rounds import Client, Group, GroupResults, Place, Work
from bench.loops.rounds import run as run_group

_SERVER_CORE = 0
_DELAYED_LINK = ROOT / "tests" / "tools" / "delayed_link.py"
#: Milliseconds one way.
ONE_WAY_MS = 15
TASKS = (64, 500)
AT_ONCE = (64, 256)
STREAMS = 64
TENANT_TASKS = 8
#: Most rounds of the rows whose calls are litellm's: each takes long.
_LITELLM_ROUNDS = 3

_LITELLM = (
    Client("litellm_memory", "stock httpx without a network"),
    Client("litellm_own", "accelerated"),
    Client("litellm_stock", "stock (its aiohttp transport)"),
    Client("litellm_httpx", "stock, its httpx path"),
)
_KEYS = (
    Client("litellm_floor", "litellm without a network (limit)"),
    Client("litellm_own", "accelerated"),
    Client("litellm_stock", "stock (its aiohttp transport)"),
)


@dataclass(frozen=True)
class Effort:
    """How long it may take: rounds, and the share of the full time for each sample."""

    rounds: int
    share: float

    @classmethod
    def of(cls, quick: bool, rounds: int | None) -> Effort:
        return cls(rounds or 1, 0.5) if quick else cls(rounds or 5, 1.0)


def groups(effort: Effort) -> dict[str, Group]:
    """All groups but the delayed one, by name, in the order of the report."""

    def timed(kind: str, tasks: int, seconds: float) -> Work:
        return Work(kind, tasks, seconds * effort.share, 0.1 * effort.share)

    def counted(kind: str, tasks: int, calls: int) -> Work:
        return Work(kind, tasks, calls=int(calls * effort.share))

    through_httpx = (
        Client("httpx_memory", "httpx without a network (floor)"),
        Client("httpx_own", "httpx over our `AsyncHTTPTransport`"),
        Client("httpx_accelerated", "`accelerate(client)`"),
        Client("httpx_litellm", "litellm's client, accelerated"),
        Client("httpx_aiohttp", "httpx over litellm's aiohttp transport"),
        Client("httpx_pyreqwest", "httpx over pyreqwest"),
        Client("httpx_stock", "httpx, stock"),
    )
    without_httpx = (
        Client("loop", "bare epoll loop (limit)"),
        Client("pool", "`await pool.arequest`"),
        Client("pool", "`await pool.arequest`, uvloop", "uvloop"),
        Client("pyreqwest", "pyreqwest"),
        Client("pyreqwest", "pyreqwest, uvloop", "uvloop"),
        Client("aiohttp", "aiohttp"),
        Client("aiohttp", "aiohttp, uvloop", "uvloop"),
    )
    own = (
        Group(
            "httpx",
            "through httpx",
            through_httpx,
            tuple(timed("post", tasks, seconds) for tasks, seconds in zip(TASKS, (0.5, 0.8), strict=True)),
            # Its pool looks at all connections for every request: 500 tasks would take minutes.
            skipped=frozenset({("httpx_stock", "post-500")}),
        ),
        Group(
            "bare",
            "without httpx",
            without_httpx,
            tuple(timed("post", tasks, seconds) for tasks, seconds in zip(TASKS, (0.3, 0.5), strict=True)),
        ),
        Group(
            "sse",
            "streams",
            through_httpx,
            (timed("burst", 1, 0.2), timed("burst", STREAMS, 0.5), timed("paced", STREAMS, 0.8)),
        ),
        Group(
            "litellm",
            "litellm.acompletion",
            _LITELLM,
            tuple(timed("acompletion", tasks, 1.2) for tasks in AT_ONCE),
        ),
        Group(
            "keys",
            "loops and keys, TLS",
            _KEYS,
            (
                counted("steady", 1, 150),
                counted("again", 1, 100),
                counted("empty", 1, 100),
                counted("single", TENANT_TASKS, 750),
                counted("tenants", TENANT_TASKS, 750),
            ),
            tls=True,
        ),
        Group(
            "proxy",
            "through a proxy, TLS",
            (
                Client("tls_accelerated", "`accelerate(client)`, no proxy"),
                Client("tunnel_accelerated", "`accelerate(client)`"),
                Client("tls_own", "httpx over our `AsyncHTTPTransport`, no proxy"),
                Client("tunnel_own", "httpx over our `AsyncHTTPTransport`"),
                Client("tunnel_aiohttp", "aiohttp"),
                Client("tunnel_stock", "httpx, stock"),
            ),
            (timed("post", 1, 0.3), timed("post", TASKS[0], 0.6)),
            tls=True,
        ),
    )
    return {group.name: group for group in own}


def delayed(group: Group) -> Group:
    """The loops and keys over a link with a delay: fewer calls, since each waits."""
    calls = {"steady": 20, "again": 20, "single": 400, "tenants": 400}
    works = tuple(replace(work, calls=calls[work.kind]) for work in group.works if work.kind in calls)
    clients = tuple(client for client in group.clients if client.name != "litellm_floor")
    return replace(group, name="link", title=f"loops and keys, TLS, {2 * ONE_WAY_MS} ms", clients=clients, works=works)


ROWS = (*groups(Effort(1, 1.0)), "link")


@dataclass
class AsyncResults:
    groups: dict[str, GroupResults] = field(default_factory=dict)

    def of(self, name: str) -> GroupResults:
        return self.groups.get(name, GroupResults())

    def as_json(self) -> dict[str, Any]:
        return {name: results.as_json() for name, results in self.groups.items()}


def quiet_environment() -> dict[str, str]:
    """The clients' environment, in which litellm looks for nothing outside and reads no settings of the user's."""
    try:
        from fast_litellm.cli.demo.run import QUIET_LITELLM
    except ImportError as error:
        raise SetupError(f"{error}; install the extras: pip install 'fast-litellm[litellm,cli]'") from error
    kept = {name: value for name, value in child_environment().items() if not name.startswith("FAST_LITELLM")}
    return {**kept, **QUIET_LITELLM}


def _why_no_link() -> str | None:
    """What is missing for a link with a delay; None if nothing is."""
    if os.geteuid() != 0:
        return "a link with a delay needs root (network namespaces)"
    if not Path("/dev/net/tun").exists():
        return "a link with a delay needs /dev/net/tun"
    if subprocess.run(["ip", "netns", "list"], capture_output=True, check=False).returncode != 0:
        return "a link with a delay needs network namespaces (`ip netns`)"
    return None


def _over_link(group: Group, rounds: int) -> GroupResults:
    """Measures in namespaces of its own, by link.py within tests/tools/delayed_link.py."""
    try:
        reason = _why_no_link()
    except FileNotFoundError:
        reason = "a link with a delay needs the `ip` program"
    if reason is None:
        command = [sys.executable, str(_DELAYED_LINK), str(ONE_WAY_MS), "--", *worker("loops.link")]
        done = subprocess.run([*command, str(rounds)], stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
        if done.returncode == 0:
            return GroupResults.from_json(json.loads(done.stdout))
        reason = f"the run over the delayed link failed with status {done.returncode}"
    return GroupResults(unavailable={client.key: reason for client in group.clients})


def _through_proxy(group: Group, place: Place, rounds: int, progress: Callable[[str], None]) -> GroupResults:
    try:
        with tunnel.running_tinyproxy(_SERVER_CORE) as url:
            environment = {**place.environment, tunnel.PROXY_VARIABLE: url}
            return run_group(group, replace(place, environment=environment), rounds, progress)
    except SetupError as reason:
        return GroupResults(unavailable={client.key: str(reason) for client in group.clients})


def run(server: Server, rows: list[str], effort: Effort, progress: Callable[[str], None]) -> AsyncResults:
    """The chosen groups, one after the other."""
    results = AsyncResults()
    place = Place(server.plain, server.tls, quiet_environment())
    known = groups(effort)
    for name in rows:
        if name == "link":
            progress("starting the delayed link")
            results.groups[name] = _over_link(delayed(known["keys"]), min(_LITELLM_ROUNDS, effort.rounds))
        elif name == "proxy":
            results.groups[name] = _through_proxy(known[name], place, effort.rounds, progress)
        else:
            rounds = min(_LITELLM_ROUNDS, effort.rounds) if name in ("litellm", "keys") else effort.rounds
            results.groups[name] = run_group(known[name], place, rounds, progress)
    return results
