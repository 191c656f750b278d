"""What stands in the place of Python's `socket` (gevent, eventlet, a guard, a resolver) is respected: transports go
httpx's own way while it is there, and a pool refuses."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import httpx
import pytest

import fast_litellm
from fast_litellm import SimpleConnectionPool, _core
from fast_litellm.acceleration.public_transports import transports_for
from fast_litellm.exceptions import NotOffered, PoolClosed, SocketsReplaced
from peers import child
from peers.scripted import ScriptedServer, serve_ok

Serve = Callable[..., ScriptedServer]
NewPool = Callable[..., SimpleConnectionPool]


class Client:
    """A client whose requests go through the pool, and its library."""

    def __init__(self, library: str, way: str, asynchronous: bool) -> None:
        self.library: Any = pytest.importorskip(library)
        self._loop = asyncio.new_event_loop() if asynchronous else None
        kind = self.library.AsyncClient if asynchronous else self.library.Client
        if way == "accelerate":
            self.client: Any = fast_litellm.accelerate(kind(trust_env=False, verify=False), verify=False)
        else:
            ours = transports_for(self.library)
            transport = (ours.AsyncHTTPTransport if asynchronous else ours.HTTPTransport)(verify=False, pool="default")
            self.client = kind(trust_env=False, transport=transport)

    def get(self, url: str) -> str:
        return str(self._do(self.client.get(url, timeout=20.0)).text)

    def close(self) -> None:
        self._do(self.client.close() if self._loop is None else self.client.aclose())
        if self._loop is not None:
            self._loop.close()

    def _do(self, result: Any) -> Any:
        return result if self._loop is None else self._loop.run_until_complete(result)


@pytest.fixture(params=["sync", "async"])
def asynchronous(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "async")


@pytest.fixture(params=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["transport", "accelerate"])
def client(request: pytest.FixtureRequest, library: str, asynchronous: bool) -> Iterator[Client]:
    made = Client(library, request.param, asynchronous)
    yield made
    made.close()


class Reported:
    """Requests that the pool carried, and that were sent the stock way, since this was made."""

    def __init__(self) -> None:
        self._before = self._now()

    @staticmethod
    def _now() -> tuple[int, int]:
        stats = fast_litellm.get_performance_stats()
        return stats["pool"]["requests"], stats["requests_instrumented"]

    @property
    def since(self) -> tuple[int, int]:
        carried, stock = self._now()
        return carried - self._before[0], stock - self._before[1]


def test_a_getaddrinfo_that_the_user_replaced_is_called(
    client: Client, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, reported = serve(serve_ok), Reported()
    asked: list[Any] = []
    original = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **keywords: Any) -> Any:
        asked.append(host)
        made_up = host in ("nowhere.invalid", b"nowhere.invalid")
        return original("127.0.0.1" if made_up else host, *arguments, **keywords)

    url = server.url.replace("127.0.0.1", "nowhere.invalid")
    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", getaddrinfo)
        assert client.get(url) == "GET /"
        assert asked
        assert reported.since == (0, 1)
    assert client.get(server.url) == "GET /"
    assert reported.since == (1, 1)


@pytest.mark.parametrize("guard", ["no sockets", "no hosts"])
def test_pytest_socket_blocks_the_request(client: Client, serve: Serve, guard: str) -> None:
    pytest_socket = pytest.importorskip("pytest_socket")
    server, reported = serve(serve_ok), Reported()
    assert client.get(server.url) == "GET /"
    connections = server.connections
    if guard == "no sockets":
        pytest_socket.disable_socket()
    else:
        pytest_socket.socket_allow_hosts(["192.0.2.1"])
    error: BaseException | None = None
    try:
        client.get(server.url)
    except Exception as caught:
        error = caught
    finally:
        pytest_socket.enable_socket()
        pytest_socket._remove_restrictions()
    assert _is_blocked(error)
    assert (server.connections, len(server.requests)) == (connections, 1)
    assert reported.since == (1, 1)
    assert client.get(server.url) == "GET /"
    assert reported.since == (2, 1)


def _is_blocked(error: BaseException | None) -> bool:
    """pytest-socket's own error, or what httpx and anyio make of it."""
    if error is None:
        return False
    inner = [error.__cause__, error.__context__, *getattr(error, "exceptions", ())]
    return "Block" in type(error).__name__ or any(_is_blocked(each) for each in inner)


@pytest.mark.parametrize(
    "place",
    [
        (socket, "getaddrinfo"),
        (socket, "create_connection"),
        (socket, "socket"),
        *((socket.socket, name) for name in ("__init__", "connect", "connect_ex", "send", "sendall", "recv", "close")),
    ],
    ids=lambda place: str(place[1]),
)
def test_each_call_checks_every_place_where_sockets_can_be_replaced(place: tuple[Any, str]) -> None:
    owner, name = place
    original = getattr(owner, name)
    assert not _core.sockets_replaced()
    for _ in range(2):
        with mock.patch.object(owner, name, functools.partial(original)):
            assert _core.sockets_replaced()
            assert _core.sockets_replaced()
        assert not _core.sockets_replaced()


def test_a_class_derived_from_pythons_is_not_pythons() -> None:
    with mock.patch.object(socket, "socket", type("socket", (socket.socket,), {"__module__": "socket"})):
        assert _core.sockets_replaced()
    assert not _core.sockets_replaced()


def test_other_writes_to_the_socket_module_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "something_else", 1, raising=False)
    assert not _core.sockets_replaced()


POOL_CALLS: dict[str, Callable[[SimpleConnectionPool, str, str], Any]] = {
    "request by URL": lambda pool, url, held: pool.request(url, "GET", "/"),
    "request on a lease": lambda pool, url, held: pool.request(held, "GET", "/"),
    "arequest": lambda pool, url, held: asyncio.run(pool.arequest(url, "GET", "/")),
    "get_connection": lambda pool, url, held: pool.get_connection(url),
    "lease": lambda pool, url, held: pool.lease(url).__enter__(),
    "async lease": lambda pool, url, held: asyncio.run(pool.lease(url).__aenter__()),
    "warm": lambda pool, url, held: pool.warm(url, 1),
    "health_check": lambda pool, url, held: pool.health_check(held),
}


@pytest.mark.parametrize("call", POOL_CALLS.values(), ids=POOL_CALLS.keys())
def test_a_pool_refuses_replaced_sockets_and_names_the_remedy(
    call: Callable[..., Any], new_pool: NewPool, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, pool = serve(serve_ok), new_pool()
    held = pool.get_connection(server.url)
    assert held is not None
    assert pool.request(held, "GET", "/").status_code == 200

    def resolver_of_mine(*arguments: Any, **keywords: Any) -> Any:
        raise AssertionError("no name may be looked up")

    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", resolver_of_mine)
        with pytest.raises(SocketsReplaced, match=r"getaddrinfo: .*resolver_of_mine .*HTTPTransport") as caught:
            call(pool, server.url, held)
        assert isinstance(caught.value, RuntimeError)
        assert len(server.requests) == 1
        assert pool.get_stats()["active_connections"] == 1
        assert pool.return_connection(held)
    assert pool.request(server.url, "GET", "/").status_code == 200
    assert server.connections == 1


def test_the_modules_own_functions_refuse_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fast_litellm.return_connection("") is False
    monkeypatch.setattr(socket, "create_connection", mock.Mock())
    with pytest.raises(SocketsReplaced, match="create_connection"):
        fast_litellm.get_connection("http://127.0.0.1:9")
    assert fast_litellm.return_connection("") is False


def test_a_closed_transport_reports_it_even_while_sockets_are_replaced(
    asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client("httpx", "transport", asynchronous)
    transport, request = client.client._transport, httpx.Request("GET", "http://127.0.0.1:9/")
    monkeypatch.setattr(socket, "create_connection", mock.Mock())
    send = transport.handle_async_request if asynchronous else transport.handle_request
    client._do(transport.aclose() if asynchronous else transport.close())
    with pytest.raises(PoolClosed):
        client._do(send(request))
    monkeypatch.undo()
    client.close()


def test_the_stock_transport_has_the_same_arguments(
    library: str, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = pytest.importorskip(library)
    options = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)]
    limits = module.Limits(max_connections=3, max_keepalive_connections=2, keepalive_expiry=1.0)
    transport = transports_for(module).HTTPTransport(
        verify=False, local_address="127.0.0.1", socket_options=options, retries=2, limits=limits
    )
    create = socket.create_connection
    monkeypatch.setattr(socket, "create_connection", functools.partial(create))
    with module.Client(transport=transport, trust_env=False) as client:
        assert client.get(serve(serve_ok).url).text == "GET /"
        pool = transport._stock._pool
        assert (pool._local_address, pool._socket_options, pool._retries) == ("127.0.0.1", options, 2)
        assert (pool._max_connections, pool._max_keepalive_connections, pool._keepalive_expiry) == (3, 2, 1.0)
        assert len(pool.connections) == 1
    assert pool.connections == []


def test_settings_of_the_core_have_no_stock_transport(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _core.TlsSettings(verify_peer=False, verify_hostname=False)
    with httpx.Client(transport=fast_litellm.HTTPTransport(tls_settings=settings)) as client:
        url = serve(serve_ok).url
        assert client.get(url).status_code == 200
        monkeypatch.setattr(socket, "create_connection", mock.Mock())
        with pytest.raises(NotOffered, match="tls_settings"):
            client.get(url)


# ---- gevent and eventlet, each in a process of its own ---------------------------------------------------------------

GREEN = """
    import sys
    library, when = sys.argv[1:]
    if library == "eventlet":
        sys.modules["trio"] = None  # of httpcore's own, which cannot be imported under eventlet
    if when == "late":
        import fast_litellm, httpcore, httpx
        with httpx.Client(transport=fast_litellm.HTTPTransport(verify=False)) as client:
            pass
    if library == "gevent":
        from gevent import monkey
        monkey.patch_all()
        import gevent
        spawn, wait_for = gevent.spawn, gevent.joinall
        from gevent.event import Event
        new_event = Event
    else:
        import eventlet
        eventlet.monkey_patch()
        spawn, wait_for = eventlet.spawn, lambda threads: [each.wait() for each in threads]
        import threading
        new_event = threading.Event
    import socket, ssl
    import fast_litellm, httpx
    from fast_litellm.exceptions import SocketsReplaced

    AT_ONCE = 5
    arrived, all_there = [], new_event()

    def answer(connection):
        received = b""
        while b"\\r\\n\\r\\n" not in received:
            received += connection.recv(4096)
        arrived.append(connection)
        if len(arrived) == AT_ONCE:
            all_there.set()
        assert all_there.wait(20)  # a client that blocks the hub never lets the others come
        connection.sendall(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\nconnection: close\\r\\n\\r\\nok")
        connection.close()

    def serve():
        while True:
            spawn(answer, listener.accept()[0])

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    url = "http://127.0.0.1:%d" % listener.getsockname()[1]
    spawn(serve)
    for client in (
        httpx.Client(transport=fast_litellm.HTTPTransport(verify=False), trust_env=False),
        httpx.Client(transport=fast_litellm.HTTPTransport(verify=False, pool="shared"), trust_env=False),
        httpx.Client(transport=fast_litellm.HTTPTransport(verify=ssl.create_default_context()), trust_env=False),
        fast_litellm.accelerate(httpx.Client(trust_env=False, verify=False), verify=False),
    ):
        arrived.clear()
        all_there.clear() if hasattr(all_there, "clear") else None
        answers = []
        with client:
            wait_for([spawn(lambda: answers.append(client.get(url, timeout=20).text)) for _ in range(AT_ONCE)])
        assert answers == ["ok"] * AT_ONCE, answers
    pool = fast_litellm.SimpleConnectionPool("own", verify=False)
    try:
        pool.request(url, "GET", "/")
    except SocketsReplaced as error:
        assert library in str(error), error
        print("refused")
    pool.close()
    stats = fast_litellm.get_performance_stats()
    print(stats["requests_instrumented"], stats["pool"]["requests"])
"""


@pytest.mark.parametrize("when", ["early", "late"])
@pytest.mark.parametrize("green", ["gevent", "eventlet"])
def test_green_threads_are_not_blocked(green: str, when: str) -> None:
    """Patched before anything else, or after a transport was made."""
    pytest.importorskip(green)
    environment = {"EVENTLET_NO_GREENDNS": "yes", "FAST_LITELLM_ENABLED": "true"}
    ended = child.run(GREEN, green, when, environment=environment)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["refused", "20", "0"]


# ---- mocks and tracers -----------------------------------------------------------------------------------------------


def test_respx_under_a_transport_of_the_programs_own(asynchronous: bool, serve: Serve) -> None:
    respx = pytest.importorskip("respx")
    server, reported = serve(serve_ok), Reported()
    client = Client("httpx", "transport", asynchronous)
    with respx.mock(using="httpcore") as router:
        router.get(server.url).respond(text="mocked")
        assert client.get(server.url) == "mocked"
    assert client.get(server.url) == "GET /"
    assert reported.since == (1, 1)
    client.close()


def test_pytest_httpx_under_a_transport_of_the_programs_own(asynchronous: bool, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("pytest_httpx")
    client = Client("httpx", "transport", asynchronous)
    httpx_mock = request.getfixturevalue("httpx_mock")
    httpx_mock.add_response(text="mocked")
    assert client.get("http://nowhere.invalid/") == "mocked"
    client.close()


def test_a_cassette_of_vcrpy_records_and_plays_a_transport_of_the_programs_own(
    asynchronous: bool, serve: Serve, tmp_path: Any
) -> None:
    vcr = pytest.importorskip("vcr")
    server = serve(serve_ok)
    client = Client("httpx", "transport", asynchronous)
    for _ in range(2):
        with vcr.use_cassette(str(tmp_path / "cassette.yaml"), record_mode="once"):
            assert client.get(server.url) == "GET /"
    assert len(server.requests) == 1
    client.close()


def test_a_module_that_is_not_imported_is_not_replaced() -> None:
    program = """
        import sys
        from fast_litellm import _core
        assert "socket" not in sys.modules
        assert not _core.sockets_replaced()
        assert "socket" not in sys.modules
        import socket
        assert not _core.sockets_replaced()
        socket.getaddrinfo = lambda *arguments: []
        assert _core.sockets_replaced()
    """
    ended = child.run(program)
    assert ended.returncode == 0, ended.stderr
