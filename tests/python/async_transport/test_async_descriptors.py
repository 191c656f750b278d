"""No descriptor stays open, or in an epoll set, after its request or loop has ended."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Awaitable, Callable

import anyio
import httpx
import pytest

from async_transport.conftest import STOCK, MakeAsyncTransport, leases
from async_transport.waits import a_wait
from fast_litellm.exceptions import cannot_watch
from fast_litellm.runtime.event_loops import event_loop
from peers.nginx import Nginx
from peers.scripted import ScriptedServer, serve_ok
from support.backends import BACKENDS, run, until
from support.certificates import Certificates
from support.sockets import open_descriptors, sockets_to, watched, watched_by

Serve = Callable[..., ScriptedServer]
MakeClient = Callable[[], httpx.AsyncClient]


@pytest.fixture
def new_client(make_async_transport: MakeAsyncTransport) -> MakeClient:
    return lambda: httpx.AsyncClient(transport=make_async_transport(), timeout=None)


def _kinds() -> Counter[str]:
    gc.collect()
    return Counter(kind.split(":")[0] for kind in open_descriptors().values())


async def _ended(request: Awaitable[None]) -> None:
    await request


def _inodes(port: int) -> set[int]:
    """Of the client's sockets to this port."""
    return {one.inode for one in sockets_to(port) if one.inode}


def _watched_for_this_loop() -> list[str]:
    """What stays in the loop's set: not the number of entries of all sets, since those of loops, servers and dials of
    other threads come and go."""
    if STOCK:
        return ["eventfd", "timerfd"]
    kinds = open_descriptors()
    entries = watched_by(event_loop(cannot_watch).descriptor)
    return sorted(kinds[descriptor].removeprefix("anon_inode:").strip("[]") for descriptor, _ in entries)


@pytest.mark.parametrize("place", ["handshake", "write, plain", "head, tls", "body, plain", "body, tls"])
async def test_requests_that_were_cancelled_leave_no_descriptor_and_no_entry_in_an_epoll_set(
    new_client: MakeClient, certificates: Certificates, nginx: Nginx, place: str
) -> None:
    if STOCK and place.startswith("write"):
        pytest.skip("case: of what httpx's own transport writes the kernel may take less than the wait looks for")
    client = new_client()
    await client.get(nginx.urls.plain)  # whatever this loop and the process need once
    await client.aclose()
    with a_wait(place, certificates) as wait:
        descriptors = _kinds()
        client = new_client()
        sockets: set[int] = set()
        for _ in range(5):
            async with anyio.create_task_group() as group:
                group.start_soon(_ended, wait(client))
                await until(wait.reached)
                await until(lambda: bool(_inodes(wait.server.port) & watched().keys()), "the connection in a set")
                sockets |= _inodes(wait.server.port)
                group.cancel_scope.cancel()
        await client.aclose()
        wait.end()
        # The server's own descriptors close in its thread.
        await until(lambda: wait.server.counts.open == 0, "the connections close")
        await until(lambda: _kinds() == descriptors, f"the descriptors as before: {descriptors}, not {_kinds()}")
        assert not sockets & watched().keys()
        assert _watched_for_this_loop() == ["eventfd", "timerfd"]


async def test_streams_that_were_left_or_dropped_leave_no_descriptor_and_no_entry_in_an_epoll_set(
    new_client: MakeClient, nginx: Nginx
) -> None:
    client = new_client()
    await client.get(nginx.urls.plain)
    await client.aclose()
    descriptors = _kinds()
    client = new_client()
    big = httpx.URL(f"{nginx.urls.tls13}/files/big")
    assert big.port is not None
    sockets: set[int] = set()
    for _ in range(5):
        async with client.stream("GET", big) as response:
            await anext(response.aiter_raw())
            sockets |= _inodes(big.port)
        response = await client.send(client.build_request("GET", big), stream=True)
        await anext(response.aiter_raw())
        sockets |= _inodes(big.port)
        del response
        gc.collect()
    assert sockets
    await client.aclose()
    await until(lambda: _kinds() == descriptors, f"the descriptors as before: {descriptors}, not {_kinds()}")
    assert not sockets & watched().keys()
    assert _watched_for_this_loop() == ["eventfd", "timerfd"]


@pytest.mark.skipif(STOCK, reason="case: httpx's connections belong to a loop")
@pytest.mark.parametrize("first", BACKENDS)
@pytest.mark.parametrize("second", BACKENDS)
def test_a_connection_that_moves_to_another_loop_leaves_the_first_ones_set(
    new_client: MakeClient, serve: Serve, first: str, second: str
) -> None:
    """One loop runs inside a request of the other: both live while the connection moves."""
    client = new_client()
    server = serve(serve_ok)
    watchers: list[int] = []

    async def get() -> None:
        await client.get(server.url)
        [inode] = {one.inode for one in sockets_to(server.port) if one.inode}
        watchers.append(len(watched()[inode]))

    async def both() -> None:
        await get()
        for loop in (second, first, second):
            await anyio.to_thread.run_sync(run, loop, get)
            await get()

    run(first, both)
    assert server.connections == 1
    assert watchers == [watchers[0]] * 7, "a set still watches a connection that another loop has taken"
    run(first, client.aclose)
    assert leases(client) == 0
