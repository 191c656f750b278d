"""Locks that the child of a fork finds free: a thread that is gone there may have held them."""

import os
import threading
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_living: "weakref.WeakSet[Any]" = weakref.WeakSet()


def new_lock() -> threading.Lock:
    lock = threading.Lock()
    _living.add(lock)
    return lock


def new_rlock() -> "threading.RLock":
    lock = threading.RLock()
    _living.add(lock)
    return lock


def _renew() -> None:
    for lock in list(_living):
        lock._at_fork_reinit()


os.register_at_fork(after_in_child=_renew)
