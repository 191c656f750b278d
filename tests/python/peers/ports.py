"""Ports for server programs that cannot be told to choose one themselves."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

_PATIENCE = 60.0
#: Seconds after which a program whose port is another's has ended.
_GRACE = 5.0
_LISTENING = "0A"
#: Below the ports that the kernel gives to connections and to listeners that ask for any (from 32768), as are those
#: 10,000 above, where a node of a Redis cluster listens too.
_PORTS = range(10_000, 22_000)
_random = random.SystemRandom()


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that nothing uses now, and that no program gets without naming them: they stay free
    while a slow program starts, or one restarts. Another caller may still have taken one before the program binds it:
    start the program, ask `listens`, and try again with other ports."""
    ports: list[int] = []
    with ExitStack() as stack:
        for _attempt in range(1_000):
            if len(ports) == count:
                return ports
            port = _random.choice(_PORTS)
            with suppress(OSError):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
                ports.append(port)
    raise RuntimeError(f"no {count} free ports of 127.0.0.1 from {_PORTS.start} to {_PORTS.stop}")


def free_port() -> int:
    return free_ports(1)[0]


def listens(port: int, processes: Sequence[subprocess.Popen[bytes]]) -> bool:
    """Blocks until one of the processes, or a descendant, listens on the port. Returns False if one of them has ended,
    or after 60 s.

    Looks at the process's own descriptors: a connection that succeeds may be another program's, which took the port.
    A program that became another user may hide them, even from root: it listens if it has not ended a while after
    somebody does."""
    end = time.monotonic() + _PATIENCE
    hidden_since: float | None = None
    while time.monotonic() < end:
        if any(process.poll() is not None for process in processes):
            return False
        if sockets := _listening_on(port):
            owned = [_sockets_of(pid) for process in processes for pid in _with_descendants(process.pid)]
            if any(sockets & each for each in owned if each is not None):
                return True
            if None in owned:
                hidden_since = hidden_since or time.monotonic()
                if time.monotonic() - hidden_since > _GRACE:
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


def _sockets_of(pid: int) -> set[str] | None:
    """Inodes of a process's open sockets; empty once the process is gone. None: this process may not look."""
    found = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError, ProcessLookupError):
                kind, _, inode = os.readlink(f"/proc/{pid}/fd/{name}").partition(":")
                if kind == "socket":
                    found.add(inode.strip("[]"))
    except PermissionError:
        return None
    except OSError:
        pass
    return found


def _with_descendants(pid: int) -> Iterator[int]:
    yield pid
    children: Iterable[str] = ()
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for child in children:
        yield from _with_descendants(int(child))
