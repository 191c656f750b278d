"""Ports for server programs that cannot be told to choose one themselves."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

_PATIENCE = 20.0
_LISTENING = "0A"


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that nothing listens on now. Another process may take one before the caller's
    program binds it: start the program, ask `listens`, and try again with other ports."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


def listens(port: int, processes: Sequence[subprocess.Popen[bytes]]) -> bool:
    """Blocks until one of the processes, or a descendant, listens on the port. Returns False if one of them has ended,
    or after 20 s.

    Looks at the process's own descriptors: a connection that succeeds may be another program's, which took the port."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if any(process.poll() is not None for process in processes):
            return False
        sockets = _listening_on(port)
        if sockets and any(
            sockets & _sockets_of(pid) for process in processes for pid in _with_descendants(process.pid)
        ):
            return True
        time.sleep(0.02)
    return False


def _listening_on(port: int) -> set[str]:
    """Inodes of the sockets that listen on the port, on any address."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(FileNotFoundError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(fields[9])
    return found


def _sockets_of(pid: int) -> set[str]:
    """Inodes of a process's open sockets; empty once the process is gone."""
    found = set()
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                kind, _, inode = os.readlink(f"/proc/{pid}/fd/{name}").partition(":")
                if kind == "socket":
                    found.add(inode.strip("[]"))
    return found


def _with_descendants(pid: int) -> Iterator[int]:
    yield pid
    children: Iterable[str] = ()
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for child in children:
        yield from _with_descendants(int(child))
