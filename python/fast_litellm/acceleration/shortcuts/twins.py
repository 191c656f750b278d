"""The steps of one kind of client: `asynchronous.py`, or `blocking.py`, which is made of it."""

from __future__ import annotations

from types import ModuleType

from . import asynchronous, blocking
from .asynchronous import Reading

__all__ = ["Reading", "steps_for"]


def steps_for(is_asynchronous: bool) -> ModuleType:
    return asynchronous if is_asynchronous else blocking
