"""httpx's `network_stream` extension."""

from __future__ import annotations

import os
import socket
from typing import Any

from . import _core
from .tls_session import TlsSession


class NetworkStream:
    """What can be known of the connection while the response is open."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: _core.Exchange | _core.AsyncExchange) -> None:
        self._exchange = exchange

    def get_extra_info(self, info: str) -> Any:
        """`client_addr` and `server_addr` as `socket` gives them; `socket`: a duplicate, the caller's to close, None
        once the whole body has arrived; `ssl_object`: the `ssl.SSLObject` that speaks TLS, for looking only, or a
        `TlsSession`, which looks like one, where the core speaks it. None for anything else."""
        if info == "client_addr":
            return self._exchange.local_address
        if info == "server_addr":
            return self._exchange.peer_address
        if info == "ssl_object":
            facts = self._exchange.tls_session
            return self._exchange.ssl_object if facts is None else TlsSession(*facts)
        if info != "socket":
            return None
        descriptor = self._exchange.descriptor
        return None if descriptor < 0 else socket.socket(fileno=os.dup(descriptor))
