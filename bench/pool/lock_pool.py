"""A connection pool as one writes it in Python: dictionaries of deques under one `threading.Lock`.

What it does is what the original's does: limits per endpoint and in total, an idle time, ids that name connections and
stay with them (making no new id per lease is the faster choice), the most recently used first, no sockets.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from itertools import count


class _Connection:
    __slots__ = ("endpoint", "id", "last_used")

    def __init__(self, connection_id: str, endpoint: str) -> None:
        self.id = connection_id
        self.endpoint = endpoint
        self.last_used = 0.0


class LockPool:
    """Any thread may call any method."""

    def __init__(self, max_per_endpoint: int = 10, max_total: int = 100, idle_timeout: float = 120.0) -> None:
        self._max_per_endpoint = max_per_endpoint
        self._max_total = max_total
        self._idle_timeout = idle_timeout
        self._lock = threading.Lock()
        self._numbers = count()
        self._total = 0
        self._of_endpoint: dict[str, int] = {}
        self._idle: dict[str, deque[_Connection]] = {}
        self._leased: dict[str, _Connection] = {}

    def get_connection(self, endpoint: str) -> str | None:
        with self._lock:
            idle = self._idle.get(endpoint)
            if idle is None:
                idle = self._idle[endpoint] = deque()
                self._of_endpoint[endpoint] = 0
            while idle:
                connection = idle.pop()
                if time.monotonic() - connection.last_used < self._idle_timeout:
                    self._leased[connection.id] = connection
                    return connection.id
                self._of_endpoint[endpoint] -= 1
                self._total -= 1
            if self._of_endpoint[endpoint] >= self._max_per_endpoint or self._total >= self._max_total:
                return None
            self._of_endpoint[endpoint] += 1
            self._total += 1
            connection = _Connection(f"connection-{next(self._numbers)}", endpoint)
            self._leased[connection.id] = connection
            return connection.id

    def return_connection(self, connection_id: str) -> bool:
        with self._lock:
            connection = self._leased.pop(connection_id, None)
            if connection is None:
                return False
            connection.last_used = time.monotonic()
            self._idle[connection.endpoint].append(connection)
            return True
