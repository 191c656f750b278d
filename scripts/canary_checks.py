"""What `make canary` tries in an environment: litellm's calls, the SDKs' calls, and the LiteLLM proxy; and what was
lost. Raises `WorkerFailed`, or an AssertionError of the proxy, for what cannot be run."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from compat_run import judged

from compat import comparing, matrix
from compat.sdk_cells import SDK_CELLS
from fast_litellm.server import EmbeddedServer
from peers.litellm_proxy import LitellmProxy
from peers.proxy_load import send_all

PROXY_REQUESTS = 200
PROXY_WORKERS = 2
#: What no process under the pool may say when it ends.
COMPLAINTS = ("never retrieved", "never awaited", "Unclosed", "ResourceWarning", "Fatal Python error", "Traceback")


class Outcome(NamedTuple):
    """Calls that the pool carried and that were equal, of how many; clients with the pool's own TLS, of how many."""

    calls: int
    carried: int
    clients: int
    native: int
    differences: tuple[str, ...] = ()

    @property
    def is_loss(self) -> bool:
        return bool(self.differences) or self.carried != self.calls or self.native != self.clients or not self.clients

    @staticmethod
    def of(parts: Iterable[Outcome]) -> Outcome:
        """Several as one."""
        found = list(parts)
        return Outcome(
            sum(part.calls for part in found),
            sum(part.carried for part in found),
            sum(part.clients for part in found),
            sum(part.native for part in found),
            tuple(difference for part in found for difference in part.differences),
        )


def litellm_calls(python: str) -> Outcome:
    report = matrix.run(python)
    return _outcome(report, judged(python, report))


def sdk_calls(python: str) -> Outcome:
    report = matrix.run_sdks(python)
    return _outcome(report, {cell.name: comparing.judge(cell, report["cells"][cell.name]) for cell in SDK_CELLS})


def proxy_calls(python: str) -> Outcome:
    """The proxy under `fast-litellm run`, with two workers, over TLS to its provider."""
    folder = Path(tempfile.mkdtemp(prefix="fast-litellm-canary-"))
    try:
        with EmbeddedServer(tls=True) as server:
            launcher = [python, "-m", "fast_litellm", "run"]
            with LitellmProxy(folder / "proxy", server, launcher, PROXY_WORKERS, {}, python) as proxy:
                return _proxy_outcome(proxy)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _proxy_outcome(proxy: LitellmProxy) -> Outcome:
    before = _requests(proxy.reports())
    wrong = asyncio.run(send_all(proxy, PROXY_REQUESTS))
    reports = [report for report in proxy.reports() if report]
    carried = _requests(reports) - before
    differences = [f"{count} answers: {text}" for text, count in wrong.items()]
    if len(reports) != PROXY_WORKERS:
        differences.append(f"{len(reports)} of {PROXY_WORKERS} workers have the package")
    clients = native = 0
    for report in reports:
        patch = report["patch"]
        clients += patch["accelerated_clients"]
        native += patch["accelerated_clients"] - sum(patch["tls_by_context"].values())
        differences += _of_status(patch)
    status = proxy.stop()
    if status:
        differences.append(f"it ended with status {status}")
    differences += [f"left behind: {process[:100]}" for process in proxy.left_behind()]
    differences += [f"its log has {complaint!r}" for complaint in COMPLAINTS if complaint in proxy.log()]
    return Outcome(PROXY_REQUESTS, carried, clients, native, tuple(dict.fromkeys(differences)))


def _requests(reports: Sequence[dict[str, Any] | None]) -> int:
    return sum(report["stats"]["pool"]["requests"] for report in reports if report)


def _outcome(report: dict[str, Any], verdicts: dict[str, comparing.Verdict]) -> Outcome:
    # Where litellm itself refuses (Anthropic has no embeddings), or the SDK (older ones know no trio), there is nothing
    # to carry.
    verdicts = {name: verdict for name, verdict in verdicts.items() if verdict.state != comparing.NOT_OFFERED}
    carried = sum(verdict.state == comparing.POOL for verdict in verdicts.values())
    differences = [f"{name} {verdict}"[:300] for name, verdict in verdicts.items() if verdict.state != comparing.POOL]
    status = report["status"]
    differences += _of_status(status)
    errors = report["stderr"]["accelerated"]
    differences += [f"a worker's stderr has {complaint!r}" for complaint in COMPLAINTS if complaint in errors]
    clients = status["accelerated_clients"]
    return Outcome(
        len(verdicts), carried, clients, clients - sum(status["tls_by_context"].values()), tuple(differences)
    )


def _of_status(status: dict[str, Any]) -> list[str]:
    """What of `get_patch_status()` is a loss: not a client that neither litellm nor an SDK made ("bare httpx")."""
    stock = {reason: count for reason, count in status["fallback_reasons"].items() if reason != "bare httpx"}
    missing = sorted(name for name, state in status["points"].items() if state == "missing")
    return [
        *([] if status["accelerated_clients"] else ["no client was accelerated"]),
        *(f"{name} is missing" for name in missing),
        *(f"TLS of {count} clients by a context: {reason}" for reason, count in status["tls_by_context"].items()),
        *(f"{count} clients not accelerated: {reason}" for reason, count in stock.items()),
        *(f"{count} requests not by the pool: {reason}" for reason, count in status["requests_stock"].items()),
    ]
