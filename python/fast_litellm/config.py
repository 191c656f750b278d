"""What the environment says: the variables FAST_LITELLM_*.

=====================================  =========================================  ===================================
variable                               meaning                                    default
=====================================  =========================================  ===================================
FAST_LITELLM_ENABLED                   false: litellm is left alone               true
FAST_LITELLM_POOL_MAX_PER_ENDPOINT     connections to one endpoint                500
FAST_LITELLM_POOL_MAX_TOTAL            connections in all                         min(1000, half the descriptors that
                                                                                  this process may open)
FAST_LITELLM_POOL_IDLE_TIMEOUT         seconds an idle connection is kept         120
FAST_LITELLM_POOL_MAX_LIFETIME         seconds a connection lives                 3600
FAST_LITELLM_POOL_LEAK_AFTER           seconds after which a lease that was not   none
                                       given back is reported, once
=====================================  =========================================  ===================================

Those of the pool are for the process-wide pool "default"; they are read when it is made. `none` means no limit, or no
report. A value that cannot be used gives one warning, and the default holds.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypedDict, TypeVar

    _Number = TypeVar("_Number", int, float)

    class PoolSettings(TypedDict):
        """Keywords of the native pool's constructor."""

        max_connections_per_endpoint: int | None
        max_connections: int | None
        idle_timeout: float | None
        max_lifetime: float | None
        leak_after: float | None


_TRUE = frozenset(("", "1", "true", "yes", "on"))
_FALSE = frozenset(("0", "false", "no", "off"))
_UNLIMITED = frozenset(("none", "unlimited"))
_warned: set[tuple[str, str]] = set()


def enabled() -> bool:
    """FAST_LITELLM_ENABLED, read anew at each call."""
    text = os.environ.get("FAST_LITELLM_ENABLED", "").strip().lower()
    if text not in _TRUE and text not in _FALSE:
        _warn("FAST_LITELLM_ENABLED", text, "true or false", "true")
    return text not in _FALSE


def default_pool_settings() -> "PoolSettings":
    """Limits and lifetimes of the process-wide pool, ready for the pool's constructor. None: no limit."""
    return {
        "max_connections_per_endpoint": _number("FAST_LITELLM_POOL_MAX_PER_ENDPOINT", int, 500),
        "max_connections": _number("FAST_LITELLM_POOL_MAX_TOTAL", int, _default_total()),
        "idle_timeout": _number("FAST_LITELLM_POOL_IDLE_TIMEOUT", float, 120.0),
        "max_lifetime": _number("FAST_LITELLM_POOL_MAX_LIFETIME", float, 3600.0),
        "leak_after": _number("FAST_LITELLM_POOL_LEAK_AFTER", float, None),
    }


def _default_total() -> int:
    try:
        import resource
    except ImportError:  # not a POSIX system
        return 1000
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1000 if soft == resource.RLIM_INFINITY else max(1, min(1000, soft // 2))


def _number(name: str, kind: "Callable[[str], _Number]", default: "_Number | None") -> "_Number | None":
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if text.lower() in _UNLIMITED:
        return None
    try:
        value = kind(text)
    except ValueError:
        value = kind("0")
    if not 0 < value < 2**32:  # also refuses nan and infinity
        expected = "a whole number above 0, or none" if kind is int else "a number of seconds above 0, or none"
        _warn(name, text, expected, str(default).lower())
        return default
    return value


def _warn(name: str, text: str, expected: str, default: str) -> None:
    if (name, text) not in _warned:
        import warnings

        _warned.add((name, text))
        warnings.warn(f"{name}={text!r} is not {expected}; using {default}", RuntimeWarning, stacklevel=3)
