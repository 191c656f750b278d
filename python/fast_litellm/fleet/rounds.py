"""When a member looks at its pool and reports, and what it allows itself if the engine does not answer: pure functions.

Times are seconds of CLOCK_BOOTTIME, which goes on while a process is stopped.
"""

from __future__ import annotations

from dataclasses import dataclass

from .ledger import Allotment, Pace

#: Pauses between reports or looks in a row that change nothing, times `Pace.quick`. The first ones together are longer
#: than a new engine settles, because every member of a new fleet waits for the end of that.
_FIRST, _NEXT, _LATER = 1.0, 2.0, 5.0
_FIRST_ONES, _NEXT_ONES = 25, 5


@dataclass(slots=True)
class Standing:
    """What a member knows of one origin. `cap` is in force until `deadline`."""

    limit: int
    cap: int = 0
    deadline: float = 0.0
    #: When the last answered report was sent; before the first one, when the member began.
    answered: float = 0.0
    #: When the last report was sent, answered or not.
    tried: float = float("-inf")
    #: As the engine said; 0: it never answered.
    members: int = 0
    degraded: bool = False
    content: bool = True
    failed: bool = False
    #: As of the last report.
    in_use: int = 0
    waiting: int = 0
    #: Reports in a row that changed nothing (`unchanged_reports`).
    unchanged: int = 0
    #: Looks in a row that saw nothing new (`quiet_looks`).
    quiet: int = 0

    def held(self, now: float, pace: Pace) -> int:
        """What a report that is sent now may say. 0 if the allotment may lapse before the engine has the report: then
        the pool must be told first."""
        if self.degraded:
            return self.cap if now < self.deadline else 0
        return self.cap if self.deadline - now >= pace.patience else 0


def is_due(standing: Standing, in_use: int, waiting: int, now: float, pace: Pace) -> bool:
    """Whether the member reports now: once a heartbeat, and sooner if callers wait for room that the engine may have,
    or if leases ended for which it keeps room that belongs to others."""
    since = now - standing.tried
    if since >= pace.heartbeat:
        return True
    if since < pace.quick:
        return False
    if standing.failed:
        return since >= pace.quick * 5
    newly_hungry = waiting > 0 and standing.waiting == 0
    hungry = waiting > 0 and not standing.content
    frees = in_use < standing.in_use and standing.in_use > standing.cap
    if newly_hungry or frees:
        return True
    return hungry and (since >= pause_after(standing.unchanged, pace) or _needs_differ(standing, in_use, waiting))


def pause_after(count: int, pace: Pace) -> float:
    """Seconds until the next report or look, after `count` in a row that changed nothing: ten a second, then five, then
    two."""
    factor = _FIRST if count < _FIRST_ONES else _NEXT if count < _FIRST_ONES + _NEXT_ONES else _LATER
    return pace.quick * factor


def unchanged_reports(standing: Standing, in_use: int, waiting: int, answer: Allotment) -> int:
    """`Standing.unchanged` after a report of these counts was answered; `standing` is as of the report before it."""
    same_answer = (answer.value, max(1, answer.members), answer.content) == (
        standing.cap,
        standing.members,
        standing.content,
    )
    freed = in_use < standing.in_use and standing.in_use > standing.cap
    if same_answer and not freed and not standing.failed and not _needs_differ(standing, in_use, waiting):
        return standing.unchanged + 1
    return 0


def _needs_differ(standing: Standing, in_use: int, waiting: int) -> bool:
    """Whether callers began or ceased to wait, or the demand is at least twice or at most half that of the last report.
    Smaller changes do not count: under load every report has another number of waiting callers."""
    before, demand = standing.in_use + standing.waiting, in_use + waiting
    return (waiting > 0) != (standing.waiting > 0) or demand >= 2 * before > 0 or before >= 2 * demand > 0


def quiet_looks(standing: Standing, in_use: int, waiting: int) -> int:
    """`Standing.quiet` after a look that saw these counts. A look is quiet if no caller waits; where leases keep room
    that belongs to others, if none of them ended."""
    seen = in_use < standing.in_use if standing.in_use > standing.cap else waiting > 0
    return 0 if seen else standing.quiet + 1


def next_look(standing: Standing, in_use: int, waiting: int, now: float, pace: Pace) -> float:
    """Seconds until the member looks at its pool again, at least `pace.quick`. A wake-up costs more than a look does:
    the member sleeps while no report can become due.

    - Callers wait, and the engine said that reports gain nothing: at the next heartbeat.
    - No leases, and an allotment: after `pace.idle`.
    - No caller waits, or leases keep room that belongs to others: soon after something was seen, and later after quiet
      looks. A member without an allotment looks ten times a second, because it may be asked for its first lease at any
      moment.
    """
    since = now - standing.tried
    frees = standing.in_use > standing.cap
    if standing.failed:
        pause = pace.quick * 5 - since
    elif waiting > 0 and not standing.content:
        pause = pause_after(standing.unchanged, pace) - since
    elif frees:
        pause = pause_after(standing.quiet, pace)
    elif waiting > 0 and standing.waiting == 0:
        pause = pace.quick
    elif waiting > 0:
        pause = pace.heartbeat - since
    elif standing.cap == 0:
        pause = pace.quick
    elif in_use == 0:
        pause = pace.idle
    else:
        pause = pause_after(standing.quiet, pace)
    return max(pace.quick, pause)


def degraded_cap(standing: Standing, began: float, ended: float, pace: Pace) -> int | None:
    """After a round failed that took from `began` to `ended`: what the member allows itself for the next TTL; None: the
    last allotment stays, until its deadline.

    Only a round counts that began after the allotment lapsed and took no longer than a round does: a process that was
    stopped must ask once before it helps itself. A member that the engine never answered does not know how many others
    there are, and allows itself one lease.
    """
    if began < standing.answered + pace.ttl or ended - began > 2 * pace.patience + pace.quick:
        return None
    return max(1, standing.limit // standing.members) if standing.members else 1
