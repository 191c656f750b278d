"""The engines that the agent is measured with: a file in a folder of its own, and a redis-server on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.fleet.part import REDIS, Engine
from bench.http.clients import NotAvailable

_PATIENCE = 20.0


@contextmanager
def running(engine: Engine, core: int) -> Iterator[str]:
    """The URL of an engine that no other measurement uses. redis-server runs on `core`. NotAvailable without it."""
    with tempfile.TemporaryDirectory(prefix="fastpool-bench-fleet-") as folder:
        if engine is REDIS:
            with _redis(Path(folder), core) as url:
                yield url
        else:
            yield f"sqlite:///{folder}/fleet.db"


@contextmanager
def _redis(folder: Path, core: int) -> Iterator[str]:
    program = shutil.which("redis-server")
    if program is None:
        raise NotAvailable("redis-server is missing; run `scripts/setup.sh system`")
    path = folder / "redis.socket"
    port = _free_port()
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--unixsocket", str(path), "--save", ""]
    process = subprocess.Popen(
        [*command, "--appendonly", "no", "--dir", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        os.sched_setaffinity(process.pid, {core})
        # The socket is there only after the port is.
        deadline = time.monotonic() + _PATIENCE
        while not path.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise NotAvailable("redis-server did not start")
            time.sleep(0.01)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
