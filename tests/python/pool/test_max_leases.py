"""The limit on requests and leases to one origin: set_max_leases() and usage()."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from fast_litellm import AsyncHTTPTransport, HTTPTransport, SimpleConnectionPool
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok, until

Serve = Callable[..., ScriptedServer]
NewPool = Callable[..., SimpleConnectionPool]


class Counted:
    """A script that counts the requests it has at once, and answers them when the gate is open."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.now = self.most = 0

    async def __call__(self, connection: Connection) -> None:
        while True:
            await connection.request()
            self.now += 1
            self.most = max(self.most, self.now)
            await self.gate.passed()
            self.now -= 1
            await connection.respond(b"ok")


def test_no_more_requests_are_under_way_than_the_limit(new_pool: NewPool, serve: Serve) -> None:
    counted = Counted()
    url = serve(counted).url
    pool = new_pool()
    pool.set_max_leases(url, 2)
    with ThreadPoolExecutor(6) as threads:
        answers = [threads.submit(pool.request, url, "GET", "/", timeout=20) for _ in range(6)]
        until(lambda: counted.now == 2 and pool.usage(url) == (2, 4))
        counted.gate.open()
        assert [answer.result().status_code for answer in answers] == [200] * 6
    assert counted.most == 2
    assert pool.usage(url) == (0, 0)


def test_tasks_threads_and_leases_share_the_limit(new_pool: NewPool, serve: Serve) -> None:
    counted = Counted()
    url = serve(counted).url
    pool = new_pool()
    pool.set_max_leases(url, 2)
    held = pool.get_connection(url)
    assert held is not None
    assert pool.usage(url) == (1, 0)

    async def ask(count: int) -> list[int]:
        async with httpx.AsyncClient(transport=AsyncHTTPTransport(pool=pool), timeout=20) as client:
            return [response.status_code for response in await asyncio.gather(*(client.get(url) for _ in range(count)))]

    with ThreadPoolExecutor(3) as threads:
        from_tasks = threads.submit(asyncio.run, ask(3))
        from_thread = threads.submit(pool.request, url, "GET", "/", timeout=20)
        until(lambda: pool.usage(url) == (2, 3))
        assert pool.get_connection(url) is None
        counted.gate.open()
        assert from_tasks.result() == [200] * 3
        assert from_thread.result().status_code == 200
    assert counted.most == 1
    assert pool.return_connection(held)
    assert pool.usage(url) == (0, 0)
    assert not pool.return_connection(held)
    assert pool.usage(url) == (0, 0)


@pytest.mark.parametrize("ended_by", ["return_connection", "remove_connection"])
def test_a_lease_takes_its_place_until_it_ends(new_pool: NewPool, serve: Serve, ended_by: str) -> None:
    url = serve(serve_ok).url
    pool = new_pool()
    pool.set_max_leases(url, 1)
    held = pool.get_connection(url)
    assert held is not None
    with pytest.raises(httpx.PoolTimeout, match="limit on leases of this origin"):
        httpx.Client(transport=HTTPTransport(pool=pool), timeout=httpx.Timeout(20, pool=0.02)).get(url)
    assert pool.get_connection(url, timeout=0.02) is None
    assert pool.request(held, "GET", "/", timeout=20).status_code == 200
    assert getattr(pool, ended_by)(held)
    assert pool.request(url, "GET", "/", timeout=20).status_code == 200


def test_an_awaited_lease_waits_for_its_place(new_pool: NewPool, serve: Serve) -> None:
    url = serve(serve_ok).url
    pool = new_pool()
    pool.set_max_leases(url, 1)

    async def both() -> None:
        async with pool.lease(url):
            assert pool.usage(url) == (1, 0)
            waiting = asyncio.create_task(take())
            while pool.usage(url) != (1, 1):
                await asyncio.sleep(0)
        await asyncio.wait_for(waiting, 20)

    async def take() -> None:
        async with pool.lease(url) as lease:
            assert (await lease.request("GET", "/", timeout=20)).status_code == 200

    asyncio.run(both())
    assert pool.usage(url) == (0, 0)


def test_a_cancelled_request_takes_no_place_with_it(new_pool: NewPool, serve: Serve) -> None:
    counted = Counted()
    url = serve(counted).url
    pool = new_pool()
    pool.set_max_leases(url, 1)

    async def cancel_one_of_each() -> None:
        under_way = asyncio.create_task(pool.arequest(url, "GET", "/"))
        while pool.usage(url) != (1, 0):
            await asyncio.sleep(0)
        waiting = asyncio.create_task(pool.arequest(url, "GET", "/"))
        while pool.usage(url) != (1, 1):
            await asyncio.sleep(0)
        for task in (waiting, under_way):
            task.cancel()
        await asyncio.gather(waiting, under_way, return_exceptions=True)

    asyncio.run(cancel_one_of_each())
    assert pool.usage(url) == (0, 0)
    counted.gate.open()
    assert pool.request(url, "GET", "/", timeout=20).status_code == 200


def test_with_0_all_wait_and_with_none_nobody_does(new_pool: NewPool, serve: Serve) -> None:
    url = serve(serve_ok).url
    pool = new_pool()
    pool.set_max_leases(url, 0)
    with ThreadPoolExecutor(3) as threads:
        answers = [threads.submit(pool.request, url, "GET", "/", timeout=20) for _ in range(3)]
        until(lambda: pool.usage(url) == (0, 3))
        pool.set_max_leases(url, None)
        assert [answer.result().status_code for answer in answers] == [200] * 3


def test_nothing_begins_after_the_time_of_a_limit(new_pool: NewPool, serve: Serve) -> None:
    url = serve(serve_ok).url
    pool = new_pool()
    pool.set_max_leases(url, 5, valid_for=0)
    assert pool.get_connection(url) is None
    pool.set_max_leases(url, 5, valid_until=time.clock_gettime(time.CLOCK_BOOTTIME) - 1)
    assert pool.get_connection(url) is None
    pool.set_max_leases(url, 5, valid_for=60)
    lease = pool.get_connection(url)
    assert lease is not None
    assert pool.return_connection(lease)
    pool.set_max_leases(url, 5, valid_until=time.clock_gettime(time.CLOCK_BOOTTIME) + 60)
    lease = pool.get_connection(url)
    assert lease is not None
    assert pool.return_connection(lease)
    with pytest.raises(ValueError, match="not both"):
        pool.set_max_leases(url, 5, valid_for=1, valid_until=1)


def test_other_origins_have_no_limit(new_pool: NewPool, serve: Serve) -> None:
    pool = new_pool()
    pool.set_max_leases(serve(serve_ok).url, 0)
    other = serve(serve_ok).url
    assert pool.request(other, "GET", "/", timeout=20).status_code == 200
    assert pool.usage(other) == (0, 0)


def test_the_child_of_a_fork_begins_with_no_place(new_pool: NewPool, serve: Serve) -> None:
    url = serve(serve_ok).url
    pool = new_pool()
    pool.set_max_leases(url, 5)
    assert pool.request(url, "GET", "/", timeout=20).status_code == 200
    child = os.fork()
    if child == 0:
        code = 1
        signal.alarm(120)  # if it hangs
        try:
            if pool.get_connection(url) is None:
                pool.set_max_leases(url, 1)
                code = 0 if pool.request(url, "GET", "/", timeout=60).status_code == 200 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pool.request(url, "GET", "/", timeout=20).status_code == 200


@pytest.mark.parametrize("wrong", [-1, 2**32, 1.5, "5"])
def test_a_wrong_number_is_refused(new_pool: NewPool, wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        new_pool().set_max_leases("http://127.0.0.1:1", wrong)


def test_a_wrong_origin_is_refused(new_pool: NewPool) -> None:
    with pytest.raises(ValueError, match="scheme"):
        new_pool().set_max_leases("127.0.0.1", 1)
