"""`Agent`: the thread that reports to the engine and tells the pool its allotments.

One per process. It is never on a request's path: callers meet the pool's limit only. It looks at the pool between one
and ten times a second, as often as `rounds.py` says, and reports when a report is due.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..runtime.locks import new_rlock
from .bargain import Report
from .clock import boot_time
from .engines.interface import Engine, EngineError
from .ledger import Pace
from .pools import LimitedPool
from .rounds import Standing, degraded_cap, is_due, next_look, quiet_looks, unchanged_reports

log = logging.getLogger("fast_litellm")


class Agent:
    """Owns its engine and thread; the pools belong to the caller. Any thread may call any method.

    A pool that is attached has a limit of 0 for each origin until the engine has answered.
    """

    def __init__(
        self,
        engine: Engine,
        limits: Mapping[str, int],
        pace: Pace | None = None,
        *,
        clock: Callable[[], float] = boot_time,
    ) -> None:
        self._engine = engine
        self._pace = pace or Pace()
        self._clock = clock
        # Held during a round: a round and `stop` or `attach` exclude each other.
        self._lock = new_rlock()
        # Guarded by _lock.
        self._pools: list[LimitedPool] = []
        self._standings = {origin: Standing(limit, answered=clock()) for origin, limit in limits.items()}
        self._member = secrets.token_hex(8)
        self._epoch = 0
        self._stopped = False
        #: Without a pool the process is no member.
        self._left = True
        #: Seconds until the thread looks at the pools again.
        self._pause = self._pace.quick
        #: The threads that hold `_lock` for a fork.
        self._forking: set[int] = set()
        self._counts = {"rounds": 0, "failed_rounds": 0, "times_degraded": 0}
        self._last_error = ""
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    def attach(self, pool: LimitedPool, former: Agent | None = None) -> None:
        """Limits this pool; one that was attached before is allowed no new lease, but its leases still count. If the
        pool refuses an origin, or there can be no thread, none is limited because of this call, and what `former`
        limits stays limited."""
        with self._lock:
            self._begin_limiting(pool, former)
            for earlier in self._pools:
                self._allow_none(earlier)
            self._pools = [each for each in self._pools if each is not pool and self._has_leases(each)] + [pool]
            self._left = False
            for standing in self._standings.values():
                standing.cap, standing.degraded = 0, False
                standing.tried = float("-inf")
            self._wake.set()

    def round(self) -> None:
        """Reports for every origin for which a report is due. The thread calls it; tests may."""
        with self._lock:
            if self._stopped or not self._keep_usable_pools():
                return
            gone_since: float | None = None
            looks = []
            for origin, standing in self._standings.items():
                in_use, waiting = self._usage(origin)
                standing.quiet = quiet_looks(standing, in_use, waiting)
                looks.append((standing, in_use, waiting))
                now = self._clock()
                if is_due(standing, in_use, waiting, now, self._pace):
                    if gone_since is not None:
                        # The engine did not answer a moment ago: the other origins need not wait for it too.
                        standing.tried = now
                        self._failed(origin, standing, gone_since, now)
                    elif not self._report(origin, standing):
                        gone_since = standing.tried
            now = self._clock()  # the reports may have taken long
            self._pause = min(next_look(*look, now, self._pace) for look in looks)

    def stop(self) -> None:
        """Ends the thread and gives the room back, except for leases in use. No new lease after that."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            thread = self._thread
            for pool in self._pools:
                self._allow_none(pool)
            self._leave()
            self._engine.close()
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(self._pace.patience)

    def release(self, successor: Agent | None = None) -> None:
        """After `stop`: lifts the limits of the pools, except for those that the successor, already attached, keeps:
        its gates must not open before the engine has answered it."""
        with self._lock:
            for pool in self._pools:
                for origin in self._standings:
                    if successor is None or not successor.limits(pool, origin):
                        pool.set_max_leases(origin, None)
            self._pools = []

    def renewed(self) -> Agent:
        """After `stop`: a new member on the same engine, with the same limits and pools. `release` follows."""
        with self._lock:
            limits = {origin: standing.limit for origin, standing in self._standings.items()}
            agent = Agent(self._engine, limits, self._pace, clock=self._clock)
            for pool in self._pools:
                agent.attach(pool, self)
            return agent

    def limits(self, pool: LimitedPool, origin: str) -> bool:
        return origin in self._standings and any(each is pool for each in self._pools)

    def before_fork(self) -> None:
        """Lets a round end first, for at most the pace's patience: the child could not use SQLite if the thread were
        within it. `after_fork_in_parent` or, in the child, `after_fork` follows."""
        if self._lock.acquire(timeout=self._pace.patience):
            self._forking.add(threading.get_ident())

    def after_fork_in_parent(self) -> None:
        # Several threads may fork at once; one may have waited in vain for another.
        if threading.get_ident() in self._forking:
            self._forking.remove(threading.get_ident())
            self._lock.release()

    def after_fork(self) -> None:
        """In the child: a new member without leases, which waits for its own first answer."""
        self._engine.abandon()
        self._forking.clear()
        self._wake = threading.Event()
        self._thread = None
        self._member = secrets.token_hex(8)
        self._epoch = 0
        if self._stopped:
            return
        for origin, standing in self._standings.items():
            members = standing.members + 1 if standing.members else 0
            self._standings[origin] = Standing(standing.limit, answered=self._clock(), members=members)
        for pool in self._pools:
            self._allow_none(pool)
        if self._pools:
            self._start_thread()

    def status(self) -> dict[str, Any]:
        """`engine` without credentials, counts, and each origin's numbers. Does not wait for a round under way."""
        standings = list(self._standings.items())
        now = self._clock()
        origins = {
            origin: {
                "limit": standing.limit,
                "allotment": standing.cap if now < standing.deadline else 0,
                "in_use": standing.in_use,
                "waiting": standing.waiting,
                "members": standing.members,
                "degraded": standing.degraded,
            }
            for origin, standing in standings
        }
        return {
            "engine": self._engine.shown,
            "member": self._member,
            **self._counts,
            "last_error": self._last_error,
            "origins": origins,
        }

    def _keep_usable_pools(self) -> bool:
        """Forgets closed pools that have no leases and no waiting callers (`drain` serves the queue). Returns False
        without a pool: the process is no member then, until a pool is attached again."""
        self._pools = [
            each
            for each in self._pools
            if not each.closed or any(any(each.usage(origin)) for origin in self._standings)
        ]
        if not self._pools and not self._left:
            self._left = True
            self._leave()
            # A late report of the member that left is not to be taken for one of the next.
            self._member = secrets.token_hex(8)
            for origin, standing in self._standings.items():
                self._standings[origin] = Standing(standing.limit, answered=self._clock(), members=standing.members)
        return bool(self._pools)

    def _leave(self) -> None:
        """Gives the room back, except for leases in use."""
        for origin in self._standings:
            try:
                if self._usage(origin)[0] == 0:
                    self._engine.leave(origin, self._member)
            except Exception as error:
                log.debug("fleet: could not give the room of %s back: %s", origin, self._told(error))
                break

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._run, args=(self._wake,), name="fast_litellm fleet", daemon=True)
        thread.start()
        self._thread = thread

    def _run(self, wake: threading.Event) -> None:
        while not self._stopped:
            with self._lock:
                if not self._pools:  # `attach` starts another thread
                    self._thread = None
                    return
            try:
                self.round()
            except Exception as error:
                # A fault of this package must not end the heartbeat: without it no lease is admitted.
                if repr(error) != self._last_error:
                    self._last_error = repr(error)
                    log.exception("fleet: a round failed unexpectedly")
                wake.wait(self._pace.heartbeat)
            if self._pause <= self._pace.quick:
                # Half the CPU time of a wait with a timeout; `stop` and `attach` are noticed soon enough.
                time.sleep(self._pause)
            elif wake.wait(self._pause):
                wake.clear()

    def _report(self, origin: str, standing: Standing) -> bool:
        """False if the engine did not answer."""
        pace = self._pace
        began = self._clock()
        standing.tried = began
        held = standing.held(began, pace)
        if held == 0 and standing.cap > 0:
            self._set(origin, standing, 0, began)
        in_use, waiting = self._usage(origin)
        self._epoch += 1
        said = Report(self._member, self._epoch, held, in_use, waiting, standing.limit, standing.degraded and held > 0)
        self._counts["rounds"] += 1
        try:
            answer = self._engine.report(origin, said)
        except Exception as error:
            # Also one that no engine should raise: the member must not starve because of it.
            self._last_error = self._told(error)
            self._failed(origin, standing, began, self._clock())
            return False
        standing.unchanged = unchanged_reports(standing, in_use, waiting, answer)
        standing.in_use, standing.waiting = in_use, waiting
        standing.members, standing.content, standing.failed = max(1, answer.members), answer.content, False
        now = self._clock()
        if now >= began + pace.ttl:
            # The process was stopped meanwhile: the engine has given the room away since.
            standing.tried = float("-inf")
            return True
        if standing.degraded:
            log.warning("fleet: %s answers again; %s is limited by the fleet", self._engine.shown, origin)
        standing.degraded = False
        standing.answered = began
        self._set(origin, standing, min(max(answer.value, 0), standing.limit), began + pace.ttl)
        return True

    def _failed(self, origin: str, standing: Standing, began: float, ended: float) -> None:
        self._counts["failed_rounds"] += 1
        standing.failed, standing.unchanged = True, 0
        cap = degraded_cap(standing, began, ended, self._pace)
        if cap is None:
            return
        if not standing.degraded:
            standing.degraded = True
            self._counts["times_degraded"] += 1
            log.warning(
                "fleet: no answer from %s for %.0f s (%s); this process allows itself %d of the %d leases of %s",
                self._engine.shown,
                self._pace.ttl,
                self._last_error,
                cap,
                standing.limit,
                origin,
            )
        self._set(origin, standing, cap, ended + self._pace.ttl)

    def _set(self, origin: str, standing: Standing, cap: int, deadline: float) -> None:
        self._pools[-1].set_max_leases(origin, cap, valid_until=deadline)
        standing.cap, standing.deadline = cap, deadline

    def _usage(self, origin: str) -> tuple[int, int]:
        in_use = waiting = 0
        for pool in self._pools:
            leased, queued = pool.usage(origin)
            in_use += leased
            waiting += queued
        return in_use, waiting

    def _told(self, error: Exception) -> str:
        """The text of an engine's own error. Other exceptions may quote the URL, so only their type is shown."""
        return str(error) if isinstance(error, EngineError) else f"{self._engine.shown}: {type(error).__name__}"

    def _begin_limiting(self, pool: LimitedPool, former: Agent | None) -> None:
        """Limits each origin to 0, and starts the thread. On an error lifts those that `former` does not limit."""
        closed = []
        try:
            for origin in self._standings:
                pool.set_max_leases(origin, 0)
                closed.append(origin)
            if self._thread is None and not self._stopped:
                self._start_thread()  # which waits for _lock
        except BaseException:
            if not any(each is pool for each in self._pools):
                for origin in closed:
                    if former is None or not former.limits(pool, origin):
                        pool.set_max_leases(origin, None)
            raise

    def _has_leases(self, pool: LimitedPool) -> bool:
        return any(pool.usage(origin)[0] for origin in self._standings)

    def _allow_none(self, pool: LimitedPool) -> None:
        for origin in self._standings:
            pool.set_max_leases(origin, 0)
