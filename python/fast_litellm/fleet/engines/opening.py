"""The engine of a URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .urls import checked, sqlite_path

if TYPE_CHECKING:
    from ..ledger import Pace
    from .interface import Engine


def open_engine(url: str, pace: Pace) -> Engine:
    """Opens nothing yet: the first report does. ValueError for a URL of no engine; ImportError without redis-py."""
    scheme = checked(url)
    if scheme == "sqlite":
        from .sqlite import SqliteEngine

        return SqliteEngine(sqlite_path(url), pace)
    try:
        from .redis import RedisEngine
    except ModuleNotFoundError as error:
        raise ImportError("the engine needs redis-py: pip install 'fast-litellm[fleet]'") from error
    return RedisEngine(url, pace)
