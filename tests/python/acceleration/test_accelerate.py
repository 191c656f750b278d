"""`fast_litellm.accelerate`: any httpx client through the pool, with the settings that it was made with."""

from __future__ import annotations

import asyncio
import functools
import resource
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import fast_litellm
from fast_litellm.acceleration import shortcuts
from fast_litellm.acceleration.stock_settings import HTTP2_BY_CONTEXT
from fast_litellm.acceleration.transports import AcceleratedTransport
from peers.scripted import Connection, Crowd, Gate, ScriptedServer, serve_ok, until
from support.certificates import Certificates

#: These clients verify nothing: said, so that the pool does TLS itself.
accelerate: Any = functools.partial(fast_litellm.accelerate, verify=False)


class Carried:
    """Requests that the process-wide pool carried, and what the status counted, since this was made."""

    def __init__(self) -> None:
        self._requests = self._now()
        self._status = fast_litellm.get_patch_status()

    @staticmethod
    def _now() -> int:
        return int(fast_litellm.get_performance_stats()["pool"]["requests"])

    @property
    def requests(self) -> int:
        return self._now() - self._requests

    @property
    def clients(self) -> int:
        return int(fast_litellm.get_patch_status()["accelerated_clients"] - self._status["accelerated_clients"])

    def reasons(self, key: str = "fallback_reasons") -> dict[str, int]:
        now, before = fast_litellm.get_patch_status()[key], self._status[key]
        # "bare httpx" is counted when a client is constructed, if another test has loaded an SDK, and so the patch.
        return {
            name: count - before.get(name, 0)
            for name, count in now.items()
            if count != before.get(name, 0) and name != "bare httpx"
        }


@pytest.fixture
def carried() -> Carried:
    return Carried()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(serve_ok) as running:
        yield running


class Kind:
    """httpx.Client or httpx.AsyncClient, asked in the same way."""

    def __init__(self, name: str) -> None:
        self.asynchronous = name == "async"
        self.client: Any = httpx.AsyncClient if self.asynchronous else httpx.Client
        self.transport: Any = httpx.AsyncHTTPTransport if self.asynchronous else httpx.HTTPTransport

    def make(self, **arguments: Any) -> Any:
        return self.client(**{"trust_env": False, "verify": False, "timeout": 20.0, **arguments})

    def ask(self, client: Any, *urls: str) -> list[Any]:
        """Sends a GET to each URL, then closes the client. Returns the responses or errors."""
        if not self.asynchronous:
            with client:
                return [_outcome(lambda url=url: client.get(url)) for url in urls]

        async def run() -> list[Any]:
            async with client:
                answers: list[Any] = []
                for url in urls:
                    try:
                        answers.append(await client.get(url))
                    except httpx.HTTPError as error:
                        answers.append(error)
                return answers

        return asyncio.run(run())


def _outcome(get: Callable[[], httpx.Response]) -> Any:
    try:
        return get()
    except httpx.HTTPError as error:
        return error


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return Kind(request.param)


def test_a_clients_requests_go_through_the_pool_and_it_gets_the_shortcuts(
    kind: Kind, server: ScriptedServer, carried: Carried
) -> None:
    client = kind.make(headers={"X-Own": "1"})
    assert accelerate(client) is client
    assert shortcuts.names_on(client) == tuple(shortcuts.SHORTCUTS)
    assert "AcceleratedTransport" in repr(client._transport)
    answers = kind.ask(client, f"{server.url}/a", f"{server.url}/b")
    assert [answer.text for answer in answers] == ["GET /a", "GET /b"]
    assert carried.requests == 2
    assert carried.clients == 1
    assert carried.reasons() == {}
    assert server.connections == 1
    assert server.requests[0].header("x-own") == "1"


def test_accelerating_a_client_twice_changes_nothing(kind: Kind, server: ScriptedServer, carried: Carried) -> None:
    client = accelerate(kind.make())
    transport, quick = client._transport, type(client)
    accelerate(client)
    assert client._transport is transport
    assert type(client) is quick
    assert carried.clients == 1
    kind.ask(client, server.url)


def test_a_client_with_the_pools_transport_gets_the_shortcuts_only(server: ScriptedServer, carried: Carried) -> None:
    transport = fast_litellm.HTTPTransport(verify=False)
    with accelerate(httpx.Client(transport=transport)) as client:
        assert client._transport is transport
        assert shortcuts.names_on(client)
        assert client.get(server.url).status_code == 200
    assert carried.clients == 0


def test_connections_that_the_client_had_are_closed(kind: Kind, server: ScriptedServer) -> None:
    if kind.asynchronous:

        async def run() -> None:
            async with kind.make() as client:
                await client.get(server.url)
                accelerate(client)
                assert (await client.get(server.url)).status_code == 200
                await asyncio.to_thread(server.wait_until, lambda counts: counts.open == 1, "the old one closed")

        asyncio.run(run())
    else:
        with kind.make() as client:
            client.get(server.url)
            accelerate(client)
            server.wait_until(lambda counts: counts.open == 0, "the old one closed")
            assert client.get(server.url).status_code == 200
    assert server.connections == 2


def test_a_response_under_way_is_not_disturbed_and_its_connection_closed_after_it() -> None:
    gate = Gate()

    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            if connection.number == 1:
                await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab")
                await gate.passed()
                await connection.send(b"cd")
            else:
                await connection.respond(b"ok")

    with ScriptedServer(script) as server, httpx.Client(trust_env=False, verify=False) as client:
        with client.stream("GET", server.url) as answer:
            accelerate(client)
            assert client.get(server.url).content == b"ok"
            assert server.counts.open == 2
            gate.open()
            assert answer.read() == b"abcd"
        assert client.get(server.url).content == b"ok"
        server.wait_until(lambda counts: counts.open == 1, "the old one closed")
        assert server.connections == 2


def test_limits_bound_the_connections_that_the_client_uses_at_once(kind: Kind, carried: Carried) -> None:
    gate = Gate()

    async def script(connection: Connection) -> None:
        await connection.request()
        await gate.passed()
        await connection.respond(b"late")

    with ScriptedServer(script) as server:
        limits = httpx.Limits(max_connections=1)
        client = accelerate(kind.make(limits=limits, timeout=httpx.Timeout(20.0, pool=0.05)))
        outcomes: list[Any] = []
        if kind.asynchronous:

            async def run() -> None:
                async with client:
                    first = asyncio.create_task(client.get(server.url))
                    await asyncio.to_thread(server.wait_until, lambda counts: counts.open == 1, "the first")
                    with pytest.raises(httpx.PoolTimeout):
                        await client.get(server.url)
                    gate.open()
                    outcomes.append((await first).content)

            asyncio.run(run())
        else:
            with client:
                thread = threading.Thread(target=lambda: outcomes.append(client.get(server.url).content))
                thread.start()
                server.wait_until(lambda counts: counts.open == 1, "the first")
                with pytest.raises(httpx.PoolTimeout):
                    client.get(server.url)
                gate.open()
                thread.join()
        assert outcomes == [b"late"]
    assert carried.reasons() == {}


def test_keepalive_limits_bind_the_client(kind: Kind, carried: Carried) -> None:
    with ScriptedServer(serve_ok) as first, ScriptedServer(serve_ok) as second:
        client = accelerate(kind.make(limits=httpx.Limits(max_keepalive_connections=1)))
        answers = kind.ask(client, first.url, second.url, second.url)
        assert [answer.content for answer in answers] == [b"GET /"] * 3
        first.wait_until(lambda counts: counts.open == 0, "the longest idle one close")
        assert second.connections == 1
    assert carried.reasons() == {}


@pytest.mark.parametrize(
    "limits",
    [
        httpx.Limits(max_keepalive_connections=0),
        httpx.Limits(keepalive_expiry=0),
        httpx.Limits(keepalive_expiry=0.05),
    ],
    ids=["no connections", "no time", "a short time"],
)
def test_a_client_without_keepalive_leaves_no_connection_open(
    kind: Kind, carried: Carried, limits: httpx.Limits
) -> None:
    with ScriptedServer(serve_ok) as server:
        client = accelerate(kind.make(limits=limits))
        answers = kind.ask(client, server.url, server.url)
        assert [answer.content for answer in answers] == [b"GET /"] * 2
        server.wait_until(lambda counts: counts.open == 0, "all connections close")
        if limits.keepalive_expiry != 0.05:
            assert server.connections == 2
    assert carried.reasons() == {}


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Enough for client and server of 520 connections, whatever the shell allows."""
    wanted = 4 * 520
    descriptors, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < wanted:
        pytest.skip(f"machine: no process may have {wanted} descriptors")
    if descriptors != resource.RLIM_INFINITY and descriptors < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, most))


@pytest.mark.usefixtures("many_descriptors")
def test_a_client_may_have_more_than_500_connections_to_one_server_if_its_limits_allow_it(carried: Carried) -> None:
    size = 520

    async def run(client: Any, url: str) -> list[str]:
        async with client:
            answers = await asyncio.gather(*(client.get(f"{url}/{number}") for number in range(size)))
            return [answer.text for answer in answers]

    with ScriptedServer(Crowd(size)) as server:
        client = accelerate(
            Kind("async").make(
                limits=httpx.Limits(max_connections=1000, max_keepalive_connections=900), timeout=httpx.Timeout(60.0)
            )
        )
        assert asyncio.run(run(client, server.url)) == [f"/{number}" for number in range(size)]
        assert server.counts.most_open == size
    assert carried.reasons() == {}


def test_a_unix_socket_stays_one(tmp_path: Path, carried: Carried) -> None:
    path = str(tmp_path / "socket")
    answered = threading.Event()

    async def serve(ready: threading.Event) -> None:
        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nunix")
            await writer.drain()
            writer.close()
            answered.set()

        async with await asyncio.start_unix_server(accepted, path):
            ready.set()
            while not answered.is_set():
                await asyncio.sleep(0.005)

    ready = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serve(ready)))
    thread.start()
    assert ready.wait(20)
    transport = httpx.HTTPTransport(uds=path, verify=False)
    with accelerate(httpx.Client(transport=transport)) as client:
        assert client.get("http://anything/").text == "unix"
    thread.join()
    assert carried.requests == 1


def test_the_local_address_and_socket_options_stay(server: ScriptedServer, carried: Carried) -> None:
    import socket

    options = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)]
    transport = httpx.HTTPTransport(local_address="127.0.0.1", socket_options=options, retries=1, verify=False)
    with (
        accelerate(httpx.Client(transport=transport)) as client,
        client.stream("GET", server.url) as answer,
    ):
        duplicate = answer.extensions["network_stream"].get_extra_info("socket")
        with duplicate:
            assert duplicate.getsockname()[0] == "127.0.0.1"
            assert duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * 65536
    assert carried.requests == 1


def test_mounted_transports_are_replaced_those_of_proxies_included(kind: Kind, carried: Carried, server: Any) -> None:
    proxy = kind.transport(proxy="http://127.0.0.1:1", verify=False)
    given = httpx.MockTransport(lambda request: httpx.Response(200, text="mocked"))
    shared = kind.transport(verify=False)
    client = kind.make(
        mounts={
            "http://proxied": proxy,
            "http://mocked": given,
            "http://a": shared,
            "http://b": shared,
            "http://c": None,
        }
    )
    accelerate(client)
    mounts = {pattern.pattern: transport for pattern, transport in client._mounts.items()}
    assert type(mounts["http://proxied"]) is type(mounts["http://a"])
    assert mounts["http://mocked"] is given
    assert mounts["http://a"] is mounts["http://b"] is not shared
    assert mounts["http://c"] is None
    assert list(mounts) == [pattern.pattern for pattern in sorted(client._mounts)]
    assert carried.reasons() == {"transport given": 1}
    assert carried.clients == 1
    answers = kind.ask(client, "http://mocked/", server.url)
    assert [answer.text for answer in answers] == ["mocked", "GET /"]


def _instrumented(transport: Any) -> Any:
    name = "handle_async_request" if isinstance(transport, httpx.AsyncHTTPTransport) else "handle_request"
    setattr(transport, name, getattr(transport, name))
    return transport


_STAYS: dict[str, tuple[Callable[[Kind], dict[str, Any]], str]] = {
    "a transport of the user's": (lambda kind: {"transport": httpx.MockTransport(httpx.Response)}, "transport given"),
    "a transport with an attribute of the user's": (
        lambda kind: {"transport": _instrumented(kind.transport(verify=False))},
        "transport given",
    ),
    "a subclass": (lambda kind: {"transport": type("Own", (kind.transport,), {})(verify=False)}, "transport given"),
    "no HTTP/1.1": (lambda kind: {"transport": kind.transport(http1=False, verify=False)}, "http1 disabled"),
    "socket options that the pool does not know": (
        lambda kind: {"transport": kind.transport(socket_options=[(1, 2, None, 3)], verify=False)},
        "refused: NotOffered",
    ),
    "no connection at all": (lambda kind: {"limits": httpx.Limits(max_connections=0)}, "refused: ValueError"),
}


@pytest.mark.parametrize("name", _STAYS)
def test_a_transport_that_cannot_be_replaced_stays_stock_and_is_counted(
    name: str, kind: Kind, carried: Carried
) -> None:
    arguments, reason = _STAYS[name]
    client = kind.make(**arguments(kind))
    transport, stock_class = client._transport, type(client)
    assert accelerate(client) is client
    assert client._transport is transport
    assert type(client) is stock_class
    assert carried.clients == 0
    assert [reported.startswith(reason) for reported in carried.reasons()] == [True]


def test_a_client_for_http2_is_accelerated_where_the_pool_can_share_its_connections(
    kind: Kind, carried: Carried
) -> None:
    """A blocking one whose own context does TLS is not: threads would run its code at the same time."""
    pytest.importorskip("h2")
    client = kind.make(transport=kind.transport(http2=True, verify=False))
    transport = client._transport
    fast_litellm.accelerate(client)  # with its own context
    if kind.asynchronous:
        assert client._transport is not transport
        assert carried.clients == 1
    else:
        assert client._transport is transport
        assert carried.reasons() == {HTTP2_BY_CONTEXT: 1}
        accelerate(client)
        assert client._transport is not transport


def test_with_the_package_off_nothing_changes(kind: Kind, monkeypatch: pytest.MonkeyPatch, carried: Carried) -> None:
    monkeypatch.setenv("FAST_LITELLM_ENABLED", "false")
    client = kind.make()
    transport = client._transport
    assert accelerate(client)._transport is transport
    assert shortcuts.names_on(client) == ()
    assert carried.reasons() == {"FAST_LITELLM_ENABLED is false": 1}


def test_a_closed_client_stays_as_it_is(carried: Carried) -> None:
    client = httpx.Client(verify=False)
    client.close()
    transport = client._transport
    assert accelerate(client)._transport is transport
    assert carried.reasons() == {"the client is closed": 1}


@pytest.mark.parametrize(
    "thing", [object(), httpx.Client, httpx.HTTPTransport(verify=False)], ids=["object", "class", "transport"]
)
def test_an_object_that_is_not_a_client_is_refused(thing: Any) -> None:
    with pytest.raises(TypeError, match=r"accelerate takes an httpx\.Client or an httpx\.AsyncClient, not "):
        accelerate(thing)


def test_a_mock_is_respected(server: ScriptedServer, carried: Carried) -> None:
    respx = pytest.importorskip("respx")
    with accelerate(httpx.Client(trust_env=False, verify=False)) as client:
        with respx.mock(using="httpcore") as router:
            router.get(server.url).respond(text="mocked")
            assert client.get(server.url).text == "mocked"
        assert client.get(server.url).text == "GET /"
    assert carried.requests == 1
    assert carried.reasons("requests_stock") == {"instrumented": 1}


def test_a_client_accelerated_with_verify_uses_the_pools_own_tls(
    kind: Kind, certificates: Certificates, carried: Carried
) -> None:
    with ScriptedServer(serve_ok, tls=certificates.server) as server:
        context = ssl.create_default_context(cafile=certificates.ca_file)
        url = server.url.replace("127.0.0.1", "localhost")
        for _ in range(3):
            client = fast_litellm.accelerate(kind.make(verify=context), verify=str(certificates.ca_file))
            assert [answer.text for answer in kind.ask(client, url)] == ["GET /"]
        assert carried.requests == 3
        assert server.connections == 1


def test_the_clients_own_context_does_tls(kind: Kind, certificates: Certificates, carried: Carried) -> None:
    """With its client certificate, which cannot be read from it."""
    client_certificate = certificates.client
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificates.server.certificate, certificates.server.key)
    server_side.load_verify_locations(certificates.ca_file)
    server_side.verify_mode = ssl.CERT_REQUIRED
    context = ssl.create_default_context(cafile=certificates.ca_file)
    context.load_cert_chain(client_certificate.certificate, client_certificate.key)
    client = fast_litellm.accelerate(kind.make(verify=context))
    with ScriptedServer(serve_ok, tls=server_side) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        assert [answer.text for answer in kind.ask(client, url)] == ["GET /"]
    assert carried.requests == 1


def test_the_stock_transport_closes_with_the_client(server: ScriptedServer) -> None:
    respx = pytest.importorskip("respx")
    client = accelerate(httpx.Client(trust_env=False, verify=False))
    assert isinstance(client._transport, AcceleratedTransport)
    with respx.mock(using="httpcore", assert_all_called=False) as router:
        router.route().pass_through()
        client.get(server.url)
    assert server.counts.open == 1
    client.close()
    until(lambda: server.counts.open == 0)


def test_names_of_pools_are_not_taken(kind: Kind) -> None:
    """The process-wide pool, not one per client."""
    name = str(uuid.uuid4())
    client = accelerate(kind.make(headers={"X": name}))
    assert "pool 'default'" in repr(client._transport)


@pytest.mark.parametrize("name", ["Client", "AsyncClient"])
def test_httpx2s_clients_too(name: str, server: ScriptedServer, carried: Carried) -> None:
    httpx2 = pytest.importorskip("httpx2")
    client = accelerate(getattr(httpx2, name)(trust_env=False, verify=False))

    async def ask() -> Any:
        async with client:
            return await client.get(server.url)

    if name == "AsyncClient":
        answer = asyncio.run(ask())
    else:
        with client:
            answer = client.get(server.url)
    assert type(answer) is httpx2.Response
    assert answer.text == "GET /"
    assert carried.requests == 1


def test_without_tls_arguments_the_clients_own_context_is_used(
    kind: Kind, server: ScriptedServer, carried: Carried
) -> None:
    client = fast_litellm.accelerate(kind.client(trust_env=False))
    assert [answer.text for answer in kind.ask(client, server.url)] == ["GET /"]
    assert carried.requests == 1
    assert carried.reasons() == {}
