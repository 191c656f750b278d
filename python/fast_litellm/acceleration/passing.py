"""Instances that say that they are of another class than theirs. (`type()` cannot be told.)"""

from __future__ import annotations

from typing import Any

_CLASS: Any = object.__dict__["__class__"]  # the descriptor itself: the property stands in front of it


def passing_for(base: Any) -> dict[str, Any]:
    """What a class has whose instances say that they are of the class `base`, to isinstance too."""
    return {"__class__": property(lambda _: base, _CLASS.__set__)}


def become(instance: Any, kind: type) -> None:
    """Gives an instance its class, also where that is hidden."""
    _CLASS.__set__(instance, kind)
