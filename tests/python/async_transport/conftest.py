"""Async tests run on asyncio, uvloop and trio, each on a loop of its own, with clients that are closed at the end and
seen to hold nothing.

`FAST_LITELLM_TEST_TRANSPORT=stock` runs them over httpx's own transport: a test that fails there too, other than those
that say why, is wrong itself.
"""

from __future__ import annotations

import functools
import gc
import inspect
import os
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

import fast_litellm
from support.backends import BACKENDS, nothing_unraisable, run, until
from support.certificates import Certificates

MakeAsyncTransport = Callable[..., httpx.AsyncBaseTransport]
MakeAsyncClient = Callable[..., httpx.AsyncClient]

STOCK = os.environ.get("FAST_LITELLM_TEST_TRANSPORT") == "stock" or not hasattr(fast_litellm, "AsyncHTTPTransport")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """The loop that an async test runs on."""
    name: str = request.param
    return name


def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> None:
    if inspect.iscoroutinefunction(obj) and name.startswith("test_"):
        pytest.mark.usefixtures("backend")(obj)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    clients: list[httpx.AsyncClient] = pyfuncitem.funcargs.get("async_clients", [])

    async def test() -> None:
        try:
            await pyfuncitem.obj(**arguments)
        except BaseException:
            for client in clients:
                await client.aclose()
            raise
        for client in clients:
            gc.collect()  # responses that the test dropped
            await until(functools.partial(_holds_nothing, client), "the end of all leases")
            await client.aclose()

    with nothing_unraisable():
        run(pyfuncitem.funcargs["backend"], test)
    return True


@pytest.fixture
def make_async_transport(certificates: Certificates) -> MakeAsyncTransport:
    """make_async_transport(**arguments of AsyncHTTPTransport); trusts the tests' authority by default."""

    def make(**arguments: Any) -> httpx.AsyncBaseTransport:
        if STOCK:
            if "pool" in arguments:
                pytest.skip("case: httpx's own transport takes no pool")
            arguments.setdefault("verify", ssl.create_default_context(cafile=str(certificates.ca_file)))
            return httpx.AsyncHTTPTransport(**arguments)
        arguments.setdefault("verify", str(certificates.ca_file))
        transport: httpx.AsyncBaseTransport = fast_litellm.AsyncHTTPTransport(**arguments)  # type: ignore[attr-defined]
        return transport

    return make


@pytest.fixture
def async_clients() -> Iterator[list[httpx.AsyncClient]]:
    """The clients of this test; async tests close them on their loop."""
    clients: list[httpx.AsyncClient] = []
    yield clients
    assert [leases(client) for client in clients] == [0] * len(clients), "connections are still leased after the test"


@pytest.fixture
def make_async_client(
    make_async_transport: MakeAsyncTransport, async_clients: list[httpx.AsyncClient]
) -> MakeAsyncClient:
    """make_async_client(**arguments of AsyncHTTPTransport) makes a client that is closed when its test ends."""

    def make(*, timeout: Any = 20.0, **arguments: Any) -> httpx.AsyncClient:
        client = httpx.AsyncClient(transport=make_async_transport(**arguments), timeout=timeout)
        async_clients.append(client)
        return client

    return make


@pytest.fixture
def async_client(make_async_client: MakeAsyncClient) -> httpx.AsyncClient:
    return make_async_client()


def leases(client: httpx.AsyncClient) -> int:
    """How many connections its requests and open responses use now."""
    pool = client._transport._pool  # type: ignore[attr-defined]
    return len([connection for connection in pool.connections if not connection.is_idle()])


def waiters(client: httpx.AsyncClient) -> int:
    """How many of its requests are queued for a connection."""
    if STOCK:
        queued = client._transport._pool._requests  # type: ignore[attr-defined]
        return len([request for request in queued if request.is_queued()])
    count: int = client._transport._native_pool.get_stats()["waiters"]  # type: ignore[attr-defined]
    return count


def _holds_nothing(client: httpx.AsyncClient) -> bool:
    return leases(client) == 0
