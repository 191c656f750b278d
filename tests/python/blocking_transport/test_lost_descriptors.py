"""Other code closes every descriptor of the process, as programs do that become daemons, the pool's among them.

In processes of their own. The next request opens a new connection.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from peers import child
from peers.scripted import ScriptedServer, serve_ok

Serve = Callable[..., ScriptedServer]

_WAYS = """
    import asyncio, os, socket, sys, time
    import httpx
    import fast_litellm
    from fast_litellm.exceptions import Forked
    from fast_litellm import AsyncHTTPTransport, HTTPTransport, SimpleConnectionPool, _core, accelerate

    way, url = sys.argv[1], sys.argv[2]
    pool = SimpleConnectionPool("mine")
    clients = {
        "transport": lambda: httpx.Client(transport=HTTPTransport()),
        "shared": lambda: httpx.Client(transport=HTTPTransport(pool=pool)),
        "accelerate": lambda: accelerate(httpx.Client(trust_env=False), verify=True),
    }
    if way in clients:
        client = clients[way]()
        get = lambda: client.get(url).status_code
        stream = lambda: client.post(url, content=iter([b"a", b"b"])).status_code
    elif way == "pool":
        get = stream = lambda: pool.request(url, "GET", "/").status_code
    else:
        async def aget(**arguments):
            if way == "arequest":
                return (await pool.arequest(url, "GET", "/")).status_code
            async with httpx.AsyncClient(transport=AsyncHTTPTransport(pool=pool)) as client:
                if arguments:
                    async def pieces():
                        yield b"a"
                    return (await client.post(url, content=pieces())).status_code
                return (await client.get(url)).status_code

        get = lambda: asyncio.run(aget())
        stream = lambda: asyncio.run(aget(content=True))
"""

#: Each way to make a request.
WAYS = ["transport", "shared", "accelerate", "pool", "async", "arequest"]


def _run(way: str, server: ScriptedServer, program: str) -> None:
    done = child.run(_WAYS + program, way, server.url, environment={"FAST_LITELLM_ENABLED": "true"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "done", done.stderr


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("request_kind", ["get", "stream"])
def test_the_next_request_opens_a_new_connection(serve: Serve, way: str, request_kind: str) -> None:
    server = serve(serve_ok)
    _run(
        way,
        server,
        f"""
    assert get() == 200
    os.closerange(3, 4096)
    for _ in range(3):
        assert {request_kind}() == 200
    assert get() == 200
    os.closerange(3, 4096)
    assert {request_kind}() == 200
    print("done")
    """,
    )


@pytest.mark.parametrize("way", WAYS)
def test_descriptors_that_the_application_reuses_are_neither_written_nor_closed(serve: Serve, way: str) -> None:
    server = serve(serve_ok)
    _run(
        way,
        server,
        """
    assert get() == 200
    epoch = _core.fork_epoch()
    os.closerange(3, 4096)
    # The application's own sockets, at the numbers that the pool's had.
    pairs = [socket.socketpair() for _ in range(20)]
    end = time.monotonic() + 20
    while _core.fork_epoch() == epoch:  # noticed within about a second
        assert time.monotonic() < end, "the loss was not noticed"
        time.sleep(0.01)
    for _ in range(3):
        assert get() == 200
    for left, right in pairs:
        left.send(b"mine")
        assert right.recv(100, socket.MSG_DONTWAIT) == b"mine"
        right.send(b"too")
        assert left.recv(100, socket.MSG_DONTWAIT) == b"too"
    print("done")
    """,
    )


def test_an_open_lease_reports_that_its_connection_is_lost(serve: Serve) -> None:
    server = serve(serve_ok)
    _run(
        "pool",
        server,
        """
    held = pool.get_connection(url)
    assert pool.request(held, "GET", "/").status_code == 200
    os.closerange(3, 4096)
    try:
        pool.request(held, "GET", "/")
    except (Forked, ValueError) as error:
        assert "make the request anew" in str(error) or "no such lease" in str(error), error
    assert pool.return_connection(held) is False
    assert get() == 200
    print("done")
    """,
    )


def test_threads_that_wait_for_a_connection_get_one(serve: Serve) -> None:
    server = serve(serve_ok)
    _run(
        "pool",
        server,
        """
    import threading
    small = SimpleConnectionPool("small", max_connections=1)
    held = small.get_connection(url)
    assert small.request(held, "GET", "/").status_code == 200
    results = []
    def wait():
        results.append(small.request(url, "GET", "/", timeout=20).status_code)
    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    while small.get_stats()["waiters"] < 3:
        time.sleep(0.01)
    os.closerange(3, 4096)
    for thread in threads:
        thread.join(20)
    assert results == [200, 200, 200], results
    print("done")
    """,
    )


def test_pools_of_many_transports_share_one_background_thread(serve: Serve) -> None:
    server = serve(serve_ok)
    _run(
        "transport",
        server,
        """
    def threads():
        names = [open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")]
        return names.count("fastpool-reacto")
    assert threads() == 0
    many = [httpx.Client(transport=HTTPTransport()) for _ in range(30)]
    for one in many:
        assert one.get(url).status_code == 200
    assert threads() == 1
    for one in many:
        one.close()
    del many, one
    client.close()
    assert threads() <= 1
    with httpx.Client(transport=HTTPTransport()) as last:
        assert last.get(url).status_code == 200
    print("done")
    """,
    )
