"""The interpreter exits while daemon threads stand in every kind of wait of ours, again and again, on each Python."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from peers import child
from peers.nginx import Nginx
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]

_WAITING = """
    import sys, threading, time
    from fast_litellm import SimpleConnectionPool

    url, ca_file = sys.argv[1:3]
    tls_url = url.replace("http:", "https:")
    pool = SimpleConnectionPool("exiting", verify=ca_file)
    narrow = SimpleConnectionPool("narrow", max_connections_per_endpoint=1, verify=ca_file)
    held = narrow.get_connection(url)
    waits = {
        "head": lambda: pool.request(url, "GET", "/head", timeout=None),
        "body": lambda: pool.request(url, "GET", "/body", timeout=None),
        "write": lambda: pool.request(url, "POST", "/write", content=b"x" * 30_000_000, timeout=None),
        "connect": lambda: pool.request(tls_url, "GET", "/", timeout=None),
        "lease": lambda: narrow.get_connection(url, timeout=None),
        "lease of a request": lambda: narrow.request(url, "GET", "/", timeout=None),
    }
    for wait in waits.values():
        threading.Thread(target=wait, daemon=True).start()
    while True:
        stats = pool.get_stats()
        if stats["active_connections"] == 3 and stats["waiters"] == 1 and narrow.get_stats()["waiters"] == 2:
            break
        time.sleep(0.001)
    print("exiting", flush=True)
"""

_WORKING = """
    import sys, threading, httpx
    from fast_litellm import HTTPTransport, SimpleConnectionPool

    url, ca_file = sys.argv[1:3]
    pool = SimpleConnectionPool("exiting", verify=ca_file)
    client = httpx.Client(transport=HTTPTransport(verify=ca_file, pool=pool))
    begun = threading.Barrier(7)

    def forever(call):
        call()
        begun.wait()
        while True:
            call()

    for _ in range(3):
        threading.Thread(target=forever, args=[lambda: pool.request(url, "GET", "/")], daemon=True).start()
        threading.Thread(target=forever, args=[lambda: client.get(url)], daemon=True).start()
    begun.wait()
    print("exiting", flush=True)
"""


def _exits_in_order(program: str, python: str, *arguments: str) -> None:
    for run in range(child.exit_runs()):
        done = child.run(program, *arguments, python=python)
        assert (done.returncode, done.stdout) == (0, "exiting\n"), f"run {run}: {done.returncode}\n{done.stderr}"
        assert done.stderr == "", f"run {run}"


@pytest.mark.parametrize("python", child.pythons())
def test_threads_that_wait_do_not_hinder_the_exit(serve: Serve, certificates: Certificates, python: str) -> None:
    end = Gate()

    async def script(connection: Connection) -> None:
        first = await connection.receive(8)
        if first.startswith(b"POST"):
            connection.pause()
        elif first.startswith(b"GET /bod"):
            await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        await end.passed()

    _exits_in_order(_WAITING, python, serve(script).url, str(certificates.ca_file))


@pytest.mark.parametrize("python", child.pythons())
@pytest.mark.parametrize("url", ["plain", "tls13"])
def test_threads_that_work_do_not_hinder_the_exit(
    nginx: Nginx, certificates: Certificates, python: str, url: str
) -> None:
    _exits_in_order(_WORKING, python, getattr(nginx.urls, url), str(certificates.ca_file))


def test_connections_are_closed_at_exit(serve: Serve) -> None:
    program = """
        import sys
        from fast_litellm import SimpleConnectionPool
        pool = SimpleConnectionPool()
        for _ in range(3):
            assert pool.request(sys.argv[1], "GET", "/").text == "GET /"
        lease = pool.lease(sys.argv[1])
        lease.__enter__()
    """
    server = serve(serve_ok)
    done = child.run(program, server.url)
    assert (done.returncode, done.stderr) == (0, "")
    server.wait_until(lambda counts: counts.open == 0, "the connections close")
