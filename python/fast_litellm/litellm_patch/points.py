"""Replacing attributes of other people's classes, reporting on it, and giving them back."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]
#: Takes the original function, returns what stands in for it.
Wrapper = Callable[[Function], Function]

_ABSENT = object()


class Points:
    """The points of one patch, by name. Not for use by several threads at once: the patch holds a lock around it."""

    def __init__(self) -> None:
        #: name -> "applied", "missing", "not needed" or "removed"
        self.states: dict[str, str] = {}
        self._replaced: list[tuple[Any, str, object, object]] = []

    def wrap(self, name: str, owner: object | None, attribute: str, wrapper: Wrapper) -> bool:
        """Puts wrapper(original) in the place of `owner.attribute`; False if there is none, which is then reported.

        `owner` None: the class or module itself is missing. Static and class methods stay what they are.
        """
        found = getattr(owner, attribute, None)
        if owner is None or not callable(found):
            self.states[name] = "missing"
            return False
        own = vars(owner).get(attribute, _ABSENT)
        if isinstance(own, (staticmethod, classmethod)):
            replacement: object = type(own)(_wrapped(own.__func__, wrapper))
        else:
            replacement = _wrapped(found, wrapper)
        setattr(owner, attribute, replacement)
        self._replaced.append((owner, attribute, own, replacement))
        self.states[name] = "applied"
        return True

    def not_needed(self, name: str) -> None:
        self.states[name] = "not needed"

    def restore(self) -> None:
        """Gives everything back. An attribute that other code replaced on top of ours is left: theirs calls ours, and
        ours does nothing once the patch is inactive."""
        while self._replaced:
            owner, attribute, own, replacement = self._replaced.pop()
            if vars(owner).get(attribute, _ABSENT) is replacement:
                if own is _ABSENT:
                    delattr(owner, attribute)
                else:
                    setattr(owner, attribute, own)
        self.states = {name: "removed" if state == "applied" else state for name, state in self.states.items()}


def _wrapped(original: Function, wrapper: Wrapper) -> Function:
    return functools.wraps(original)(wrapper(original))
