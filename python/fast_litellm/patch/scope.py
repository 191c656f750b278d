"""Who is constructing an httpx client: only those that litellm and the SDKs construct themselves are accelerated."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

_PACKAGES = ("litellm", "openai", "anthropic")
_scope: ContextVar[str] = ContextVar("fast_litellm_scope", default="")


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Clients constructed in this block, on this thread or task, are litellm's own. Synchronous blocks only."""
    token = _scope.set(name)
    try:
        yield
    finally:
        _scope.reset(token)


def current(client: object) -> str:
    """The scope in which `client` is being constructed: a point's name, or the module that constructs it; "" if neither
    litellm nor an SDK does. To be called, directly or not, from the client's constructor."""
    return _scope.get() or _constructing_module(sys._getframe(1), client)


def _constructing_module(frame: FrameType | None, client: object) -> str:
    """The first module outside httpx that had a hand in constructing the client, if it is one of the packages'."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        package = module.partition(".")[0]
        if package in _PACKAGES:
            return module
        if module == "httpx._api":  # httpx.get() and the like: a client for one call
            return ""
        if not (package in ("httpx", "fast_litellm", "wrapt") or _is_method_of(frame, client)):
            return ""
        frame = frame.f_back
    return ""


def _is_method_of(frame: FrameType, client: object) -> bool:
    """httpx's constructor, a subclass's, or what a tracer put around either: the question is who called that."""
    names = frame.f_code.co_varnames
    return bool(names) and frame.f_locals.get(names[0]) is client
