"""A pytest plugin for the test-suite of another library: its httpx clients go through the pool.

Load it with `-p support.pool_under_suite`; the environment variable POOL_UNDER_SUITE says how:

    stock           as the library's authors run it
    transports      clients over httpx's own transports get this package's
    accelerated     these clients are accelerated as soon as they are made
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import httpx
import uvicorn

import fast_litellm

_PASSED_ON = {
    httpx.HTTPTransport: fast_litellm.HTTPTransport,
    httpx.AsyncHTTPTransport: fast_litellm.AsyncHTTPTransport,
}


def pytest_configure() -> None:
    change = {"stock": None, "transports": _give_transport, "accelerated": _accelerate}[os.environ["POOL_UNDER_SUITE"]]
    for client in (httpx.Client, httpx.AsyncClient):
        if change is not None:
            client.__init__ = _followed_by(change, client.__init__)  # type: ignore[method-assign]
    uvicorn.Server.shutdown = _after_its_applications(uvicorn.Server.shutdown)  # type: ignore[method-assign]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    by_stock = fast_litellm.get_patch_status()["requests_stock"]
    terminalreporter.write_line(
        f"clients changed: {_changed}; requests by the stock transport: {sum(by_stock.values())}"
    )


_changed = 0
#: How long a server waits for its applications, in seconds.
_PATIENCE = 5.0


def _after_its_applications(shutdown: Callable[..., Any]) -> Callable[..., Any]:
    """A server that ends once its applications have seen what their clients sent.

    uvicorn's own shutdown closes each WebSocket at once, so a test that sends, leaves and then looks at what the server
    has received fails on a busy machine, whoever its client is. An application that waits for more is shut down as
    uvicorn does it.
    """

    async def wait_and_shut_down(server: uvicorn.Server, sockets: Any = None) -> None:
        tasks = server.server_state.tasks
        if tasks:
            await asyncio.wait(set(tasks), timeout=_PATIENCE)
        await shutdown(server, sockets)

    return wait_and_shut_down


def _give_transport(client: Any) -> None:
    stock = client._transport
    client._transport = _PASSED_ON[type(stock)](uds=stock._pool._uds)


def _accelerate(client: Any) -> None:
    fast_litellm.accelerate(client)


def _followed_by(change: Callable[[Any], None], initialise: Callable[..., None]) -> Callable[..., None]:
    def initialise_and_change(self: Any, *args: Any, **keywords: Any) -> None:
        global _changed
        initialise(self, *args, **keywords)
        if type(self._transport) in _PASSED_ON:
            change(self)
            _changed += 1

    return initialise_and_change
