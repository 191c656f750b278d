"""What the server counts, and the two places where it counts it: the listening socket and the protocol."""

from __future__ import annotations

import socket
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass
class ServerStats:
    """Counts since the server started. Written by the server's one thread; elsewhere a snapshot."""

    #: TCP connections accepted.
    connections_accepted: int = 0
    #: Connections that got as far as HTTP: over TLS, those whose handshake succeeded.
    connections_established: int = 0
    connections_open: int = 0
    #: The most connections that were established at one time.
    connections_peak: int = 0
    handshakes_full: int = 0
    handshakes_resumed: int = 0
    #: Requests to the API; looking at the statistics is not one.
    requests: int = 0
    #: Requests answered with a status of 400 or more.
    error_responses: int = 0

    @property
    def handshakes(self) -> int:
        return self.handshakes_full + self.handshakes_resumed

    def as_dict(self) -> dict[str, int]:
        return {**asdict(self), "handshakes": self.handshakes}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ServerStats:
        return cls(**{field.name: int(values[field.name]) for field in fields(cls)})

    def since(self, earlier: ServerStats) -> ServerStats:
        """What was added after `earlier`. Open and peak connections are not sums: they stay as they are now."""
        added = {field.name: getattr(self, field.name) - getattr(earlier, field.name) for field in fields(self)}
        added["connections_open"] = self.connections_open
        added["connections_peak"] = self.connections_peak
        return ServerStats(**added)


class CountingListener(socket.socket):
    """A listening socket that counts what it accepts, before anything is known of TLS or HTTP."""

    def __init__(self, stats: ServerStats, family: int) -> None:
        # The protocol by name: accepted sockets inherit it, and asyncio sets TCP_NODELAY only where it is named.
        super().__init__(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.stats = stats

    def accept(self) -> tuple[socket.socket, Any]:
        accepted = super().accept()
        self.stats.connections_accepted += 1
        return accepted


def listen(stats: ServerStats, host: str, port: int) -> CountingListener:
    """A counting listener on `host` (a numeric address) and `port`, 0 for a free one. OSError if it is taken."""
    listener = CountingListener(stats, socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener
