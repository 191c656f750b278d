"""The event loops that async tests run on, and the errors that loops and the garbage collector report meanwhile."""

from __future__ import annotations

import asyncio
import gc
import importlib
import sys
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import anyio

T = TypeVar("T")

#: Those that there are; `run` skips the test where one is not installed.
BACKENDS = ("asyncio", "uvloop", "trio")
#: Those with asyncio's interface.
ASYNCIO_BACKENDS = ("asyncio", "uvloop")

_PATIENCE = 60.0  # seconds; only a failing test waits that long


def new_loop(backend: str) -> asyncio.AbstractEventLoop:
    """A loop with asyncio's interface. The caller closes it."""
    if backend == "uvloop":
        loop: asyncio.AbstractEventLoop = _imported("uvloop").new_event_loop()
        return loop
    return asyncio.new_event_loop()


def run(backend: str, function: Callable[[], Awaitable[T]], *, collect: bool = True) -> T:
    """Runs it on a loop of its own, which is closed at the end, as `asyncio.run` and `trio.run` do. Fails if the
    loop's exception handler got an error of a task or future that was never awaited. With `collect`, collects garbage
    first, so that dropped tasks and futures report theirs."""
    if backend == "trio":
        result: T = _imported("trio").run(function)
        return result
    with complaints_of(new_loop(backend), collect=collect) as loop:
        try:
            return loop.run_until_complete(function())
        finally:
            end(loop)


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        import pytest  # children of tests need it not

        pytest.skip(f"{name} is not installed")


def end(loop: asyncio.AbstractEventLoop) -> None:
    """Cancels the tasks that still run on the loop, then closes it."""
    try:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


@contextmanager
def complaints_of(
    loop: asyncio.AbstractEventLoop, *, expected: str | None = None, collect: bool = True
) -> Iterator[asyncio.AbstractEventLoop]:
    """Fails at the end if the loop's exception handler was called ("Task exception was never retrieved" and the like),
    other than with a message that contains `expected`."""
    reported: list[str] = []

    def handler(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if expected is None or expected not in context["message"]:
            reported.append(f"{context['message']}: {context.get('exception')!r}")

    loop.set_exception_handler(handler)
    yield loop
    if collect:
        gc.collect()  # futures and tasks report when they are dropped
    assert reported == [], f"the loop got errors of tasks that were never awaited: {reported}"


@contextmanager
def nothing_unraisable() -> Iterator[None]:
    """Fails at the end if a finalizer raised, or a coroutine was dropped without being awaited."""
    reported: list[str] = []

    def hook(unraisable: Any) -> None:
        reported.append(f"{unraisable.err_msg or 'ignored'}: {unraisable.exc_value!r} in {unraisable.object!r}")

    before, sys.unraisablehook = sys.unraisablehook, hook
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "coroutine .* was never awaited", RuntimeWarning)
            yield
            gc.collect()
    finally:
        sys.unraisablehook = before
    assert reported == [], f"exceptions were raised where no code could catch them: {reported}"


async def until(reached: Callable[[], bool], what: str = "what the test waits for") -> None:
    """Lets the loop run until the condition holds. For what another thread or task does."""
    try:
        with anyio.fail_after(_PATIENCE):
            while not reached():
                await anyio.sleep(0.001)
    except TimeoutError:
        raise AssertionError(f"it never came: {what}") from None
