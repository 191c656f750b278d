"""Whether a file may be trusted with the fleet's numbers: it, and its folder, can be changed by this user only."""

from __future__ import annotations

import os
import stat

#: What SQLite puts beside its file.
BESIDE = ("-wal", "-shm", "-journal")


class Distrusted(Exception):
    """The message says which file, and why."""


def opened(path: str) -> int:
    """A descriptor of the file, which is created with mode 0600 if it is missing. `Distrusted` if it, its folder or a
    file of SQLite's beside it may be changed by others. OSError if it cannot be opened."""
    check_folder(os.path.dirname(path))
    for suffix in BESIDE:
        check_beside(path + suffix)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError as error:
        if os.path.islink(path):
            raise Distrusted(f"{path} is a symbolic link: name the file itself") from None
        raise error
    try:
        _check(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_beside(path: str) -> None:
    """The same rules for a file that may be missing."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    _check(path, found)


def _check(path: str, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise Distrusted(f"{path} is a symbolic link: name the file itself")
    if not stat.S_ISREG(found.st_mode):
        raise Distrusted(f"{path} is not a regular file")
    if found.st_uid != os.geteuid():
        raise Distrusted(f"{path} belongs to user {found.st_uid}, not to this process's user {os.geteuid()}")
    if stat.S_IMODE(found.st_mode) & 0o177:
        raise Distrusted(f"{path} has mode {stat.S_IMODE(found.st_mode):04o}: others may use it; chmod 600 it")
    if found.st_nlink != 1:
        raise Distrusted(f"{path} has {found.st_nlink} names: one must be the only one")


def check_folder(folder: str) -> None:
    """Raises Distrusted if a user other than this one and root could replace the file, or a folder above it."""
    resolved = os.path.realpath(folder)
    at = resolved
    while True:
        found = os.stat(at)
        if found.st_uid not in (0, os.geteuid()):
            raise Distrusted(f"the folder {at} belongs to user {found.st_uid}: use a folder of your own")
        shared = stat.S_IMODE(found.st_mode) & 0o022
        # A sticky folder protects a folder in it, which exists, but not files that are still to be created.
        if shared and not (found.st_mode & stat.S_ISVTX and at != resolved):
            raise Distrusted(
                f"the folder {at} may be written by others: use a folder of your own, for example one made by "
                "mkdir -m 700"
            )
        if at == os.path.dirname(at):
            return
        at = os.path.dirname(at)
