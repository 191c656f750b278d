"""Limits over processes and hosts: the workers of a program share one limit of leases per origin.

The decision is `bargain.py` (pure), the rules around it are `ledger.py` (pure), and `engines/` store the state.
`agent.py` is the thread that reports and applies the answers to a pool; `process.py` starts it where a fleet is
configured, and carries it over forks and exit. What may be known here: pools, by the two methods in `pools.py`, and
settings; nothing of HTTP, transports or litellm. Without a configuration nothing here is imported. Start with
`bargain.py`.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .process import configure, get_status

__all__ = ["configure", "get_status"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from . import process

        return getattr(process, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
