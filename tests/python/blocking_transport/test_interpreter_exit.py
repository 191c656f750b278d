"""The interpreter exits while daemon threads are in every kind of wait of the pool, repeatedly, on each Python."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from peers import child
from peers.nginx import Nginx
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]

THREADS = 2

#: A look-up of this name never ends, in a process that preloads the library below.
ENDLESS_NAME = "endless.test"
_ENDLESS_LOOK_UPS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

volatile int endless_look_ups;

int getaddrinfo(const char* node, const char* service, const struct addrinfo* hints, struct addrinfo** found) {
  if (node != NULL && strcmp(node, "endless.test") == 0) {
    __atomic_fetch_add(&endless_look_ups, 1, __ATOMIC_SEQ_CST);
    for (;;) pause();
  }
  int (*real)(const char*, const char*, const struct addrinfo*, struct addrinfo**);
  *(void**)&real = dlsym(RTLD_NEXT, "getaddrinfo");
  return real(node, service, hints, found);
}
"""

# Every wait, several threads in each. The exit comes when the pools count them all, the look-up has begun, and no
# thread is running.
_WAITING = """
    import ctypes, itertools, sys, threading, time
    import httpx
    from fast_litellm import HTTPTransport, SimpleConnectionPool

    threads_of_each = int(sys.argv[1])
    plain, tls, handshake, unanswered, ca_file = sys.argv[2:]
    unknown = "http://endless.test"
    much = b"x" * 30_000_000

    pool = SimpleConnectionPool("waiting", verify=ca_file)
    client = httpx.Client(transport=HTTPTransport(verify=ca_file, pool=pool), timeout=None)
    limited = httpx.Client(
        transport=HTTPTransport(verify=ca_file, pool=pool, limits=httpx.Limits(max_connections=1)), timeout=None
    )
    narrow = SimpleConnectionPool("narrow", max_connections_per_endpoint=1, verify=ca_file)
    narrow_client = httpx.Client(transport=HTTPTransport(verify=ca_file, pool=narrow), timeout=None)
    single = SimpleConnectionPool("single", max_connections=1, verify=ca_file)
    held = [narrow.get_connection(plain), single.get_connection(plain)]

    def request_on_a_lease(url):
        with pool.lease(url) as connection:
            connection.request("GET", "/head", timeout=None)

    def check(url):
        connection = pool.get_connection(url)
        while True:
            pool.health_check(connection)  # connects, for five seconds at most

    def read_by_pieces(url):
        with client.stream("GET", url + "/body") as response:
            for _ in response.iter_raw():
                pass

    in_exchange, on_a_lease, for_a_connection, for_a_place = [], [], [], []
    for url in (plain, tls):
        in_exchange += [
            lambda url=url: pool.request(url, "GET", "/head", timeout=None),
            lambda url=url: pool.request(url, "GET", "/body", timeout=None),
            lambda url=url: pool.request(url, "POST", "/write", content=much, timeout=None),
            lambda url=url: client.get(url + "/head"),
            lambda url=url: client.get(url + "/body"),
            lambda url=url: read_by_pieces(url),
            lambda url=url: client.post(url + "/write", content=much),
            lambda url=url: client.post(url + "/write", content=itertools.repeat(much)),
            lambda url=url: request_on_a_lease(url),
        ]
    for url in (handshake, unanswered, unknown):
        for_a_connection += [
            lambda url=url: pool.request(url, "GET", "/", timeout=None),
            lambda url=url: client.get(url),
            lambda url=url: pool.warm(url, 2, timeout=None),
        ]
        on_a_lease += [lambda url=url: request_on_a_lease(url), lambda url=url: check(url)]
    for_a_connection += [
        lambda: narrow.get_connection(plain, timeout=None),
        lambda: narrow.request(plain, "GET", "/", timeout=None),
        lambda: narrow_client.get(plain),
        lambda: single.get_connection(plain, timeout=None),
        lambda: single.request(tls, "GET", "/", timeout=None),
    ]
    for_a_place += [lambda: limited.get(plain + "/head")]

    threads = [
        threading.Thread(target=wait, daemon=True)
        for wait in in_exchange + on_a_lease + for_a_connection + for_a_place
        for _ in range(threads_of_each)
    ]
    for thread in threads:
        thread.start()

    look_ups = ctypes.c_int.in_dll(ctypes.CDLL(None), "endless_look_ups")

    def asleep(thread):
        with open(f"/proc/self/task/{thread.native_id}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "S"

    def all_wait():
        stats = pool.get_stats()
        waiters = sum(each.get_stats()["waiters"] for each in (pool, narrow, single))
        return (
            stats["active_connections"] >= len(in_exchange + on_a_lease) * threads_of_each + 1
            and waiters >= len(for_a_connection) * threads_of_each
            and look_ups.value > 0
            and all(asleep(thread) for thread in threads)
        )

    while not all_wait():
        time.sleep(0.001)
    assert all(thread.is_alive() for thread in threads)
    print("exiting", flush=True)
"""

# Threads that come and go between Python and the pool as fast as they can, by every way that there is.
_WORKING = """
    import itertools, sys, threading
    import httpx
    from fast_litellm import HTTPTransport, SimpleConnectionPool

    threads_of_each = int(sys.argv[1])
    url, refused, ca_file = sys.argv[2:]
    pool = SimpleConnectionPool("working", verify=ca_file)
    client = httpx.Client(transport=HTTPTransport(verify=ca_file, pool=pool))
    limited = httpx.Client(transport=HTTPTransport(verify=ca_file, pool=pool, limits=httpx.Limits(max_connections=1)))
    narrow = SimpleConnectionPool("narrow", max_connections_per_endpoint=1, verify=ca_file)
    held = narrow.get_connection(url)
    names = itertools.count()

    def stop_half_way():
        with client.stream("GET", url):
            pass

    def fail(call):
        try:
            call()
        except httpx.TransportError:
            pass

    def lease():
        connection = pool.get_connection(url)
        assert pool.health_check(connection)
        pool.request(connection, "GET", "/")
        pool.return_connection(connection)

    def warm():
        pool.warm(url, 2)
        pool.remove_connection(pool.get_connection(url))

    def close_a_pool():
        brief = SimpleConnectionPool(f"brief {next(names)}", verify=ca_file)
        brief.request(url, "GET", "/")
        brief.close()

    def drop_a_pool():
        transport = HTTPTransport(verify=ca_file)
        transport.handle_request(httpx.Request("GET", url)).read()

    ways = [
        lambda: pool.request(url, "GET", "/"),
        lambda: client.get(url),
        lambda: limited.get(url),
        stop_half_way,
        lambda: fail(lambda: client.get(refused)),
        lambda: fail(lambda: narrow.request(url, "GET", "/", timeout=0.0005)),
        lambda: narrow.get_connection(url, timeout=0.0005),
        lease,
        warm,
        close_a_pool,
        drop_a_pool,
    ]
    begun = threading.Barrier(len(ways) * threads_of_each + 1)

    def forever(call):
        call()
        begun.wait()
        while True:
            call()

    for call in ways:
        for _ in range(threads_of_each):
            threading.Thread(target=forever, args=[call], daemon=True).start()
    begun.wait()
    print("exiting", flush=True)
"""


def _exits_in_order(
    program: str,
    python: str,
    *arguments: str,
    environment: dict[str, str] | None = None,
    after_each: Callable[[], None] = lambda: None,
) -> None:
    runs = child.exit_runs()
    for run in range(1, runs + 1):
        done = child.run(program, str(THREADS), *arguments, python=python, environment=environment)
        after_each()
        ended = (done.returncode, done.stdout, done.stderr)
        assert ended == (0, "exiting\n", ""), f"run {run} of {runs}: {done.returncode}\n{done.stderr}"
        if run % 50 == 0:
            print(f"  {run} of {runs}", flush=True)


@pytest.fixture(scope="session")
def endless_look_ups(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process in which the look-up of one name never ends."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    library = tmp_path_factory.mktemp("look-ups") / "endless.so"
    command = [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(library), "-ldl"]
    subprocess.run(command, input=_ENDLESS_LOOK_UPS, text=True, check=True)
    return {"LD_PRELOAD": str(library)}


@pytest.fixture
def unanswered() -> Iterator[str]:
    """A URL whose host does not answer: the kernel drops what does not fit into the queue of a listener."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            one = sockets.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def refused() -> Iterator[str]:
    """A URL whose port is taken but not listened on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("python", child.pythons())
def test_waiting_threads_do_not_block_the_exit(
    serve: Serve, certificates: Certificates, unanswered: str, endless_look_ups: dict[str, str], python: str
) -> None:
    ends = [Gate()]

    def end() -> None:  # of what that run's connections hold
        ends.pop().open()
        ends.append(Gate())

    async def script(connection: Connection) -> None:
        first = await connection.receive(8)
        if first.startswith(b"POST"):
            connection.pause()
        elif first.startswith(b"GET /bod"):
            await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        await ends[-1].passed()

    plain, tls = serve(script).url, serve(script, tls=certificates.server).url
    handshake = plain.replace("http:", "https:")
    arguments = [plain, tls, handshake, unanswered, str(certificates.ca_file)]
    _exits_in_order(_WAITING, python, *arguments, environment=endless_look_ups, after_each=end)


@pytest.mark.parametrize("python", child.pythons())
@pytest.mark.parametrize("url", ["plain", "tls13", "short_lived"])
def test_threads_in_requests_do_not_block_the_exit(
    nginx: Nginx, certificates: Certificates, refused: str, python: str, url: str
) -> None:
    _exits_in_order(_WORKING, python, getattr(nginx.urls, url), refused, str(certificates.ca_file))


@pytest.mark.parametrize("python", child.pythons())
def test_exit_handlers_may_make_requests_and_join_threads_that_wait_for_an_answer(serve: Serve, python: str) -> None:
    last = Gate()

    async def script(connection: Connection) -> None:
        while True:
            request = await connection.request()
            if request.target == "/thread":
                await last.passed()
            else:
                last.open()
            await connection.respond(request.target.encode())

    program = """
        import atexit, sys, threading

        @atexit.register  # before the import: so it runs after whatever the package does at exit
        def goodbye():
            answers.append(pool.request(url, "GET", "/exit").text)
            thread.join()
            print(*sorted(answers))

        from fast_litellm import SimpleConnectionPool

        url = sys.argv[1]
        answers = []
        pool = SimpleConnectionPool()
        thread = threading.Thread(target=lambda: answers.append(pool.request(url, "GET", "/thread").text), daemon=True)
        thread.start()
        while not pool.get_stats()["active_connections"]:
            pass
    """
    done = child.run(program, serve(script).url, python=python)
    assert (done.returncode, done.stdout, done.stderr) == (0, "/exit /thread\n", "")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_connections_are_closed_at_exit(serve: Serve, certificates: Certificates, tls: bool) -> None:
    program = """
        import sys
        from fast_litellm import SimpleConnectionPool
        pool = SimpleConnectionPool(verify=sys.argv[2])
        for _ in range(3):
            assert pool.request(sys.argv[1], "GET", "/").text == "GET /"
        lease = pool.lease(sys.argv[1])
        lease.__enter__()
    """
    server = serve(serve_ok, tls=certificates.server if tls else None)
    done = child.run(program, server.url, str(certificates.ca_file))
    assert (done.returncode, done.stderr) == (0, "")
    server.wait_until(lambda counts: counts.open == 0, "the connections close")
