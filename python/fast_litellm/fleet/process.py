"""The fleet agent of this process: made from the settings or by `configure`, carried over forks, ended at exit.

The module is cheap to import. The agent, its engine and redis-py are loaded when the pool "default" is there to limit.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import config
from ..exceptions import FleetUnavailable
from ..runtime.hooks import on_default_pool
from ..runtime.locks import new_rlock

if TYPE_CHECKING:
    from .agent import Agent
    from .pools import LimitedPool

#: One `configure` at a time. Taken before _lock.
_configuring = new_rlock()
_lock = new_rlock()
# Guarded by _lock.
_agent: Agent | None = None
_configured: tuple[str, dict[str, int]] | None = None
_error = ""
_prepared = False
#: `configure` named another pool than "default".
_other_pool = False
#: Between the hooks of a fork, by thread: whose round was waited for.
_forking: dict[int, Agent] = {}


def prepare() -> None:
    """Limits the pool "default" as soon as it is made, if the settings name an engine and limits."""
    global _prepared
    with _lock:
        if _prepared:
            return
        _prepared = True
        on_default_pool(_attach)
        os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork)
        atexit.register(_exit)


def configure(limits: Mapping[str, int], *, url: str | None = None, pool: LimitedPool | None = None) -> dict[str, Any]:
    """Shares limits with all processes that name the same engine: origin -> leases of the whole fleet.

    `limits`: for example `{"https://api.openai.com": 40}`; empty: ends the fleet's limits of this process. `url`: the
    engine; None: FAST_LITELLM_FLEET. `pool`: what is limited; None: the pool "default". Returns the status.
    ValueError for a bad origin, limit or URL, without an engine, or for an origin that the pool refuses; ImportError if
    the engine needs redis-py. After any error what was configured before still holds.

    Callers of these origins wait until the engine has answered, a second or two at most with a new engine.
    """
    from .limits import checked_limits

    chosen = url if url is not None else config.fleet_url()
    wanted = checked_limits(limits)
    if wanted and not chosen:
        raise ValueError("no engine: give url=, or set FAST_LITELLM_FLEET")
    agent = _new_agent(chosen, wanted) if wanted and chosen else None
    prepare()
    with _configuring:
        _replace(agent, chosen or "", wanted, pool)
    return get_status()


def _replace(agent: Agent | None, chosen: str, wanted: dict[str, int], pool: LimitedPool | None) -> None:
    global _configured, _agent, _error, _other_pool
    with _lock:
        before = _configured, _error, _other_pool
        former, _agent = _agent, None
        _configured, _error = (chosen, wanted), ""
        _other_pool = bool(wanted) and pool is not None and getattr(pool, "name", "") != "default"
    try:
        if former is not None:
            former.stop()  # its limits are 0 until the end of this function
        limited: Any = pool
        if wanted and limited is None:
            from ..pool.simple_pool import SimpleConnectionPool

            # Outside of _lock, which `_attach` takes within the lock of the pools. Making the pool attaches it.
            limited = SimpleConnectionPool("default")
        with _lock:
            if agent is not None and _agent is None and _configured == (chosen, wanted):
                agent.attach(limited, former)
                _agent = agent
    except BaseException:
        with _lock:
            if _agent is None and _configured == (chosen, wanted):
                _configured, _error, _other_pool = before
                if former is not None:
                    former.stop()  # an interrupt may have come before
                    keeper, former = former, None
                    _agent = keeper.renewed()  # the limits stay 0 if that fails, too
                    keeper.release(_agent)
        raise
    finally:
        with _lock:
            if former is not None:
                former.release(_agent)


def get_status() -> dict[str, Any]:
    """`enabled`; `error`: why the fleet cannot be used, though it is configured; and of the agent, once it runs: its
    `engine` without credentials, `member`, `rounds`, `failed_rounds`, `times_degraded`, `last_error`, and `origins`:
    each origin's `limit`, `allotment`, `in_use`, `waiting`, `members`, `degraded`."""
    agent = _agent
    status: dict[str, Any] = {"enabled": agent is not None, "error": _error}
    if agent is not None:
        status.update(agent.status())
    return status


def _attach(pool: LimitedPool) -> None:
    """The pool "default" was made."""
    global _agent, _error
    with _lock:
        if _other_pool:
            return
        if _agent is not None:
            _agent.attach(pool)
            return
        if _configured is None and (problem := config.fleet_problem()):
            raise _unavailable(problem)
        url, limits = _configured if _configured is not None else (config.fleet_url() or "", config.fleet_limits())
        if not url or not limits:
            return
        try:
            agent = _new_agent(url, limits)
        except (ValueError, ImportError) as error:
            from .engines.urls import shown, without_secrets

            raise _unavailable(f"{shown(url)}: {without_secrets(str(error), url)}") from None
        agent.attach(pool)
        _agent, _error = agent, ""


def _unavailable(problem: str) -> FleetUnavailable:
    """A limit that cannot be shared must not silently be none: nothing is sent. Logged once, because callers may turn
    the exception into one of theirs."""
    global _error
    message = f"the fleet's limits cannot be kept, so nothing is sent: {problem}"
    if _error != problem:
        import logging

        _error = problem
        logging.getLogger("fast_litellm").error("fleet: %s", message)
    return FleetUnavailable(message)


def _new_agent(url: str, limits: Mapping[str, int]) -> Agent:
    from .agent import Agent
    from .engines.opening import open_engine
    from .ledger import Pace
    from .limits import checked_limits

    pace = Pace()
    return Agent(open_engine(url, pace), checked_limits(limits), pace)


def _before_fork() -> None:
    agent = _agent
    if agent is not None:
        _forking[threading.get_ident()] = agent
        agent.before_fork()


def _after_fork_in_parent() -> None:
    agent = _forking.pop(threading.get_ident(), None)
    if agent is not None:
        agent.after_fork_in_parent()


def _after_fork() -> None:
    _forking.clear()
    if _agent is not None:
        _agent.after_fork()


def _exit() -> None:
    # Not `release`: what still runs at exit has no room of the fleet any more.
    if _agent is not None:
        _agent.stop()
