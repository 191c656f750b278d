"""A file that others could change is refused, with the reason."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from fast_litellm.fleet.bargain import Report
from fast_litellm.fleet.engines import sqlite as sqlite_engine
from fast_litellm.fleet.engines import trusted_file
from fast_litellm.fleet.engines.interface import EngineError
from fast_litellm.fleet.engines.sqlite import SqliteEngine
from fast_litellm.fleet.ledger import Pace

ORIGIN = "https://api.openai.com"
REPORT = Report("me", 1, 0, 0, 64, 40)


def refusal(path: Path) -> str:
    with pytest.raises(EngineError) as caught:
        SqliteEngine(str(path), Pace()).report(ORIGIN, REPORT)
    return str(caught.value)


def test_the_files_are_made_for_this_user_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        engine = SqliteEngine(str(tmp_path / "fleet.db"), Pace())
        engine.report(ORIGIN, REPORT)
        made = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        engine.close()
    finally:
        os.umask(before)
    assert made == {"fleet.db": 0o600, "fleet.db-wal": 0o600, "fleet.db-shm": 0o600}


def test_a_symbolic_link_is_refused_and_its_target_untouched(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"")
    target.chmod(0o600)
    (tmp_path / "fleet.db").symlink_to(target)
    assert "is a symbolic link" in refusal(tmp_path / "fleet.db")
    assert target.read_bytes() == b""


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
def test_a_file_that_others_may_use_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"fleet.db{suffix}"
    path.write_bytes(b"")
    path.chmod(0o640)
    assert f"{path} has mode 0640: others may use it" in refusal(tmp_path / "fleet.db")


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_a_link_beside_the_file_is_refused(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"fleet.db{suffix}").symlink_to("/etc/passwd")
    assert "is a symbolic link" in refusal(tmp_path / "fleet.db")


def test_a_second_name_of_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fleet.db"
    path.write_bytes(b"")
    path.chmod(0o600)
    os.link(path, tmp_path / "other")
    assert "has 2 names" in refusal(path)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fleet.db", 0o600)
    assert "is not a regular file" in refusal(tmp_path / "fleet.db")


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770])
def test_a_folder_that_others_may_write_is_refused(mode: int, tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(mode)
    assert f"{folder} may be written by others" in refusal(folder / "fleet.db")
    assert not list(folder.iterdir())


def test_a_folder_below_one_that_others_may_replace_is_refused(tmp_path: Path) -> None:
    above = tmp_path / "above"
    (above / "own").mkdir(parents=True)
    (above / "own").chmod(0o700)  # whatever the umask
    above.chmod(0o777)
    assert f"{above} may be written by others" in refusal(above / "own" / "fleet.db")
    above.chmod(0o1777)
    SqliteEngine(str(above / "own" / "fleet.db"), Pace()).report(ORIGIN, REPORT)


@pytest.mark.skipif(os.geteuid() != 0, reason="machine: only root can give a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fleet.db"
    path.write_bytes(b"")
    path.chmod(0o600)
    os.chown(path, 12345, -1)
    assert f"{path} belongs to user 12345, not to this process's user 0" in refusal(path)


def test_a_file_that_was_replaced_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "fleet.db"
    first, second = SqliteEngine(str(path), Pace()), SqliteEngine(str(path), Pace())
    first.report(ORIGIN, REPORT)
    for each in tmp_path.iterdir():
        each.unlink()
    second.report(ORIGIN, Report("other", 1, 0, 0, 1, 40))
    assert first.report(ORIGIN, Report("me", 2, 0, 0, 1, 40)).members == 2
    first.close()
    second.close()


def test_the_rows_of_an_earlier_boot_are_void_and_nobody_waits_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "fleet.db")
    engine = SqliteEngine(path, Pace())
    engine.report(ORIGIN, Report("old", 1, 0, 40, 1, 40))
    engine.close()
    monkeypatch.setattr(sqlite_engine, "boot_id", lambda: "another boot")
    monkeypatch.setattr(sqlite_engine, "boot_time", lambda: 10.0)
    engine = SqliteEngine(path, Pace())
    answer = engine.report(ORIGIN, REPORT)
    assert (answer.value, answer.members) == (40, 1)
    engine.close()


def test_a_file_that_is_no_database_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "fleet.db"
    path.write_bytes(b"not a database at all" * 100)
    path.chmod(0o600)
    assert f"{path}: file is not a database" in refusal(path)


def test_a_file_that_another_process_holds_is_an_error_in_time_and_then_works(tmp_path: Path) -> None:
    path = tmp_path / "fleet.db"
    engine = SqliteEngine(str(path), Pace().scaled(0.05))
    engine.report(ORIGIN, REPORT)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(EngineError, match="locked"):
        engine.report(ORIGIN, Report("me", 2, 0, 0, 1, 40))
    other.execute("ROLLBACK")
    assert engine.report(ORIGIN, Report("me", 3, 0, 0, 1, 40)).members == 1
    other.close()
    engine.close()


def test_the_rules_are_those_of_the_effective_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fleet.db"
    descriptor = trusted_file.opened(str(path))
    os.close(descriptor)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(trusted_file.Distrusted, match="belongs to user"):
        trusted_file.opened(str(path))
