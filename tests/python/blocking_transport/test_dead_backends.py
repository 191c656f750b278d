"""Backends that refuse connections or never answer: how long a failure takes, and calls after they are back."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from blocking_transport.conftest import MakeClient
from fast_litellm import accelerate
from peers import child
from support.addresses import attempts_at, refusing_port, silent_port

_PATIENCE = 20.0


@contextmanager
def _backend_at(port: int) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def _refused(client: httpx.Client, url: str, **options: Any) -> httpx.ConnectError:
    with pytest.raises(httpx.ConnectError) as caught:
        client.get(url, **options)
    return caught.value


def test_a_refused_connect_causes_no_wait_even_after_many_refusals(client: httpx.Client) -> None:
    url = f"http://127.0.0.1:{refusing_port()}/"
    took = []
    for _ in range(40):
        began = time.perf_counter()
        _refused(client, url)
        took.append(time.perf_counter() - began)
    # No assertion on time: on a busy machine it says nothing. The counts of tests/pool/backoff_test.cpp do.
    print(f"refused connect: median {statistics.median(took) * 1000:.2f} ms, longest {max(took) * 1000:.2f} ms")


def test_a_caller_with_a_short_connect_timeout_is_served_once_the_backend_is_back(client: httpx.Client) -> None:
    port = refusing_port()
    url = f"http://127.0.0.1:{port}/"
    for _ in range(100):
        error = _refused(client, url, timeout=httpx.Timeout(20, connect=2))
        assert "refused" in str(error)
    with _backend_at(port):
        assert client.get(url, timeout=httpx.Timeout(20, connect=2)).status_code == 200


def test_each_of_many_threads_at_a_dead_backend_gets_the_error(client: httpx.Client) -> None:
    url = f"http://127.0.0.1:{refusing_port()}/"
    errors: list[BaseException] = []

    def ask() -> None:
        for _ in range(5):
            try:
                client.get(url)
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(error) for error in errors] == [httpx.ConnectError] * 150


def test_dials_to_a_dead_backend_are_bounded(make_client: MakeClient, new_pool: Callable[..., Any]) -> None:
    pool = new_pool()
    client = make_client(pool=pool)
    url = f"http://127.0.0.1:{refusing_port()}/"
    began = time.monotonic()
    asked = 0
    lock = threading.Lock()

    def ask() -> None:
        nonlocal asked
        for _ in range(60):
            _refused(client, url)
            with lock:
                asked += 1

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    dials = pool.get_stats()["dials"]
    assert asked == 1200
    # Twice 64: those that were under way when the first was refused, and those that may begin at once.
    assert dials <= 2 * 64 + 200 * (seconds + 1), f"{dials} dials in {seconds:.2f} s"


def test_retries_of_a_transport_succeed_after_a_backend_is_back(make_client: MakeClient) -> None:
    port = refusing_port()
    client = make_client(retries=8)
    url = f"http://127.0.0.1:{port}/"
    with ExitStack() as stack:
        backend = threading.Timer(0.1, lambda: stack.enter_context(_backend_at(port)))
        backend.start()
        assert client.get(url).status_code == 200
        backend.join()


def test_accelerated_clients_do_not_wait_longer_at_a_dead_backend() -> None:
    port = refusing_port()
    url = f"http://127.0.0.1:{port}/"
    with accelerate(httpx.Client(), verify=True) as client:
        for _ in range(70):
            _refused(client, url)
        with _backend_at(port):
            assert client.get(url, timeout=httpx.Timeout(20, connect=2)).status_code == 200


# ---- abandoned dials -------------------------------------------------------------------------------------------------


def _give_up_connecting(client: httpx.Client, port: int) -> None:
    with pytest.raises(httpx.ConnectTimeout):
        client.get(f"http://127.0.0.1:{port}/", timeout=httpx.Timeout(20, connect=0.05))


def test_a_dial_ends_with_the_connect_timeout_of_its_last_caller(client: httpx.Client) -> None:
    with silent_port() as port:
        _give_up_connecting(client, port)
        until = time.monotonic() + _PATIENCE
        while attempts_at(port) > 0:
            assert time.monotonic() < until, "the dial continues"
            time.sleep(0.001)


_INTERRUPTED = """
    import os, signal, sys, threading, time, httpx
    from fast_litellm import HTTPTransport, SimpleConnectionPool

    silent, other, how = sys.argv[1:4]
    pool = SimpleConnectionPool("interrupted", max_connections=1)
    client = httpx.Client(transport=HTTPTransport(pool=pool), timeout=httpx.Timeout(20, connect=60))

    def interrupt_once_connecting():
        while pool.get_stats()["dialing_connections"] == 0 and pool.get_stats()["dials"] == 0:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    lease = pool.get_connection(silent) if how == "lease" else None
    threading.Thread(target=interrupt_once_connecting, daemon=True).start()
    try:
        if how == "lease":
            pool.request(lease, "GET", "/", timeout=(60.0, 60.0, 60.0, 60.0))
        else:
            client.get(silent)
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError("not interrupted")
    if lease is not None:
        pool.return_connection(lease)
    assert pool.get_stats()["total_connections"] == 1, pool.get_stats()
    if how == "lease":
        assert pool.get_connection(silent, timeout=0) is not None
    else:
        assert client.get(other, timeout=httpx.Timeout(20, pool=0.001)).status_code == 200
    print("served", flush=True)
"""


@pytest.mark.parametrize("how", ["request", "lease"])
def test_a_dial_that_ctrl_c_abandoned_makes_room_at_once(how: str) -> None:
    other = refusing_port()
    with silent_port() as port, _backend_at(other):
        result = child.run(_INTERRUPTED, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{other}", how)
    assert result.stdout.splitlines()[-1:] == ["served"], result.stderr
