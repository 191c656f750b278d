"""Runs the matrix under one interpreter, and writes what came of it. A program too:

python tests/python/compat/matrix.py [--python .cache/compat/.../bin/python] [--json result.json] [cell ...]
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from fast_litellm.server import EmbeddedServer, RequestRecord
from peers.proxies import RelayingProxy

from .cells import CELLS, PROXIED_CELLS, Cell
from .reporting import STATUS
from .sdk_cells import PROXIED_SDK_CELLS, SDK_CELLS, SdkCell

#: Unmodified litellm; litellm without its aiohttp transport, so that it uses httpx's own; accelerated litellm.
MODES = ("stock", "httpx", "accelerated")
#: Seconds for one cell, or for importing litellm; only what hangs takes them.
PATIENCE = 300.0

#: litellm must look for nothing on the network, and nothing of the caller's environment may change what it does.
QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_AUTOROUTER_PRESETS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_LOCAL_POLICY_TEMPLATES": "True",
    "LITELLM_TELEMETRY": "False",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "PYTHONHASHSEED": "0",
    "PYTHONFAULTHANDLER": "1",
}
_UNWANTED = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_VERIFY", "SSL_CERTIFICATE", "SSL_CERT_DIR")
_UNWANTED_PREFIXES = ("OPENAI_", "AZURE_", "ANTHROPIC_", "OLLAMA_", "HOSTED_VLLM_", "FAST_LITELLM_", "DISABLE_AIOHTTP")


class WorkerFailed(RuntimeError):
    """A worker ended, or hung, before it had answered."""


class Worker:
    """One worker process; see `reporting.talk` for what is said on the pipes."""

    def __init__(
        self,
        python: str,
        program: str,
        mode: str,
        api: EmbeddedServer,
        pictures: EmbeddedServer,
        proxy: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.mode = mode
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, str(Path(__file__).with_name(program))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**_environment(mode, api), **(environment or {})},
        )
        self._say(json.dumps({"mode": mode, "origin": api.origin, "pictures": pictures.origin, "proxy": proxy}))

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        watchdog = threading.Timer(PATIENCE, self._process.kill)
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            self._fail()
        message: dict[str, Any] = json.loads(line)
        return message

    def run(self, name: str) -> dict[str, Any]:
        self._say(name)
        return self.answer()

    def finish(self) -> None:
        """Lets it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def end(self) -> str:
        """Waits for its end; what it wrote to stderr."""
        watchdog = threading.Timer(PATIENCE, self._process.kill)
        watchdog.start()
        try:
            if self._process.wait() != 0:
                self._fail()
        finally:
            watchdog.cancel()
        self._errors.seek(0)
        return self._errors.read()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._fail()

    def _fail(self) -> None:
        status = self._process.wait()
        self._errors.seek(0)
        raise WorkerFailed(f"the {self.mode} worker ended with status {status}:\n{self._errors.read()[-4000:]}")

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        process = self._process
        if process.poll() is None:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout, self._errors):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def _environment(mode: str, api: EmbeddedServer) -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name.upper() not in _UNWANTED and not name.upper().startswith(_UNWANTED_PREFIXES)
    }
    return {
        **inherited,
        **QUIET,
        "SSL_CERT_FILE": api.ca_file,
        "OLLAMA_API_BASE": api.origin,  # where old versions ask what a model can do
        "FAST_LITELLM_ENABLED": str(mode == "accelerated").lower(),
    }


def run(
    python: str = sys.executable, cells: Sequence[Cell] = CELLS, progress: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Every cell of litellm in each mode. Returns {"versions", "python", "patch", "status", "stderr": {mode: text},
    "cells": {name: {mode: outcome}}}. "patch" and "status": `get_patch_status()` before and after. An outcome is
    {"result", "pool", "requests"}, the last one what the servers saw, see `RequestRecord.as_dict`."""
    return _run(python, "worker.py", MODES, [cell.name for cell in cells], progress)


def run_proxied(
    python: str = sys.executable,
    cells: Sequence[Cell] = PROXIED_CELLS,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """As `run`, with a proxy of each worker's own in the environment. An outcome also has "past_the_proxy": connections
    that the servers got otherwise; the report "proxied": {mode: the methods of what the proxy was asked}."""
    return _run(python, "worker.py", MODES, [cell.name for cell in cells], progress, _proxies_by_name)


def run_sdks(
    python: str = sys.executable,
    cells: Sequence[SdkCell] = SDK_CELLS,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """As `run` for the SDKs by themselves. Stock is httpx's (or httpx2's) own transport there."""
    return _with_stock_as_httpx(_run(python, "sdk_worker.py", _SDK_MODES, [cell.name for cell in cells], progress))


def run_proxied_sdks(
    python: str = sys.executable,
    cells: Sequence[SdkCell] = PROXIED_SDK_CELLS,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """As `run_proxied` for the SDKs by themselves. How a client comes to its proxy, the cell says."""
    names = [cell.name for cell in cells]
    return _with_stock_as_httpx(_run(python, "sdk_worker.py", _SDK_MODES, names, progress, lambda proxy: {}))


_SDK_MODES = ("stock", "accelerated")


def _with_stock_as_httpx(report: dict[str, Any]) -> dict[str, Any]:
    for outcomes in report["cells"].values():
        outcomes["httpx"] = outcomes["stock"]
    return report


def _proxies_by_name(url: str) -> dict[str, str]:
    return {"HTTP_PROXY": url, "HTTPS_PROXY": url}


def _run(
    python: str,
    program: str,
    modes: Sequence[str],
    names: Sequence[str],
    progress: Callable[[str], None],
    environment: Callable[[str], Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """`modes`: the accelerated one last. `environment`: variables for a worker with a proxy of that URL; None for no
    proxies."""
    with ExitStack() as stack:
        api = stack.enter_context(EmbeddedServer(tls=True, record=True))
        pictures = stack.enter_context(EmbeddedServer(tls=False, record=True))
        servers = (pictures, api)
        proxies: dict[str, RelayingProxy] = {}
        workers = []
        for mode in modes:
            more: dict[str, Any] = {}
            if environment is not None:
                proxies[mode] = stack.enter_context(RelayingProxy(forwards=True))
                more = {"proxy": proxies[mode].url, "environment": environment(proxies[mode].url)}
            workers.append(stack.enter_context(Worker(python, program, mode, api, pictures, **more)))
        progress("importing")
        report: dict[str, Any] = workers[-1].answer()
        for worker in workers[:-1]:
            worker.answer()
        report["cells"] = {}
        for name in names:
            progress(name)
            outcomes = report["cells"][name] = {}
            for worker in workers:
                proxy = proxies.get(worker.mode)
                before = _connections_past(proxy, servers) if proxy else 0
                outcome = worker.run(name)
                outcome["requests"] = [record.as_dict() for record in _seen(*servers)]
                if proxy:
                    outcome["past_the_proxy"] = _connections_past(proxy, servers) - before
                outcomes[worker.mode] = outcome
        report["status"] = workers[-1].run(STATUS)
        # All at once, so that they end beside each other.
        for worker in workers:
            worker.finish()
        report["stderr"] = {worker.mode: worker.end() for worker in workers}
        if proxies:
            report["proxied"] = {mode: [each.method for each in proxy.requests] for mode, proxy in proxies.items()}
        return report


def _connections_past(proxy: RelayingProxy, servers: Sequence[EmbeddedServer]) -> int:
    return sum(server.stats().connections_established for server in servers) - proxy.opened


def _seen(*servers: EmbeddedServer) -> list[RequestRecord]:
    return [record for server in servers for record in server.records()]
