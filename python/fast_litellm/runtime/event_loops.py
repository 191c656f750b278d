"""Which event loop is running, and the pool's side of it: one per loop, made at its first request.

asyncio and its kin (uvloop) watch one descriptor for us; under trio one system task does. No task and no thread
besides.
"""

from __future__ import annotations

import os
import sys
import weakref
from asyncio import AbstractEventLoop, _get_running_loop
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from .. import _core

#: Makes the exception for a caller whose loop cannot watch the pool's descriptor.
Refusal: TypeAlias = Callable[[OSError], BaseException]

#: id(loop) -> its core, which is the loop's own: a loop that is closed drops what it watches, and the core ends with
#: that. Each change is one step under the GIL.
_known: dict[int, weakref.ref[_core.EventLoop]] = {}
# The child of a fork has no running loop, and the parent's are none of its business.
os.register_at_fork(after_in_child=_known.clear)


def event_loop(refusal: Refusal) -> _core.EventLoop:
    """Returns the core of the loop that is running in this thread; makes it if the loop has none. Raises RuntimeError
    if no loop is running, and what `refusal` makes of the OSError if the process has no descriptor left for a core.

    No caller keeps a name for the core across an await: a task that is dropped would keep it alive.
    """
    loop: Any = _get_running_loop()
    if loop is None or ("trio" in sys.modules and _in_trio()):
        return _trio_loop(refusal)
    known = _known.get(id(loop))
    core = known() if known is not None else None
    return core if core is not None else _adopt(loop, refusal)


def renewed_event_loop(refusal: Refusal) -> _core.EventLoop:
    """Another core for the running loop, after other code has closed the descriptors of the one it had. Raises as
    `event_loop`."""
    loop: Any = _get_running_loop()
    if loop is None or ("trio" in sys.modules and _in_trio()):
        loop = sys.modules["trio"].lowlevel.current_trio_token()
    known = _known.get(id(loop))
    core = known() if known is not None else None
    if core is not None and core.inherited:
        del _known[id(loop)]
        if isinstance(loop, AbstractEventLoop):
            with _refusing_by(refusal):
                loop.remove_reader(core.descriptor)
    return event_loop(refusal)


@contextmanager
def _refusing_by(refusal: Refusal) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise refusal(error) from error


def _adopt(loop: AbstractEventLoop, refusal: Refusal) -> _core.EventLoop:
    with _refusing_by(refusal):
        core = _core.EventLoop(weakref.ref(loop))
        loop.add_reader(core.descriptor, core.turn)
    _remember(loop, core)
    return core


def _remember(loop: Any, core: _core.EventLoop) -> None:
    key = id(loop)

    def forget(ended: weakref.ref[_core.EventLoop]) -> None:
        if _known.get(key) is ended:  # and not that of a loop which has its place by now
            del _known[key]

    _known[key] = weakref.ref(core, forget)


# ---- trio ------------------------------------------------------------------------------------------------------------


def _in_trio() -> bool:
    """Whether a task of trio's runs here: as a guest it has another loop as its host."""
    lowlevel = getattr(sys.modules["trio"], "lowlevel", None)  # None: it is being imported
    in_trio_task = getattr(lowlevel, "in_trio_task", bool)
    return bool(in_trio_task())


def _trio_loop(refusal: Refusal) -> _core.EventLoop:
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
    core = known() if known is not None else None
    if core is not None:
        return core
    with _refusing_by(refusal):
        core = _core.EventLoop(None, _TrioFuture)
    trio.lowlevel.spawn_system_task(_serve_trio, trio, core, id(token), name="fast_litellm")
    _remember(token, core)  # once the system task serves it
    return core


async def _serve_trio(trio: Any, core: _core.EventLoop, key: int) -> None:
    try:
        while core.descriptor >= 0:  # until other code has closed it
            await trio.lowlevel.wait_readable(core.descriptor)
            core.turn()
    except trio.Cancelled:
        # The main task has ended. Tasks that are shielded from that go on.
        with trio.CancelScope(shield=True):
            while core.lingers():
                await trio.lowlevel.wait_readable(core.descriptor)
                core.turn()
        raise
    finally:
        _known.pop(key, None)  # the exception may keep the core
        core.close()


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
