"""Which event loop is running, and the pool's side of it: one per loop, made at its first request.

asyncio and its kin (uvloop) watch one descriptor for us; under trio one system task does. No task and no thread
besides.
"""

from __future__ import annotations

import asyncio
import os
import sys
import weakref
from asyncio import _get_running_loop
from collections.abc import Callable, Generator
from typing import Any

from . import _core


class _Known:
    __slots__ = ("core", "loop")

    def __init__(self, loop: Any, core: _core.EventLoop, gone: Callable[[Any], None]) -> None:
        self.core = core
        self.loop = weakref.ref(loop, gone)


#: id(loop) -> its core. Each change is one step under the GIL; an entry goes when its loop does.
_known: dict[int, _Known] = {}
# The child of a fork has no running loop, and the parent's are none of its business.
os.register_at_fork(after_in_child=_known.clear)


def event_loop() -> _core.EventLoop:
    """The core of the loop that is running in this thread. RuntimeError if none is."""
    loop: Any = _get_running_loop()
    if loop is None:
        return _trio_loop()
    known = _known.get(id(loop))
    return known.core if known is not None else _adopt(loop)


async def settled(begun: _core.AsyncExchange | _core.Call | _core.LeaseCall) -> Any:
    """The result of the operation that was begun; cancelled, it is given up."""
    if begun.pending:
        core = event_loop()
        if begun.loop is not core:  # begun in another one, which may be closed by now
            begun.go_to(core)
    if begun.pending:
        try:
            await begun.future()
        except BaseException:
            begun.cancel()
            raise
    return begun.result()


def _adopt(loop: asyncio.AbstractEventLoop) -> _core.EventLoop:
    for key, known in list(_known.items()):
        other = known.loop()
        if other is not None and getattr(other, "is_closed", bool)():
            _forget(key)
    # Not loop.create_future: a bound method would keep the loop alive.
    core = _core.EventLoop(asyncio.Future, weakref.ref(loop))
    loop.add_reader(core.descriptor, core.turn)
    _remember(loop, core)
    return core


def _remember(loop: Any, core: _core.EventLoop) -> None:
    key = id(loop)
    _known[key] = _Known(loop, core, lambda _: _forget(key))


def _forget(key: int) -> None:
    known = _known.pop(key, None)
    if known is not None:
        known.core.close()


# ---- trio ------------------------------------------------------------------------------------------------------------


def _trio_loop() -> _core.EventLoop:
    trio: Any = sys.modules.get("trio")
    try:
        if trio is None:
            raise RuntimeError
        token = trio.lowlevel.current_trio_token()
    except RuntimeError:
        raise RuntimeError(
            "no running event loop: this transport is for asyncio (and uvloop) and trio; "
            "use HTTPTransport in synchronous code"
        ) from None
    known = _known.get(id(token))
    if known is not None:
        return known.core
    core = _core.EventLoop(_TrioFuture)
    trio.lowlevel.spawn_system_task(_serve_trio, trio, core, id(token), name="fast_litellm")
    _remember(token, core)  # once somebody serves it
    return core


async def _serve_trio(trio: Any, core: _core.EventLoop, key: int) -> None:
    try:
        while True:
            await trio.lowlevel.wait_readable(core.descriptor)
            core.turn()
    finally:
        _forget(key)


class _TrioFuture:
    """As much of a future as the core uses, awaited by one task."""

    __slots__ = ("_done", "_task")

    def __init__(self) -> None:
        self._done = False
        self._task: Any = None

    def done(self) -> bool:
        return self._done

    def set_result(self, result: None) -> None:
        self._done = True
        if self._task is not None:
            sys.modules["trio"].lowlevel.reschedule(self._task)

    def __await__(self) -> Generator[Any, Any, None]:
        lowlevel = sys.modules["trio"].lowlevel
        if self._done:
            yield from lowlevel.checkpoint().__await__()
            return
        self._task = lowlevel.current_task()
        yield from lowlevel.wait_task_rescheduled(self._abort).__await__()

    def _abort(self, raise_cancel: Any) -> Any:
        self._done = True
        return sys.modules["trio"].lowlevel.Abort.SUCCEEDED
