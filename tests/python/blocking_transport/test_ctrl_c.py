"""Ctrl-C ends each kind of wait, although none of them has a timeout, and leaves no lease open."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from peers import child
from peers.scripted import Connection, Gate, ScriptedServer
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]

_PROGRAM = """
    import gc, os, signal, sys, threading, time, httpx
    from fast_litellm import HTTPTransport, SimpleConnectionPool

    wait, url, ca_file = sys.argv[1:4]
    pool = SimpleConnectionPool("interrupted", max_connections_per_endpoint=1, verify=ca_file)
    client = httpx.Client(transport=HTTPTransport(verify=ca_file, pool=pool), timeout=None)

    def interrupt_once_waiting():
        while pool.get_stats()["waiters"] == 0:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    if wait in ("lease", "pool"):
        held = pool.get_connection(url)
    if wait in ("lease", "pool", "connect"):
        threading.Thread(target=interrupt_once_waiting, daemon=True).start()
    interrupted = False
    print("ready", flush=True)
    try:
        if wait == "lease":
            pool.get_connection(url, timeout=None)
        elif wait == "direct":
            pool.request(url, "GET", "/", timeout=None)
        elif wait == "write":
            client.post(url, content=b"x" * 50_000_000)
        else:
            client.get(url)
    except KeyboardInterrupt:
        interrupted = True
    # Past the handler: the signal may come between any two steps of httpx, and then the traceback holds the response.
    assert interrupted
    gc.collect()
    if wait in ("lease", "pool"):
        pool.return_connection(held)
    assert pool.open_leases() == 0, pool.get_stats()
    assert client._transport._pool.connections == []
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("wait", ["connect", "pool", "lease", "write", "head", "body", "direct"])
def test_ctrl_c_ends_the_wait(serve: Serve, certificates: Certificates, wait: str) -> None:
    end = Gate()

    async def script(connection: Connection) -> None:
        if wait == "write":
            connection.pause()
        elif wait != "connect":
            await connection.request()
        if wait == "body":
            await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        await end.passed()

    server = serve(script)
    url = server.url.replace("http:", "https:") if wait == "connect" else server.url
    with child.running(_PROGRAM, wait, url, str(certificates.ca_file)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        if wait == "write":
            server.wait_until(lambda counts: counts.open == 1, "the connection")
            process.send_signal(signal.SIGINT)
        elif wait in ("head", "body", "direct"):
            server.wait_until(lambda counts: len(counts.requests) == 1, "the request")
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=child.PATIENCE)
    end.open()
    assert out == "interrupted\n", err
    assert process.returncode == 0, err


def test_the_handler_of_another_signal_runs_and_the_wait_continues(serve: Serve, certificates: Certificates) -> None:
    answer = Gate()

    async def script(connection: Connection) -> None:
        await connection.request()
        await answer.passed()
        await connection.respond(b"answer")

    program = """
        import signal, sys, httpx
        from fast_litellm import HTTPTransport
        signal.signal(signal.SIGUSR1, lambda *_: print("handled", flush=True))
        client = httpx.Client(transport=HTTPTransport(), timeout=None)
        print(client.get(sys.argv[1]).text, flush=True)
    """
    server = serve(script)
    with child.running(program, server.url) as process:
        assert process.stdout is not None
        server.wait_until(lambda counts: len(counts.requests) == 1, "the request")
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.readline() == "handled\n"
        answer.open()
        out, err = process.communicate(timeout=child.PATIENCE)
    assert out == "answer\n", err
