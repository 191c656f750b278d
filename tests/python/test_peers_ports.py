"""A server program's start is recognised by its own socket, not by whoever answers on its port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from peers import proxies
from peers.ports import free_ports, listens

_LISTENER = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(60)"
_PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_LISTENER!r}, sys.argv[1]])"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _start(program: str, port: int, started: list[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", program, str(port)]
    started.append(subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True))
    return started[-1]


@pytest.mark.parametrize("program", [_LISTENER, _PARENT], ids=["itself", "its child"])
def test_a_program_that_listens_has_started(program: str, started: list[subprocess.Popen[bytes]]) -> None:
    (port,) = free_ports(1)
    assert listens(port, [_start(program, port, started)])


def test_a_program_whose_port_another_took_has_not_started(started: list[subprocess.Popen[bytes]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not listens(port, [_start(_LISTENER, port, started)])
        socket.create_connection(("127.0.0.1", port), 5).close()  # somebody answers all the same


def test_a_proxy_whose_port_another_took_starts_on_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        offered = [[taken.getsockname()[1]], free_ports(1)]
        monkeypatch.setattr(proxies, "free_ports", lambda count: offered.pop(0))
        with proxies.Microsocks(tmp_path) as proxy:
            assert offered == []
            assert proxy.port != taken.getsockname()[1]
