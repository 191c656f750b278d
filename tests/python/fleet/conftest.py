"""Engines for the tests: each on a file or server of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.redis_server import RedisServer


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/fleet.db"


@pytest.fixture(params=["sqlite", "redis"])
def engine_url(request: pytest.FixtureRequest) -> str:
    """The URL of an engine that no other test uses: a new file, or an emptied server."""
    if request.param == "sqlite":
        url: str = request.getfixturevalue("sqlite_url")
        return url
    server: RedisServer = request.getfixturevalue("redis_server")
    import redis

    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    return server.url
