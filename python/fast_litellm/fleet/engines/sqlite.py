"""`SqliteEngine`: the workers of one host share a file.

A round is one write transaction: it reads the rows of the origin into a `Ledger`, reports, and writes what changed.
The journal is WAL: a writer that is killed leaves nothing to roll back. There is no fsync, since the rows are void
after a reboot. Times are CLOCK_BOOTTIME, which goes on while the host sleeps and cannot be set.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from urllib.parse import quote

from ..bargain import Report
from ..clock import boot_time
from ..ledger import Allotment, Ledger, Pace, Row, Stale
from . import trusted_file
from .interface import EngineError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS fleet (boot TEXT NOT NULL, created REAL NOT NULL);
CREATE TABLE IF NOT EXISTS origin (
  origin TEXT PRIMARY KEY, run TEXT NOT NULL, last REAL NOT NULL, clock REAL NOT NULL,
  frozen_until REAL NOT NULL, tickets INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS member (
  origin TEXT NOT NULL, name TEXT NOT NULL, epoch INTEGER NOT NULL, seen REAL NOT NULL, allotment INTEGER NOT NULL,
  reserved INTEGER NOT NULL, in_use INTEGER NOT NULL, waiting INTEGER NOT NULL, most INTEGER NOT NULL,
  short INTEGER NOT NULL, ticket INTEGER NOT NULL, turn_since REAL NOT NULL, suspected REAL NOT NULL,
  PRIMARY KEY (origin, name)
) WITHOUT ROWID;
"""
_ROWS = """
SELECT name, epoch, seen, allotment, reserved, in_use, waiting, most, short, ticket, turn_since, suspected
FROM member WHERE origin = ? ORDER BY seen
"""
_WRITE = "INSERT OR REPLACE INTO member VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

#: A file has one run: it keeps its data or is another file.
_RUN = "file"

#: Connections of the parent, in the child of a fork: closing them there would touch the parent's locks.
_abandoned: list[tuple[sqlite3.Connection, int]] = []


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


@contextlib.contextmanager
def _writing(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction that holds the write lock from its start; an exception undoes it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class SqliteEngine:
    """Opens the file with the first report, and again if another file took its place. One thread at a time."""

    def __init__(self, path: str, pace: Pace) -> None:
        self._path = path
        self._pace = pace
        self._connection: sqlite3.Connection | None = None
        self._descriptor = -1
        self._identity: tuple[int, int] = (-1, -1)
        self._created = 0.0

    @property
    def shown(self) -> str:
        return f"sqlite:///{self._path}"

    def report(self, origin: str, said: Report) -> Allotment:
        try:
            return self._report(self._open(), origin, said)
        except (sqlite3.Error, OSError, ValueError, trusted_file.Distrusted) as error:
            self.close()
            raise EngineError(f"{self._path}: {error}") from error
        except Stale:
            raise EngineError("a newer report of this member is there already") from None

    def leave(self, origin: str, member: str) -> None:
        try:
            self._open().execute("DELETE FROM member WHERE origin = ? AND name = ?", (origin, member))
        except (sqlite3.Error, OSError, ValueError, trusted_file.Distrusted) as error:
            self.close()
            raise EngineError(f"{self._path}: {error}") from error

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            os.close(self._descriptor)

    def abandon(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            _abandoned.append((connection, self._descriptor))

    def _report(self, connection: sqlite3.Connection, origin: str, said: Report) -> Allotment:
        with _writing(connection):
            # After the lock is there: waiting for it took time.
            now = boot_time()
            ledger = self._load(connection, origin, now)
            before = {name: (row.seen, row.suspected) for name, row in ledger.rows.items()}
            answer = ledger.report(said, now, _RUN)
            for name, was in before.items():
                row = ledger.rows.get(name)
                if row is None:
                    connection.execute("DELETE FROM member WHERE origin = ? AND name = ?", (origin, name))
                elif name != said.member and (row.seen, row.suspected) != was:
                    connection.execute(_WRITE, _values(origin, name, row))
            connection.execute(_WRITE, _values(origin, said.member, ledger.rows[said.member]))
            state = (ledger.run, ledger.last, ledger.clock, ledger.frozen_until, ledger.tickets)
            connection.execute("INSERT OR REPLACE INTO origin VALUES (?, ?, ?, ?, ?, ?)", (origin, *state))
        return answer

    def _load(self, connection: sqlite3.Connection, origin: str, now: float) -> Ledger:
        ledger = Ledger(self._pace)
        query = "SELECT run, last, clock, frozen_until, tickets FROM origin WHERE origin = ?"
        found = connection.execute(query, (origin,)).fetchone()
        if found is not None:
            ledger.run, ledger.last, ledger.clock, ledger.frozen_until, ledger.tickets = found
        elif now - self._created >= self._pace.settle:
            # The file would know if there were members.
            ledger.run = _RUN
        for name, *columns in connection.execute(_ROWS, (origin,)):
            epoch, seen, allotment, reserved, in_use, waiting, most, short, ticket, turn_since, suspected = columns
            row = Row(
                epoch, seen, allotment, reserved, in_use, waiting, most, bool(short), ticket, turn_since, suspected
            )
            ledger.add(name, row)
        return ledger

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            try:
                found = os.stat(self._path, follow_symlinks=False)
            except FileNotFoundError:
                self.close()
            else:
                if (found.st_dev, found.st_ino) == self._identity:
                    return self._connection
                self.close()
        descriptor = trusted_file.opened(self._path)
        connection = None
        try:
            opened = os.fstat(descriptor)
            # SQLite opens it once more, by name: in a folder that only this user and root may change.
            connection = sqlite3.connect(
                f"file:{quote(self._path)}?mode=rw",
                uri=True,
                timeout=self._pace.patience,
                isolation_level=None,
                check_same_thread=False,
            )
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            connection.execute("PRAGMA synchronous = OFF")
            self._created = self._prepare(connection)
            for suffix in ("", *trusted_file.BESIDE):
                trusted_file.check_beside(self._path + suffix)
        except BaseException:
            if connection is not None:
                connection.close()
            os.close(descriptor)
            raise
        self._connection, self._descriptor = connection, descriptor
        self._identity = (opened.st_dev, opened.st_ino)
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> float:
        """Makes the tables, and voids what an earlier boot left. Returns since when the file knows all members."""
        boot = boot_id()
        with _writing(connection):
            for statement in filter(str.strip, _SCHEMA.split(";")):
                connection.execute(statement)
            found = connection.execute("SELECT boot, created FROM fleet").fetchone()
            if found is None:
                created = boot_time()
                connection.execute("INSERT INTO fleet VALUES (?, ?)", (boot, created))
            elif found[0] != boot:
                # No process of that boot lives: every member of this one reports to this file.
                created = boot_time() - self._pace.settle
                for table in ("member", "origin", "fleet"):
                    connection.execute(f"DELETE FROM {table}")
                connection.execute("INSERT INTO fleet VALUES (?, ?)", (boot, created))
            else:
                created = found[1]
        return float(created)


def _values(origin: str, name: str, row: Row) -> tuple[object, ...]:
    return (
        origin,
        name,
        row.epoch,
        row.seen,
        row.allotment,
        row.reserved,
        row.in_use,
        row.waiting,
        row.limit,
        int(row.short),
        row.ticket,
        row.turn_since,
        row.suspected,
    )
