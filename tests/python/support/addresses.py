"""Addresses on loopback that refuse connections, or never answer."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from peers.ports import free_port

from .sockets import SYN_SENT, sockets_to


def refusing_port() -> int:
    """A port that nothing listens on, nor will by chance."""
    return free_port()


@contextmanager
def silent_port() -> Iterator[int]:
    """A port whose host drops every attempt to connect: its backlog is full, and no process accepts."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port: int = listener.getsockname()[1]
        for _ in range(64):
            filler = sockets.enter_context(socket.socket())
            filler.settimeout(0.2)
            try:
                filler.connect(("127.0.0.1", port))
            except TimeoutError:
                break
        else:
            raise AssertionError("the backlog never filled")
        yield port


def attempts_at(port: int) -> int:
    """How many sockets of this machine try to connect to a silent port, beside the one that filled its backlog."""
    return sum(one.state == SYN_SENT for one in sockets_to(port)) - 1
