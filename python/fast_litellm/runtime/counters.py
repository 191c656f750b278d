"""How often what happened to clients and requests in this process: the patch writes, the status functions read."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .locks import new_lock


class Counters:
    """Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = new_lock()
        # guarded by _lock
        self._accelerated_clients = 0
        self._fallbacks: Counter[str] = Counter()
        self._contexts: Counter[str] = Counter()
        self._unused: Counter[str] = Counter()
        self._stock_requests: Counter[str] = Counter()

    def client_accelerated(self, context_because: str = "") -> None:
        """`context_because`: why an `ssl.SSLContext` does its TLS, if not the pool itself."""
        with self._lock:
            self._accelerated_clients += 1
            if context_because:
                self._contexts[context_because] += 1

    def client_stock(self, reason: str) -> None:
        """A client, or one transport of it, was left as httpx makes it."""
        with self._lock:
            self._fallbacks[reason] += 1

    def not_used(self, what: str) -> None:
        """An accelerated client was given something that the pool does the work of."""
        with self._lock:
            self._unused[what] += 1

    def request_stock(self, reason: str) -> None:
        """A request of an accelerated client went through the stock transport."""
        with self._lock:
            self._stock_requests[reason] += 1

    def snapshot(self) -> dict[str, Any]:
        with self._lock:
            return {
                "accelerated_clients": self._accelerated_clients,
                "fallback_reasons": dict(self._fallbacks),
                "tls_by_context": dict(self._contexts),
                "not_used": dict(self._unused),
                "requests_instrumented": self._stock_requests["instrumented"],
                "requests_stock": {reason: count for reason, count in self._stock_requests.items() if count},
            }


counters = Counters()
