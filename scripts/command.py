"""What the commands behind `make` share."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO


class CannotRun(RuntimeError):
    """The command cannot do its work; the message says why, and what to do."""


def only_run(folder: Path, command: str) -> IO[str]:
    """Makes the folder, and bars other runs of the command in it until the file that is returned is closed. Raises
    CannotRun if another run is under way."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise CannotRun(f"another `{command}` runs in this checkout") from None
    return lock
