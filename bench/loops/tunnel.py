"""Requests over TLS through tinyproxy's tunnels, beside the same requests without a proxy."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.common.environment import SetupError

#: Where a client's process finds the proxy's URL.
PROXY_VARIABLE = "BENCH_PROXY"
_PATIENCE = 10.0
_CONFIGURATION = "Port {port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 1200\nAllow 127.0.0.1\nLogLevel Error\n"


def proxy_url() -> str:
    return os.environ[PROXY_VARIABLE]


def context_of(ca_file: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


@contextmanager
def running_tinyproxy(core: int) -> Iterator[str]:
    """Starts tinyproxy on the server's core; its URL. SetupError if it is missing or does not start."""
    program = shutil.which("tinyproxy")
    if program is None:
        raise SetupError("tinyproxy is not installed")
    with (
        tempfile.TemporaryDirectory(prefix="fastpool-bench-") as folder,
        socket.create_server(("127.0.0.1", 0)) as free,
    ):
        port = free.getsockname()[1]
        free.close()
        file = Path(folder, "tinyproxy.conf")
        file.write_text(_CONFIGURATION.format(port=port))
        process = subprocess.Popen(
            [program, "-d", "-c", str(file)],
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509
        )
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def _wait_for(port: int) -> None:
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise SetupError("tinyproxy did not start") from None
            time.sleep(0.02)
