"""Names whose addresses change. Each test runs in a process of its own, whose look-ups are recorded and answered from a
file: a line is a name and one of its addresses."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from peers import child
from peers.scripted import Connection, ScriptedServer

Serve = Callable[..., ScriptedServer]

_LOOK_UP = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void append(const char* path, const char* host) {
  FILE* noted = fopen(path, "a");
  if (noted == NULL) return;
  fprintf(noted, "%s\n", host);
  fclose(noted);
}

int getaddrinfo(const char* host, const char* service, const struct addrinfo* hints, struct addrinfo** result) {
  int (*real)(const char*, const char*, const struct addrinfo*, struct addrinfo**) = dlsym(RTLD_NEXT, "getaddrinfo");
  const char* names = getenv("TEST_NAMES");
  if (host == NULL || names == NULL || strstr(host, ".test") == NULL) return real(host, service, hints, result);
  append(getenv("TEST_LOOK_UPS"), host);
  FILE* file = fopen(names, "r");
  char name[256], address[256];
  int found = EAI_NONAME;
  struct addrinfo** end = result;
  while (file != NULL && fscanf(file, "%255s %255s", name, address) == 2) {
    if (strcmp(name, host) != 0) continue;
    found = real(address, service, hints, end);
    if (found != 0) break;
    while (*end != NULL) end = &(*end)->ai_next;
  }
  if (file != NULL) fclose(file);
  return found;
}
"""

_PROGRAM = """
    import asyncio, os, sys, threading
    import httpx
    from fast_litellm import AsyncHTTPTransport, HTTPTransport, SimpleConnectionPool, accelerate

    way, port = sys.argv[1], sys.argv[2]
    url = f"http://moved.test:{port}/"

    class Names:
        def point(self, *addresses):
            with open(os.environ["TEST_NAMES"], "w") as file:
                file.write("".join(f"moved.test {address}\\n" for address in addresses))
        def looked_up(self):
            try:
                with open(os.environ["TEST_LOOK_UPS"]) as file:
                    return len(file.readlines())
            except FileNotFoundError:
                return 0
    names = Names()
    loop = asyncio.new_event_loop()

    def make(**pool):
        if way == "stock":
            return httpx.Client(trust_env=False)
        if way == "accelerate":
            return accelerate(httpx.Client(trust_env=False), verify=True)
        shared = SimpleConnectionPool("dns", **pool)
        if way == "async":
            return httpx.AsyncClient(transport=AsyncHTTPTransport(pool=shared))
        return httpx.Client(transport=HTTPTransport(pool=shared))

    def get(client):
        try:
            # Each on a connection of its own.
            response = client.get(url, headers={"connection": "close"}, timeout=20)
            if asyncio.iscoroutine(response):
                response = loop.run_until_complete(response)
            return response.text
        except httpx.ConnectError:
            return "ConnectError"
"""


@pytest.fixture(scope="module")
def look_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler here")
    folder = tmp_path_factory.mktemp("look-up")
    (folder / "look_up.c").write_text(_LOOK_UP)
    library = folder / "look_up.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, folder / "look_up.c", "-ldl"], check=True, timeout=60)
    return library


@pytest.fixture
def server(serve: Serve) -> ScriptedServer:
    """Listens on 127.0.0.1 alone."""

    async def once(connection: Connection) -> None:
        await connection.request()
        await connection.respond(b"answered", "200 OK", "connection: close")

    return serve(once)


@pytest.fixture(params=["stock", "sync", "async", "accelerate"])
def run(
    request: pytest.FixtureRequest, look_up: Path, server: ScriptedServer, tmp_path: Path
) -> Callable[[str], list[str]]:
    """run(program) -> what it printed, by lines."""

    def run(program: str) -> list[str]:
        environment = {
            "LD_PRELOAD": str(look_up),
            "TEST_NAMES": str(tmp_path / "names"),
            "TEST_LOOK_UPS": str(tmp_path / "looked-up"),
            "FAST_LITELLM_ENABLED": "true",
        }
        port = server.url.rpartition(":")[2]
        done = child.run(_PROGRAM + program, request.param, port, environment=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def test_a_name_that_moved_is_found_by_the_next_request(run: Callable[[str], list[str]]) -> None:
    assert run("""
    client = make()
    names.point("127.0.0.1")
    print(get(client))
    names.point("127.0.0.9")  # nothing listens there
    client_2 = make()
    print(get(client_2) in ("answered", "ConnectError"))  # a kept look-up still leads to the old place
    names.point("127.0.0.1")
    for _ in range(3):
        print(get(client))
    """) == ["answered", "True", "answered", "answered", "answered"]


def test_a_server_that_moved_to_another_address_is_found_within_the_same_request(
    run: Callable[[str], list[str]],
) -> None:
    assert run("""
    client = make()
    names.point("127.0.0.9", "127.0.0.8")
    print(get(client))
    names.point("127.0.0.1")
    print(get(client))
    names.point("127.0.0.9")
    print(get(client) in ("answered", "ConnectError"))
    """) == ["ConnectError", "answered", "True"]


def test_one_look_up_serves_many_connections_unless_addresses_are_not_kept(run: Callable[[str], list[str]]) -> None:
    printed = run("""
    names.point("127.0.0.1")
    client = make()
    for _ in range(5):
        assert get(client) == "answered"
    print(names.looked_up())
    if way in ("sync", "async"):
        from fast_litellm.pool import simple_pool
        simple_pool.SimpleConnectionPool("dns").close()
        without = make(dns_lifetime=0)
        before = names.looked_up()
        for _ in range(5):
            assert get(without) == "answered"
        print(names.looked_up() - before)
    """)
    assert printed in (["5"], ["1"], ["1", "5"])  # stock; accelerated; a pool of each kind


def test_callers_whose_kept_address_is_dead_share_the_next_look_up(run: Callable[[str], list[str]]) -> None:
    printed = run("""
    names.point("127.0.0.9")
    client = make()
    assert get(client) == "ConnectError"
    names.point("127.0.0.1")
    before = names.looked_up()
    if way == "async":
        async def all_at_once():
            answers = await asyncio.gather(*(client.get(url, timeout=20) for _ in range(20)))
            return [answer.text for answer in answers]
        found = loop.run_until_complete(all_at_once())
    else:
        found = []
        threads = [threading.Thread(target=lambda: found.append(get(client))) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(set(found), names.looked_up() - before < 20 or way == "stock")
    """)
    assert printed == ["{'answered'} True"]
