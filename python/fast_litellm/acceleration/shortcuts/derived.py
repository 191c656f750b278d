"""Classes that instances of httpx's become, unnoticed."""

from __future__ import annotations

from typing import Any

from ..passing import become, passing_for

__all__ = ["attributes", "become", "hidden"]


def attributes(base: Any) -> dict[str, Any]:
    """What a class derived from `base` has, so that it passes for `base`."""
    return {
        "__slots__": (),  # so that an instance of the one can become an instance of the other
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "_fast_litellm_base": base,
    }


def hidden(base: Any) -> dict[str, Any]:
    """The same, and for everybody who asks an instance, it is what it was."""
    return {**attributes(base), **passing_for(base)}
