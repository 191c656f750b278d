"""examples/gunicorn: four workers share one limit, by environment alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from fleet.counting_server import CountingServer
from fleet.processes import settled_meanwhile, wait_until
from peers.ports import free_port
from support.interpreter import without_settings

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "gunicorn"
LIMIT = 10
REQUESTS = 200


@contextmanager
def gunicorn(url: str, server: CountingServer, *options: str) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--workers", "4", "--threads", "16", "--bind", f"127.0.0.1:{port}"]
    environment = without_settings()
    environment.update(
        FAST_LITELLM_FLEET=url,
        FAST_LITELLM_FLEET_LIMITS=f"{server.origin}={LIMIT}",
        UPSTREAM=f"{server.origin}/",
        PYTHONPATH=os.pathsep.join(filter(None, sys.path)),
    )
    with subprocess.Popen([*command, *options, "app:application"], cwd=EXAMPLE, env=environment) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(120)


def status_of(address: str) -> dict[str, Any]:
    try:
        with urlopen(f"{address}/fleet", timeout=60) as answer:
            status: dict[str, Any] = json.load(answer)
            return status
    except OSError:
        return {"origins": {}}


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["each-worker-loads", "preload"])
def test_the_workers_of_gunicorn_share_one_limit(options: tuple[str, ...], sqlite_url: str) -> None:
    """With preload, the process that forks the workers is a member too."""
    settled_meanwhile(sqlite_url)
    members = 5 if options else 4
    with CountingServer(0.1) as server, gunicorn(sqlite_url, server, *options) as address:
        known = lambda: status_of(address)["origins"].get(server.origin, {}).get("members")  # noqa: E731
        wait_until(lambda: known() == members, f"{members} members", lambda: status_of(address))

        def ask(_: int) -> bytes:
            with urlopen(f"{address}/", timeout=60) as answer:
                body: bytes = answer.read()
                return body

        with ThreadPoolExecutor(48) as callers:
            assert set(callers.map(ask, range(REQUESTS))) == {b"ok"}
        assert 2 < server.most <= LIMIT
        assert server.served == REQUESTS
