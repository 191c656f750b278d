"""The kernel's view of this process's sockets and descriptors."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

SYN_SENT = 2


@dataclass(frozen=True)
class TcpSocket:
    """One line of the kernel's table."""

    state: int
    #: Bytes that the kernel has taken from the program and the peer has not acknowledged.
    unsent: int
    #: Bytes that have come and the program has not read.
    unread: int
    inode: int


def sockets_to(port: int) -> list[TcpSocket]:
    """The sockets of this machine that are connected, or being connected, to this port on 127.0.0.1."""
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        address, remote_port = fields[2].split(":")
        if int(remote_port, 16) == port and address == "0100007F":
            unsent, unread = fields[4].split(":")
            found.append(TcpSocket(int(fields[3], 16), int(unsent, 16), int(unread, 16), int(fields[9])))
    return found


def open_descriptors() -> dict[int, str]:
    """number -> what it is, of this process."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            pass  # the listing's own, or another thread's that was closed meanwhile
    return found


def watched_by(epoll: int) -> list[tuple[int, int]]:
    """Descriptor and inode of each entry of this epoll set of this process."""
    text = Path(f"/proc/self/fdinfo/{epoll}").read_text()
    found = re.findall(r"^tfd:\s*(\d+) .*\bino:([0-9a-f]+)", text, re.MULTILINE)
    return [(int(descriptor), int(inode, 16)) for descriptor, inode in found]


def watched() -> dict[int, list[int]]:
    """Inode -> the epoll descriptors of this process that watch it; once for each of their entries."""
    found: dict[int, list[int]] = {}
    for epoll, kind in open_descriptors().items():
        if kind != "anon_inode:[eventpoll]":
            continue
        try:
            entries = watched_by(epoll)
        except FileNotFoundError:
            continue
        for _, inode in entries:
            found.setdefault(inode, []).append(epoll)
    return found
