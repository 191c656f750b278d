"""Who wants to know that the pool "default" was made: rooms above the pool's."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_on_default_pool: "list[Callable[[Any], None]]" = []


def on_default_pool(hook: "Callable[[Any], None]") -> None:
    """Calls `hook(pool)` each time that the pool "default" is made, before anybody else has it."""
    _on_default_pool.append(hook)


def default_pool_made(pool: "Any") -> None:
    for hook in _on_default_pool:
        hook(pool)
