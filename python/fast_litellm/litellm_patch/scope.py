"""Who is constructing an httpx client: only those that litellm and the SDKs construct themselves are accelerated."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial, partialmethod
from inspect import CO_VARARGS, CO_VARKEYWORDS
from types import CodeType, FrameType, FunctionType
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
    if not (_takes_any_arguments(code) or _defines(type(client), code)):
        return False
    variables = frame.f_locals
    values = [variables.get(name) for name in code.co_varnames[:2]]
    first = values[0] if values else None
    # (self, …); (*args); or wrapt's (wrapped, instance, args, kwargs)
    return any(value is client for value in values) or (type(first) is tuple and bool(first) and first[0] is client)


def _takes_any_arguments(code: CodeType) -> bool:
    """(*args), (self, *args) or (self, **keywords): as a wrapper of a constructor does."""
    return bool(code.co_flags & CO_VARARGS or (code.co_flags & CO_VARKEYWORDS and code.co_argcount))


def _defines(owner: type, code: CodeType) -> bool:
    """Whether a method of the class has this code, or a function that its constructor or the method wraps."""
    left: list[object] = []
    for base in owner.__mro__:
        names = {"__init__", code.co_name, f"_{base.__name__.lstrip('_')}{code.co_name}"}
        left += [vars(base)[name] for name in names if name in vars(base)]
    for member in left:  # which grows
        if getattr(member, "__code__", None) is code:
            return True
        left += [each for each in _wrapped_by(member) if not any(each is known for known in left)]
        if len(left) > _MOST_FUNCTIONS:
            break
    return False


#: What is looked at of one class: a wrapper may refer to anything.
_MOST_FUNCTIONS = 64


def _wrapped_by(member: object) -> Iterator[object]:
    """What a decorator, a partial function or a patched method may call in its turn."""
    for name in ("__wrapped__", "__func__", "func", "_self_wrapper"):
        found = getattr(member, name, None)
        if found is not None:
            yield found
    if type(member) is FunctionType:
        for cell in member.__closure__ or ():
            with suppress(ValueError):  # an empty cell
                if isinstance(cell.cell_contents, (FunctionType, partial, partialmethod)):
                    yield cell.cell_contents
