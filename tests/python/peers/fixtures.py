"""Fixtures for the peers; conftest.py loads them through `pytest_plugins`."""

from __future__ import annotations

import gc
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from fast_litellm import SimpleConnectionPool
from support.certificates import Certificates

from .asgi import AsgiServer
from .nginx import Nginx
from .scripted import Script, ScriptedServer


@pytest.fixture(scope="session")
def nginx(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Nginx]:
    with Nginx(tmp_path_factory.mktemp("nginx"), certificates) as server:
        yield server


@pytest.fixture(scope="session")
def asgi() -> Iterator[AsgiServer]:
    with AsgiServer() as server:
        yield server


@pytest.fixture(scope="session")
def asgi_tls(certificates: Certificates) -> Iterator[AsgiServer]:
    with AsgiServer(certificates.server) as server:
        yield server


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    """serve(script, tls=identity) starts a scripted server for this test."""
    with ExitStack() as servers:

        def start(script: Script, **options: Any) -> ScriptedServer:
            return servers.enter_context(ScriptedServer(script, **options))

        yield start


@pytest.fixture
def new_pool(certificates: Certificates) -> Iterator[Callable[..., SimpleConnectionPool]]:
    """new_pool(limits...) makes a pool of this test's own, with a unique name; closed at its end, when no
    lease may be open."""
    made: list[SimpleConnectionPool] = []

    def make(**options: Any) -> SimpleConnectionPool:
        options.setdefault("verify", str(certificates.ca_file))
        made.append(SimpleConnectionPool(f"test-{uuid.uuid4()}", **options))
        return made[-1]

    yield make
    gc.collect()
    leases = [pool.open_leases() for pool in made]
    for pool in made:
        pool.close()
    assert leases == [0] * len(leases), "connections are still leased after the test"


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port without a listener: bound, so that no other process gets it meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
