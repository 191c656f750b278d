"""Every test of HTTP/2 that has a client runs over httpx's own transport and over ours, blocking and asynchronous."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from anyio.from_thread import BlockingPortal

from blocking_transport.conftest import tinyproxy  # noqa: F401  a fixture
from peers.http2 import OPTIONAL, SERVERS, Http2Server
from peers.http2_scripted import http2_context
from peers.proxies import Tinyproxy
from peers.scripted import Script, ScriptedServer
from support.blocking import BlockingTransport
from support.certificates import Certificates
from support.http2 import ENGINES, MODES, new_transport, why_skipped

MakeClient = Callable[..., httpx.Client]
MakeTransport = Callable[..., httpx.AsyncBaseTransport]


#: Seconds, more than any program that a test runs may take. Only a failing test takes that long: httpx's transport can
#: wait for a stream without a limit.
PATIENCE = 300


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """A test that hangs fails."""

    def hung(signum: int, stack: Any) -> None:
        raise AssertionError(f"the test had not ended after {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(PATIENCE)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Whose transport: "stock", httpx's own, or "ours". `OURS_ALONE` marks the tests that ask ours alone."""
    name: str = request.param
    if reason := why_skipped(name):
        pytest.skip(reason)
    return name


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """Which transport is below the blocking client: the blocking one, or the asynchronous one on a loop in another
    thread."""
    name: str = request.param
    return name


@pytest.fixture
def make_client(
    request: pytest.FixtureRequest, engine: str, mode: str, certificates: Certificates
) -> Iterator[MakeClient]:
    """make_client(**arguments of the transport); trusts the tests' authority by default. At the end of the test its
    clients may use no connection."""
    made: list[tuple[httpx.Client, Any]] = []

    def make(*, timeout: Any = 20.0, **arguments: Any) -> httpx.Client:
        arguments.setdefault("verify", str(certificates.ca_file))
        transport = new_transport(engine, mode, **arguments)
        if mode == "async":
            portal: BlockingPortal = request.getfixturevalue("portal")
            transport = BlockingTransport(portal, transport)
        made.append((httpx.Client(transport=transport, timeout=timeout), transport))
        return made[-1][0]

    yield make
    leased = []
    for client, transport in made:
        gc.collect()  # responses that the test dropped
        if engine == "ours":
            leased += [each for each in transport._pool.connections if not each.is_idle()]
        client.close()
    assert leased == [], "connections are still leased after the test"


@dataclass(frozen=True)
class Origin:
    """Where a real server listens."""

    server: str
    url: str

    @property
    def arguments(self) -> dict[str, Any]:
        """A transport's, so that it speaks HTTP/2 there: by ALPN, or with prior knowledge."""
        return {"http2": True, "http1": self.url.startswith("https:")}


@pytest.fixture(scope="session")
def http2_servers(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[Callable[[str], Http2Server]]:
    """http2_servers(name): one of peers.http2, which runs until the end of the session."""
    started: dict[str, Http2Server | str] = {}
    with ExitStack() as stack:

        def start(name: str) -> Http2Server:
            if name not in started:
                server = SERVERS[name](tmp_path_factory.mktemp(name), certificates)
                missing = name in OPTIONAL and server.missing()
                started[name] = f"machine: {missing}" if missing else stack.enter_context(server)
            found = started[name]
            if isinstance(found, str):
                pytest.skip(found)
            return found

        yield start


@pytest.fixture
def origin(request: pytest.FixtureRequest, http2_servers: Callable[[str], Http2Server]) -> Origin:
    """The origin that the parameter names, "nginx https" or "go http"."""
    name, scheme = request.param.split()
    server = http2_servers(name)
    return Origin(name, server.https if scheme == "https" else server.http)


@pytest.fixture
def route(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A transport's arguments for the way to the origin that the parameter names: "direct", or "tunnel" for a tunnel
    through tinyproxy. `DIRECT_OR_TUNNEL` is the marker of a test of both."""
    if getattr(request, "param", "direct") == "direct":
        return {}
    proxy: Tinyproxy = request.getfixturevalue("tinyproxy")
    return {"proxy": proxy.url_with_credentials}


@pytest.fixture
def client(make_client: MakeClient, origin: Origin) -> httpx.Client:
    """A client that speaks HTTP/2 to the origin."""
    return make_client(**origin.arguments)


@pytest.fixture
def serve_tls(certificates: Certificates) -> Iterator[Callable[..., ScriptedServer]]:
    """serve_tls(script) starts a scripted HTTP/2 server over TLS for this test."""
    with ExitStack() as servers:

        def start(script: Script) -> ScriptedServer:
            return servers.enter_context(ScriptedServer(script, tls=http2_context(certificates.server)))

        yield start
