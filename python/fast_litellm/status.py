"""What the package does and did in this process.

Any thread may call any of these.
"""

from __future__ import annotations

import sys
from typing import Any

from . import config
from .runtime import availability
from .runtime.counters import counters
from .runtime.import_hook import AWAITED, forget, when_imported

#: feature -> does this version have it
FEATURES = {
    "connection_pooling": True,
    "http_transport": True,
    "litellm_sync_clients": True,
    "litellm_async_clients": True,
    "http2": True,
    "native_proxies": True,
}

#: Asked only if they are loaded already: until then there is nothing to tell of them.
_PATCH = f"{__package__}.litellm_patch.patch"
_SHORTCUTS = f"{__package__}.acceleration.shortcuts"
_FLEET = f"{__package__}.fleet.process"

#: Features that FAST_LITELLM_CONNECTION_POOL turns off, or leaves to some of the clients.
_FOR_SOME_CLIENTS = frozenset(("connection_pooling", "litellm_sync_clients", "litellm_async_clients"))


def apply_acceleration() -> bool:
    """Puts the pool under litellm and the SDKs: now under those that are imported, under the others as soon as they
    are. True if any of them is patched when this returns.

    False, and nothing changes, with FAST_LITELLM_ENABLED=false or without the native extension. Calling it again is
    harmless. Never raises because of litellm: a point of it that is missing is reported by `get_patch_status`.
    """
    if not config.enabled() or not availability.acceleration_available():
        return False
    for module in AWAITED:
        when_imported(module, lambda module=module: apply_to(module))  # type: ignore[misc]
    return bool(get_patch_status()["applied"])


def apply_to(module: str) -> bool:
    """The same for one of `AWAITED`, which has been imported."""
    if not config.enabled() or not availability.acceleration_available():
        return False
    from .litellm_patch import patch

    return patch.apply(module)


def remove_acceleration() -> bool:
    """Gives litellm, httpx and the SDKs back what was replaced, and lets litellm build its clients anew. Clients that
    somebody still holds send through the stock transport from now on. True if there was something to remove."""
    waiting = [module for module in AWAITED if forget(module)]
    patch = sys.modules.get(_PATCH)
    return (patch is not None and bool(patch.remove())) or bool(waiting)


def get_patch_status() -> dict[str, Any]:
    """What was patched, and with which result.

    `httpx_shortcuts`: shortcut -> {"on" or why not: clients};
    `applied`; `available` and `enabled`; `litellm`: its version, or None while it is not imported; `points`: name ->
    "applied", "missing", "not needed" or "removed"; `accelerated_clients`; `fallback_reasons`: reason -> clients or
    transports left as they are without the pool; `tls_by_context`: why an `ssl.SSLContext` does the TLS of an
    accelerated client, exact but slower -> clients; `not_used`: what accelerated clients were given that the pool does
    the work of (a shared session of aiohttp) -> how often; `requests_instrumented`: requests sent through the stock
    transport because a mock or tracer was in place; `requests_stock`: reason -> requests of accelerated clients sent
    that way.
    """
    patch = sys.modules.get(_PATCH)
    shortcuts = sys.modules.get(_SHORTCUTS)
    applied, points, version = patch.describe() if patch is not None else (False, {}, None)
    return {
        "applied": applied,
        "enabled": config.enabled(),
        "available": availability.acceleration_available(),
        "litellm": version,
        "points": points,
        "httpx_shortcuts": shortcuts.states() if shortcuts is not None else {},
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
    native extension, or if it cannot be made because the fleet's limits cannot be kept)."""
    pool: dict[str, Any] = {}
    if availability.acceleration_available():
        from .exceptions import FleetUnavailable

        try:
            from .pool.simple_pool import get_connection_pool_stats

            pool = get_connection_pool_stats()
        except FleetUnavailable:
            pass
    return {**counters.snapshot(), "pool": pool}


def get_fleet_status() -> dict[str, Any]:
    """The limits that this process shares with others (docs/fleet.md).

    `enabled`; `error`: why configured limits cannot be kept; and while they are: `engine` without credentials,
    `member`, `rounds`, `failed_rounds`, `times_degraded`, `last_error`, and `origins`: for each origin its `limit`,
    `allotment`, `in_use`, `waiting`, `members` and whether it is `degraded`.
    """
    fleet = sys.modules.get(_FLEET)
    status: dict[str, Any] = fleet.get_status() if fleet is not None else {"enabled": False, "error": ""}
    return status


def health_check() -> dict[str, Any]:
    """`status`: "ok"; "disabled" (by the environment); "unavailable" (no native extension); or "degraded" (litellm is
    patched, but a point was missing; or the fleet's engine does not answer). `detail` says more."""
    if not config.enabled():
        return {"status": "disabled", "detail": "FAST_LITELLM_ENABLED is false"}
    if not availability.acceleration_available():
        return {"status": "unavailable", "detail": availability.reason}
    patch = get_patch_status()
    missing = sorted(name for name, state in patch["points"].items() if state == "missing")
    if patch["applied"] and missing:
        return {"status": "degraded", "detail": "missing in this litellm: " + ", ".join(missing)}
    fleet = get_fleet_status()
    alone = [origin for origin, each in fleet.get("origins", {}).items() if each["degraded"]]
    if alone or fleet["error"]:
        return {"status": "degraded", "detail": f"fleet: {fleet['error'] or fleet['last_error']}"}
    return {"status": "ok", "detail": "litellm is patched" if patch["applied"] else "litellm is not patched"}
