"""The demo: real litellm, stock and accelerated, each in a fresh process, against one server. They take turns, so that
the machine's swings do not decide."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ...server import EmbeddedServer, EmbeddedServerError, ServerStats
from .phases import PHASES, Phase, parts
from .report import PoolCounts, Row, pool_table, results_table, verdict

CLIENTS = ("stock", "accelerated")

#: litellm must neither look for updates of its tables, nor read a .env file that happens to lie about.
QUIET_LITELLM = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_AUTOROUTER_PRESETS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_LOCAL_POLICY_TEMPLATES": "True",
    "LITELLM_TELEMETRY": "False",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
}


class WorkerFailed(RuntimeError):
    """The client process ended before it had answered."""


class Worker:
    """The client process; see worker.py for what is said on the pipes."""

    def __init__(self, environment: dict[str, str], settings: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fast_litellm.cli.demo.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._say(json.dumps(settings))

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerFailed(f"the client process ended with status {self._process.wait()}")
        message: dict[str, Any] = json.loads(line)
        return message

    def begin(self, part: dict[str, Any]) -> None:
        self._say(json.dumps(part))

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerFailed(f"the client process ended with status {self._process.wait()}") from None

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        if error is not None:
            self._process.kill()
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            status = self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise WorkerFailed("the client process did not end by itself") from None
        if error is None and status != 0:
            raise WorkerFailed(f"the client process ended with status {status}")


class Demo:
    """One run. `server` is None for a real provider, whose connections only the pool can count."""

    def __init__(self, console: Console, server: EmbeddedServer | None, settings: dict[str, Any]) -> None:
        self._console = console
        self._server = server
        self._settings = settings
        self.rows = [Row(client, phase.title) for phase in PHASES for client in CLIENTS]
        self.pool = PoolCounts()
        #: What the server accepted from the accelerated process.
        self.server_connections: int | None = None if server is None else 0

    def measure(self, calls: int, progress: Progress) -> None:
        """Runs the phases in two fresh processes that take turns, and keeps their figures."""
        with ExitStack() as stack:
            starting = progress.add_task("starting litellm, twice", total=None)
            workers = {
                client: stack.enter_context(Worker(self._environment(client == "accelerated"), self._settings))
                for client in CLIENTS
            }
            for client, worker in workers.items():
                stats = worker.answer()["stats"]
                if client == "accelerated":
                    self.pool = PoolCounts.from_performance_stats(stats)
            progress.remove_task(starting)
            for phase in PHASES:
                self._say(f"{phase.title}: {calls} calls each ...")
                first = 0
                for number, part in enumerate(parts(calls, phase.rounds)):
                    # Who begins changes too.
                    for client in CLIENTS if number % 2 == 0 else reversed(CLIENTS):
                        self._run_part(workers[client], client, phase, first, part, progress)
                    first += part

    def _run_part(self, worker: Worker, client: str, phase: Phase, first: int, calls: int, progress: Progress) -> None:
        row = next(row for row in self.rows if (row.client, row.phase) == (client, phase.title))
        task = progress.add_task(f"{client}: {phase.title}", total=calls)
        before = self._server_stats()
        result = self._result(worker, {"phase": phase.name, "first": first, "calls": calls}, progress, task)
        progress.remove_task(task)
        after = self._server_stats()
        row.add(result)
        pool = PoolCounts.from_performance_stats(result["stats"])
        if before is not None and after is not None:
            added = after.since(before)
            row.add_connections(added.handshakes, added.connections_accepted)
            if added.requests != calls:
                count = f"the server answered {added.requests} requests"
                row.errors[f"{count} for {calls} calls"] += abs(added.requests - calls)
            if client == "accelerated" and self.server_connections is not None:
                self.server_connections += added.connections_accepted
        elif client == "accelerated":
            row.add_connections(
                pool.count("handshakes") - self.pool.count("handshakes"),
                pool.count("connections_opened") - self.pool.count("connections_opened"),
            )
        if client == "accelerated":
            self.pool = pool

    def _result(self, worker: Worker, part: dict[str, Any], progress: Progress, task: TaskID) -> dict[str, Any]:
        worker.begin(part)
        while True:
            message = worker.answer()
            if "result" in message:
                result: dict[str, Any] = message["result"]
                return result
            progress.update(task, completed=message["done"])

    def _say(self, line: str) -> None:
        if not self._console.is_terminal:
            self._console.print(line, highlight=False)

    def _server_stats(self) -> ServerStats | None:
        return None if self._server is None else self._server.stats()

    def _environment(self, accelerated: bool) -> dict[str, str]:
        environment = {**os.environ, **QUIET_LITELLM, "FAST_LITELLM_ENABLED": str(accelerated).lower()}
        if self._server is not None:
            environment["SSL_CERT_FILE"] = self._server.ca_file
            environment.pop("SSL_CERT_DIR", None)
            # A proxy cannot reach our loopback, and these variables would change what litellm does with TLS.
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SSL_VERIFY", "SSL_CERTIFICATE"):
                environment.pop(name, None)
                environment.pop(name.lower(), None)
        return environment


def run(calls: int, base_url: str = "", api_key: str = "", model: str = "", picture: str = "") -> int:
    """Runs the demo and prints its tables; `picture` names the PNG to write. 0 if every call succeeded and the pool
    carried the accelerated ones."""
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with ExitStack() as stack:
            server = None if base_url else stack.enter_context(EmbeddedServer(tls=True))
            settings = {
                "base_url": base_url or (server.base_url if server else ""),
                "api_key": api_key or "none",
                "model": model or "embedded-model",
                "echoes": server is not None,
            }
            console.print(f"Server: {settings['base_url']}" + (" (embedded)" if server else ""), highlight=False)
            demo = Demo(console, server, settings)
            progress = stack.enter_context(Progress(*columns, console=console, disable=not console.is_terminal))
            demo.measure(calls, progress)
    except (EmbeddedServerError, WorkerFailed) as error:
        console.print(f"error: {error}", style="red", highlight=False, markup=False)
        return 1
    if not console.is_terminal:
        console.width = max(console.width, 140)
    console.print()
    console.print(results_table(demo.rows))
    console.print(pool_table(demo.pool))
    if picture:
        console.print(_draw(demo.rows, Path(picture)), highlight=False, markup=False, soft_wrap=True)
    problems = verdict(demo.rows, demo.pool, demo.server_connections)
    for problem in problems:
        console.print(f"failed: {problem}", style="red", highlight=False, markup=False)
    if not problems:
        total = sum(row.calls for row in demo.rows if row.client == "accelerated")
        console.print(f"Every call succeeded; the pool carried all {total} of the accelerated client.", highlight=False)
    return 1 if problems else 0


def _draw(rows: list[Row], file: Path) -> str:
    """Writes the picture; what to say about it."""
    from .picture import draw

    try:
        draw(rows, file)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        return "No picture: it needs matplotlib: pip install 'fast-litellm[picture]'"
    except OSError as error:
        return f"No picture: {error}"
    return f"The same as a picture: {file}"
