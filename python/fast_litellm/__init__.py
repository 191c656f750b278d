"""fast_litellm: one HTTP connection pool under litellm, the openai SDK and httpx.

``import fast_litellm`` before or after ``import litellm`` is all it takes: litellm's clients then send through one
process-wide pool. ``FAST_LITELLM_ENABLED=false`` turns that off. The pool can also be used directly
(`SimpleConnectionPool`) and under any httpx client (`HTTPTransport`, `AsyncHTTPTransport`).

Importing this package is cheap: it loads neither litellm nor httpx nor asyncio, starts no thread, and reads one
environment variable, or two if one names a file of settings. Every public name is loaded when it is first asked for.
"""

TYPE_CHECKING = False  # type checkers take it for True; importing typing for it would cost more than this whole module
if TYPE_CHECKING:
    from .acceleration.client import accelerate
    from .acceleration.public_transports import AsyncHTTPTransport, HTTPTransport
    from .pool.metrics import Metric, pool_metrics
    from .pool.simple_pool import (
        SimpleConnectionPool,
        cleanup_expired_connections,
        get_connection,
        get_connection_pool_stats,
        health_check_connection,
        remove_connection,
        return_connection,
    )
    from .status import (
        apply_acceleration,
        get_feature_status,
        get_fleet_status,
        get_patch_status,
        get_performance_stats,
        health_check,
        is_enabled,
        remove_acceleration,
    )

    ACCELERATION_AVAILABLE: bool
    RUST_ACCELERATION_AVAILABLE: bool
    __version__: str

__all__ = [
    "ACCELERATION_AVAILABLE",
    "RUST_ACCELERATION_AVAILABLE",
    "AsyncHTTPTransport",
    "HTTPTransport",
    "Metric",
    "SimpleConnectionPool",
    "__version__",
    "accelerate",
    "apply_acceleration",
    "cleanup_expired_connections",
    "get_connection",
    "get_connection_pool_stats",
    "get_feature_status",
    "get_fleet_status",
    "get_patch_status",
    "get_performance_stats",
    "health_check",
    "health_check_connection",
    "is_enabled",
    "pool_metrics",
    "remove_acceleration",
    "remove_connection",
    "return_connection",
]

_HOME_OF = {
    "AsyncHTTPTransport": "acceleration.public_transports",
    "HTTPTransport": "acceleration.public_transports",
    "Metric": "pool.metrics",
    "SimpleConnectionPool": "pool.simple_pool",
    "accelerate": "acceleration.client",
    "apply_acceleration": "status",
    "cleanup_expired_connections": "pool.simple_pool",
    "get_connection": "pool.simple_pool",
    "get_connection_pool_stats": "pool.simple_pool",
    "get_feature_status": "status",
    "get_fleet_status": "status",
    "get_patch_status": "status",
    "get_performance_stats": "status",
    "health_check": "status",
    "health_check_connection": "pool.simple_pool",
    "is_enabled": "status",
    "pool_metrics": "pool.metrics",
    "remove_acceleration": "status",
    "remove_connection": "pool.simple_pool",
    "return_connection": "pool.simple_pool",
}

#: Bound methods of the pool "default": other ones after it was closed, so never kept here.
_FUNCTIONS_OF_THE_POOL = frozenset(
    name for name, home in _HOME_OF.items() if home == "pool.simple_pool" and name != "SimpleConnectionPool"
)


def __getattr__(name: str) -> object:
    if name in _HOME_OF:
        from importlib import import_module

        value: object = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    elif name in ("ACCELERATION_AVAILABLE", "RUST_ACCELERATION_AVAILABLE"):
        from .runtime.availability import acceleration_available

        value = acceleration_available()
    elif name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            value = version("fast-litellm")
        except PackageNotFoundError:
            value = "0+unknown"
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name not in _FUNCTIONS_OF_THE_POOL:
        globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _start() -> None:
    from .config import enabled, fleet_problem, fleet_url
    from .runtime.import_hook import AWAITED, when_imported

    def patch(module: str) -> None:
        from .status import apply_to

        apply_to(module)

    if enabled():
        for module in AWAITED:
            when_imported(module, lambda module=module: patch(module))  # type: ignore[misc]
        if fleet_problem() or fleet_url():
            from .fleet.process import prepare

            prepare()


_start()
