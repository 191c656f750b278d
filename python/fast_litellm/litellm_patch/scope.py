"""Who is constructing an httpx client: only those that litellm and the SDKs construct themselves are accelerated."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import CO_VARARGS
from types import CodeType, FrameType
from typing import NamedTuple

from ..acceleration import libraries
from ..runtime.import_hook import ACCELERATED


class Scope(NamedTuple):
    #: A point's name, or the module that constructs the client; "" if neither litellm nor an SDK does.
    name: str = ""
    #: The user gave no transport: one that the client is constructed with was made for it here.
    makes_its_transport: bool = False


_NOBODY = Scope()
_scope: ContextVar[Scope] = ContextVar("fast_litellm_scope", default=_NOBODY)


@contextmanager
def inside(name: str, *, makes_its_transport: bool = False) -> Iterator[None]:
    """Clients constructed in this block, on this thread or task, are litellm's own. Synchronous blocks only."""
    token = _scope.set(Scope(name, makes_its_transport))
    try:
        yield
    finally:
        _scope.reset(token)


def current(client: object) -> Scope:
    """The scope in which `client` is being constructed. To be called, directly or not, from its constructor."""
    scope = _scope.get()
    return scope if scope.name else Scope(_constructing_module(sys._getframe(1), client))


def _constructing_module(frame: FrameType | None, client: object) -> str:
    """The first module outside httpx that had a hand in constructing the client, if it is one of the packages'."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        package, _, inner = module.partition(".")
        if package in ACCELERATED:
            return module
        if package in libraries.PACKAGES:
            if inner == "_api":  # httpx.get() and the like: a client for one call
                return ""
        elif not (package in ("fast_litellm", "wrapt") or _is_method_of(frame, client)):
            return ""
        frame = frame.f_back
    return ""


def _is_method_of(frame: FrameType, client: object) -> bool:
    """httpx's constructor, a subclass's, or what a tracer put around either: the question is who called that.

    Only frames that can be one of these are looked into: up to Python 3.12 a frame whose variables were read keeps them
    until it ends, even those that it deletes.
    """
    code = frame.f_code
    if not (code.co_flags & CO_VARARGS or _defines(type(client), code)):
        return False
    names = code.co_varnames
    first = frame.f_locals.get(names[0]) if names else None
    return first is client or (type(first) is tuple and bool(first) and first[0] is client)  # (self, …) or (*args)


def _defines(owner: type, code: CodeType) -> bool:
    """Whether a method of the class, or one below a decorator, has this code."""
    for base in owner.__mro__:
        member = vars(base).get(code.co_name)
        while member is not None:
            if getattr(member, "__code__", None) is code:
                return True
            member = getattr(member, "__wrapped__", None)
    return False
