"""Many threads, one client: every answer belongs to its request."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from blocking_transport.conftest import MakeClient
from fast_litellm import SimpleConnectionPool
from peers.nginx import Nginx

CLIENT_KINDS = ("sync",)  # of tasks, see async_transport/test_async_requests.py
THREADS = 8
REQUESTS = 2000


@pytest.mark.parametrize("url", ["plain", "tls13", "short_lived"])
def test_eight_threads_with_two_thousand_requests_each_get_their_own_answers(
    make_client: MakeClient, nginx: Nginx, new_pool: Callable[..., SimpleConnectionPool], url: str
) -> None:
    limit = 5
    pool = new_pool(max_connections_per_endpoint=limit)
    client = make_client(pool=pool)
    target = getattr(nginx.urls, url)
    before = nginx.accepted()
    begin = threading.Barrier(THREADS)

    def work(thread: int) -> list[str]:
        begin.wait()
        wrong = []
        for number in range(REQUESTS):
            path = f"/{thread}/{number}"
            text = client.get(target + path).text
            if text != f"GET {path}":
                wrong.append(f"{path}: {text}")
        return wrong

    with ThreadPoolExecutor(THREADS) as threads:
        assert [wrong for part in threads.map(work, range(THREADS)) for wrong in part] == []
    stats = pool.get_stats()
    assert stats["active_connections"] == 0
    assert stats["leases"] >= THREADS * REQUESTS
    if url != "short_lived":
        assert nginx.accepted() - before <= limit


def test_a_client_closed_under_its_threads_ends_them_all(make_client: MakeClient, nginx: Nginx) -> None:
    client = make_client()
    transport = client._transport
    working = threading.Barrier(5)
    ended: list[BaseException] = []

    def work() -> None:
        request = httpx.Request("GET", nginx.urls.plain)
        transport.handle_request(request).read()
        working.wait()
        try:
            while True:
                transport.handle_request(request).read()
        except BaseException as error:
            ended.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    working.wait()
    client.close()
    for thread in threads:
        thread.join(20)
    assert len(ended) == 4
    assert all(isinstance(error, (httpx.TransportError, RuntimeError)) for error in ended), ended
