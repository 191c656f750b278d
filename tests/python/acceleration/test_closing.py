"""The connections of a closed client are closed, as with httpx; a client that is made at once still finds them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import httpx
import pytest

import fast_litellm
from fast_litellm import accelerate
from peers.scripted import ScriptedServer, serve_ok

Serve = Callable[..., ScriptedServer]


def use(client: Any, url: str, *, close: bool = True) -> None:
    """One request, then the client's end."""

    async def asynchronously() -> None:
        assert (await client.get(url)).status_code == 200
        if close:
            await client.aclose()

    if isinstance(client, httpx.AsyncClient):
        asyncio.run(asynchronously())
        return
    assert client.get(url).status_code == 200
    if close:
        client.close()


def test_the_connections_of_the_last_client_are_closed(make_client: Callable[..., Any], serve: Serve) -> None:
    server = serve(serve_ok)
    use(accelerate(make_client(), verify=False), server.url)
    server.wait_until(lambda counts: counts.connections == 1 and counts.open == 0, "the end of the connection")


def test_the_connections_of_a_dropped_client_are_closed(make_client: Callable[..., Any], serve: Serve) -> None:
    server = serve(serve_ok)
    use(accelerate(make_client(), verify=False), server.url, close=False)
    gc.collect()
    server.wait_until(lambda counts: counts.connections == 1 and counts.open == 0, "the end of the connection")


def test_a_client_made_right_after_a_close_reuses_the_connection(make_client: Callable[..., Any], serve: Serve) -> None:
    server = serve(serve_ok)
    for _ in range(20):
        use(accelerate(make_client(), verify=False), server.url)
    # Not one each: a pause of half a second between two of them, on a busy machine, may cost one.
    assert server.connections < 10


def test_another_clients_connections_stay(make_client: Callable[..., Any], serve: Serve) -> None:
    server = serve(serve_ok)
    with accelerate(httpx.Client(trust_env=False, verify=False), verify=False) as other:
        assert other.get(server.url).status_code == 200
        use(accelerate(make_client(), verify=False), server.url)
        pool = fast_litellm.SimpleConnectionPool("default")
        pool.cleanup()
        assert other.get(server.url).status_code == 200
    assert server.connections == 1


@pytest.mark.parametrize("count", [300])
def test_endpoints_of_closed_clients_are_forgotten(serve: Serve, count: int) -> None:
    server = serve(serve_ok)
    pool = fast_litellm.SimpleConnectionPool("default")
    for number in range(count):
        with accelerate(httpx.Client(trust_env=False, verify=False), verify=False) as client:
            assert client.get(server.url, extensions={"sni_hostname": f"{number}.example"}).status_code == 200
    server.wait_until(lambda counts: counts.open == 0, "the end of all connections")
    names = pool.get_stats()["endpoints"]
    assert server.url not in names, "endpoints without connections and clients are forgotten"
