"""What the package does and did in this process: the status functions, and the counters behind them.

Any thread may call any of these.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from typing import Any

from . import availability, config

#: feature -> does this version have it
FEATURES = {
    "connection_pooling": True,
    "http_transport": True,
    "litellm_sync_clients": True,
    "litellm_async_clients": False,
    "http2": False,
    "native_proxies": False,
}

#: Features that FAST_LITELLM_CONNECTION_POOL turns off, or leaves to some of the clients.
_FOR_SOME_CLIENTS = frozenset(("connection_pooling", "litellm_sync_clients", "litellm_async_clients"))


class Counters:
    """How often what happened. Owned by this module; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # guarded by _lock
        self._accelerated_clients = 0
        self._fallbacks: Counter[str] = Counter()
        self._stock_requests: Counter[str] = Counter()

    def client_accelerated(self) -> None:
        with self._lock:
            self._accelerated_clients += 1

    def client_stock(self, reason: str) -> None:
        """A client, or one transport of it, was left as httpx makes it."""
        with self._lock:
            self._fallbacks[reason] += 1

    def request_stock(self, reason: str) -> None:
        """A request of an accelerated client went through httpx's own transport."""
        with self._lock:
            self._stock_requests[reason] += 1

    def snapshot(self) -> dict[str, Any]:
        with self._lock:
            return {
                "accelerated_clients": self._accelerated_clients,
                "fallback_reasons": dict(self._fallbacks),
                "requests_instrumented": self._stock_requests["instrumented"],
                "requests_stock": {reason: count for reason, count in self._stock_requests.items() if count},
            }


counters = Counters()


def apply_acceleration() -> bool:
    """Puts the pool under litellm now, or as soon as litellm is imported. True if litellm is patched when this returns.

    False, and nothing changes, with FAST_LITELLM_ENABLED=false or without the native extension. Calling it again is
    harmless. Never raises because of litellm: a point of it that is missing is reported by `get_patch_status`.
    """
    if not config.enabled() or not availability.acceleration_available():
        return False
    if "litellm" not in sys.modules:
        from .import_hook import when_imported

        when_imported("litellm", _apply)
        return False
    return _apply()


def _apply() -> bool:
    from . import litellm_patch

    return litellm_patch.apply()


def remove_acceleration() -> bool:
    """Gives litellm, httpx and the SDKs back what was replaced, and lets litellm build its clients anew. Clients that
    somebody still holds send through httpx's own transport from now on. True if there was something to remove."""
    from .import_hook import forget

    waiting = forget("litellm")
    patch = sys.modules.get(f"{__package__}.litellm_patch")
    return bool(patch.remove()) or waiting if patch is not None else waiting


def get_patch_status() -> dict[str, Any]:
    """What was patched and what came of it.

    `applied`; `available` and `enabled`; `litellm`: its version, or None while it is not imported; `points`: name ->
    "applied", "missing", "not needed" or "removed"; `accelerated_clients`; `fallback_reasons`: reason -> clients or
    transports left as httpx makes them; `requests_instrumented`: requests sent through httpx's own transport because a
    mock or tracer was in place; `requests_stock`: reason -> requests of accelerated clients sent that way.
    """
    patch = sys.modules.get(f"{__package__}.litellm_patch")
    applied, points, version = patch.describe() if patch is not None else (False, {}, None)
    return {
        "applied": applied,
        "enabled": config.enabled(),
        "available": availability.acceleration_available(),
        "litellm": version,
        "points": points,
        **counters.snapshot(),
    }


def is_enabled(feature: str) -> bool:
    """Whether a feature (a key of `get_feature_status()`) is in effect, perhaps for some clients only. False for what
    does not exist."""
    status = get_feature_status().get(feature)
    return status is not None and bool(status["enabled"])


def get_feature_status() -> dict[str, dict[str, Any]]:
    """Feature -> {"enabled": bool, "reason": why not, or for how many of the clients, or ""}."""
    if not config.enabled():
        obstacle = "FAST_LITELLM_ENABLED is false"
    elif not availability.acceleration_available():
        obstacle = f"the native extension is missing: {availability.reason}"
    else:
        obstacle = ""
    percent = config.pool_percent()
    off = obstacle or ("FAST_LITELLM_CONNECTION_POOL is false" if percent <= 0 else "")
    partly = f"canary: {percent:g} % of the clients" if 0 < percent < 100 else ""

    def status_of(feature: str, exists: bool) -> dict[str, Any]:
        why_not = off if feature in _FOR_SOME_CLIENTS else obstacle
        if not exists or why_not:
            return {"enabled": False, "reason": why_not if exists else "not yet"}
        return {"enabled": True, "reason": partly if feature in _FOR_SOME_CLIENTS else ""}

    return {feature: status_of(feature, exists) for feature, exists in FEATURES.items()}


def get_performance_stats() -> dict[str, Any]:
    """The counters of `get_patch_status()`, and under "pool" the statistics of the process-wide pool (empty without the
    native extension)."""
    pool: dict[str, Any] = {}
    if availability.acceleration_available():
        from .simple_pool import get_connection_pool_stats

        pool = get_connection_pool_stats()
    return {**counters.snapshot(), "pool": pool}


def health_check() -> dict[str, Any]:
    """`status`: "ok"; "disabled" (by the environment); "unavailable" (no native extension); or "degraded" (litellm is
    patched, but a point was missing). `detail` says more."""
    if not config.enabled():
        return {"status": "disabled", "detail": "FAST_LITELLM_ENABLED is false"}
    if not availability.acceleration_available():
        return {"status": "unavailable", "detail": availability.reason}
    patch = get_patch_status()
    missing = sorted(name for name, state in patch["points"].items() if state == "missing")
    if patch["applied"] and missing:
        return {"status": "degraded", "detail": "missing in this litellm: " + ", ".join(missing)}
    return {"status": "ok", "detail": "litellm is patched" if patch["applied"] else "litellm is not patched"}
