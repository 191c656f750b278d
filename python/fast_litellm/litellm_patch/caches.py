"""Letting litellm build its clients anew: what it built before the patch came, or went, is of the other kind."""

from __future__ import annotations

from contextlib import suppress
from types import ModuleType
from typing import Any

from ..runtime.counters import counters

_CACHE = "in_memory_llm_clients_cache"
_MODULE_LEVEL_CLIENTS = ("module_level_client", "module_level_aclient")


def empty(litellm: ModuleType) -> int:
    """Empties litellm's cache of clients, key by key: so litellm closes each after its grace, once no request uses it
    (`flush_cache()` would not close them). Returns how many there were."""
    cache = vars(litellm).get(_CACHE)  # not getattr: that would make one
    keys = list(getattr(cache, "cache_dict", None) or ())
    for key in keys:
        with suppress(KeyError):  # it went in the meantime
            cache.delete_cache(key)  # type: ignore[union-attr]
    _renew_module_level_clients(litellm)
    return len(keys)


def _renew_module_level_clients(litellm: ModuleType) -> None:
    lazy = "__getattr__" in vars(litellm)
    for name in _MODULE_LEVEL_CLIENTS:
        client: Any = vars(litellm).get(name)
        if client is None:
            continue
        if lazy:
            delattr(litellm, name)  # made again when next asked for
            continue
        try:  # much older litellm: made at import
            setattr(litellm, name, type(client)(timeout=client.client.timeout))
        except Exception as error:
            counters.client_stock(f"{name}: {type(error).__name__}: {error}")
