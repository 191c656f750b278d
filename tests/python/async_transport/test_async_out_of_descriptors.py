"""A loop's first request when the process has no descriptor left: an error of httpx's, not a bare OSError."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from peers import child
from peers.scripted import ScriptedServer, serve_ok
from support.backends import BACKENDS

Serve = Callable[..., ScriptedServer]

_PROGRAM = """
    import errno, importlib, os, resource, sys

    backend, call, url = sys.argv[1:4]
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    httpx = importlib.import_module("httpx2" if call == "httpx2" else "httpx")
    import httpx as stock
    from fast_litellm import AsyncHTTPTransport, SimpleConnectionPool, accelerate
    from support.backends import run

    if call == "httpx2":
        client = accelerate(httpx.AsyncClient(), verify=True)
    else:
        client = httpx.AsyncClient(transport=AsyncHTTPTransport())
    pool = SimpleConnectionPool("here")

    async def main():
        taken = []
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError as error:
            assert error.errno == errno.EMFILE
        kind = stock.ConnectError if call == "arequest" else httpx.ConnectError
        try:
            await (pool.arequest(url, "GET", "/") if call == "arequest" else client.get(url))
        except kind as error:
            assert isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EMFILE
        else:
            raise AssertionError("it had a descriptor")
        for descriptor in taken:
            os.close(descriptor)
        answer = await (pool.arequest(url, "GET", "/") if call == "arequest" else client.get(url))
        assert answer.status_code == 200
        await client.aclose()

    run(backend, main)
    print("told", flush=True)
"""


@pytest.mark.parametrize("backend_name", BACKENDS)
@pytest.mark.parametrize("call", ["httpx", "httpx2", "arequest"])
def test_a_loops_first_request_without_descriptors_is_a_connect_error(
    serve: Serve, backend_name: str, call: str
) -> None:
    for name in (backend_name, call):
        if name in ("uvloop", "trio", "httpx2"):
            pytest.importorskip(name)
    enabled = {"FAST_LITELLM_ENABLED": "true"}
    result = child.run(_PROGRAM, backend_name, call, serve(serve_ok).url, environment=enabled)
    assert result.stdout == "told\n", result.stderr
