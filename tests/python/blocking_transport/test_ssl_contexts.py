"""An `ssl.SSLContext` as `verify`: that context itself does TLS, and each of its settings takes effect, as with the
transport of httpx itself."""

from __future__ import annotations

import gc
import ssl
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fast_litellm import HTTPTransport, SimpleConnectionPool
from peers.nginx import Nginx
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok, server_context, until
from peers.tls import AskingForCertificates, KeyUpdatingServer
from support.callers import CALLERS, MakeCaller
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]


@pytest.fixture(params=CALLERS)
def make_caller(request: pytest.FixtureRequest) -> Iterator[MakeCaller]:
    """make_caller(verify=context, ...) for each kind of transport; closed, with nothing leased, at the test's end."""
    made: list[Any] = []

    def make(**arguments: Any) -> Any:
        made.append(CALLERS[request.param](**arguments))
        return made[-1]

    yield make
    gc.collect()
    leases = [caller.open_leases() for caller in made]
    for caller in made:
        caller.close()
    assert leases == [0] * len(leases), "connections are still leased after the test"


@pytest.fixture
def context(certificates: Certificates) -> ssl.SSLContext:
    """Trusts the tests' authority."""
    return ssl.create_default_context(cafile=certificates.ca_file)


@pytest.fixture
def server(serve: Serve, certificates: Certificates) -> ScriptedServer:
    return serve(serve_ok, tls=certificates.server)


# ---- trust -----------------------------------------------------------------------------------------------------------


def test_the_contexts_authorities_are_trusted_and_no_others(
    make_caller: MakeCaller, context: ssl.SSLContext, server: ScriptedServer, certificates: Certificates
) -> None:
    assert make_caller(verify=context).get(server.url + "/path").text == "GET /path"
    stranger = ssl.create_default_context(cafile=certificates.unknown_ca_file)
    with pytest.raises(httpx.ConnectError, match=r"certificate verify failed.*issuer") as caught:
        make_caller(verify=stranger).get(server.url)
    assert server.url in str(caught.value)
    cause = caught.value.__cause__
    assert isinstance(cause, ssl.SSLCertVerificationError)
    assert cause.verify_message == "unable to get local issuer certificate"
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", ["expired", "wrong_host", "unknown_issuer"])
def test_a_verification_error_has_httpxs_text(
    make_caller: MakeCaller, context: ssl.SSLContext, serve: Serve, certificates: Certificates, name: str
) -> None:
    server = serve(serve_ok, tls=getattr(certificates, name))
    with pytest.raises(httpx.ConnectError) as stock, httpx.Client(verify=context) as client:
        client.get(server.url)
    with pytest.raises(httpx.ConnectError) as ours:
        make_caller(verify=context).get(server.url)
    assert str(stock.value) in str(ours.value)
    assert ours.value.bytes_sent == 0  # type: ignore[attr-defined]
    assert server.requests == []


def test_without_check_hostname_any_name_is_accepted(
    make_caller: MakeCaller, context: ssl.SSLContext, serve: Serve, certificates: Certificates
) -> None:
    server = serve(serve_ok, tls=certificates.wrong_host)
    context.check_hostname = False
    assert make_caller(verify=context).get(server.url).status_code == 200


def test_names_and_addresses_are_verified_and_the_sni_hostname_extension_replaces_them(
    make_caller: MakeCaller, context: ssl.SSLContext, serve: Serve, certificates: Certificates, nginx: Nginx
) -> None:
    caller = make_caller(verify=context)
    named = str(httpx.URL(nginx.urls.tls13).copy_with(host="localhost"))
    assert caller.get(named).headers["x-server-name"] == "localhost"
    assert "x-server-name" not in caller.get(nginx.urls.tls13).headers  # an address is verified, but not sent
    wrong = serve(serve_ok, tls=certificates.wrong_host)
    for host in ("localhost", "127.0.0.1"):
        with pytest.raises(httpx.ConnectError, match="mismatch"):
            caller.get(f"https://{host}:{wrong.port}")
    assert caller.get(wrong.url, extensions={"sni_hostname": "another.example"}).status_code == 200
    with pytest.raises(httpx.ConnectError, match="mismatch"):  # nor is that connection for others
        caller.get(wrong.url)


def test_a_name_that_ssl_refuses_raises_its_error(
    make_caller: MakeCaller, context: ssl.SSLContext, server: ScriptedServer
) -> None:
    extensions = {"sni_hostname": ".example"}
    with pytest.raises(ValueError, match="idna") as stock, httpx.Client(verify=context) as client:
        client.get(server.url, extensions=extensions)
    with pytest.raises(type(stock.value)) as ours:
        make_caller(verify=context).get(server.url, extensions=extensions)
    assert str(ours.value) == str(stock.value)


# ---- the settings of a context ---------------------------------------------------------------------------------------


def test_a_client_certificate_in_the_context_is_presented(
    make_caller: MakeCaller, context: ssl.SSLContext, nginx: Nginx, certificates: Certificates
) -> None:
    assert make_caller(verify=context).get(nginx.urls.client_certificate).status_code == 400
    context.load_cert_chain(certificates.client.certificate, certificates.client.key)
    assert make_caller(verify=context).get(nginx.urls.client_certificate).status_code == 200


@pytest.mark.filterwarnings("ignore:.*cert=:DeprecationWarning")
def test_cert_is_loaded_into_the_callers_context_as_httpx_does(
    make_caller: MakeCaller, context: ssl.SSLContext, nginx: Nginx, certificates: Certificates
) -> None:
    caller = make_caller(verify=context, cert=str(certificates.client.combined))
    assert caller.get(nginx.urls.client_certificate).status_code == 200
    # It is the same context, so every client that has it presents the certificate now.
    assert make_caller(verify=context).get(nginx.urls.client_certificate).status_code == 200


def test_a_certificate_that_is_requested_after_the_handshake_is_presented(
    make_caller: MakeCaller, context: ssl.SSLContext, certificates: Certificates
) -> None:
    context.post_handshake_auth = True
    context.load_cert_chain(certificates.client.certificate, certificates.client.key)
    with AskingForCertificates(certificates) as server:
        assert make_caller(verify=context).get(server.url).text == "client@example.org"


def test_keys_are_logged_where_the_context_says(
    make_caller: MakeCaller, context: ssl.SSLContext, server: ScriptedServer, tmp_path: Path
) -> None:
    log = tmp_path / "keys"
    context.keylog_filename = str(log)
    make_caller(verify=context).get(server.url)
    assert "CLIENT_TRAFFIC_SECRET_0" in log.read_text()


def test_keys_are_logged_where_the_environment_says(
    make_caller: MakeCaller,
    server: ScriptedServer,
    certificates: Certificates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
    make_caller().get(server.url)
    assert "CLIENT_TRAFFIC_SECRET_0" in log.read_text()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_contexts_tls_version_is_used(
    make_caller: MakeCaller, context: ssl.SSLContext, nginx: Nginx, version: ssl.TLSVersion
) -> None:
    context.minimum_version = context.maximum_version = version
    caller = make_caller(verify=context)
    urls = {ssl.TLSVersion.TLSv1_2: nginx.urls.tls12, ssl.TLSVersion.TLSv1_3: nginx.urls.tls13}
    assert caller.get(urls.pop(version)).headers["x-protocol"].replace(".", "_") == version.name
    with pytest.raises(httpx.ConnectError, match=r"alert protocol version|handshake"):
        caller.get(*urls.values())


def test_a_change_of_the_context_applies_to_the_next_connection(
    make_caller: MakeCaller, server: ScriptedServer, certificates: Certificates
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    caller = make_caller(verify=context, limits=httpx.Limits(max_keepalive_connections=0))
    with pytest.raises(httpx.ConnectError):
        caller.get(server.url)
    context.load_verify_locations(certificates.ca_file)
    assert caller.get(server.url).status_code == 200
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert ssl_object(caller.get(server.url)).cipher()[0] == "ECDHE-ECDSA-AES128-GCM-SHA256"


def test_verification_that_is_switched_off_later_is_off(
    make_caller: MakeCaller, serve: Serve, certificates: Certificates
) -> None:
    server = serve(serve_ok, tls=certificates.unknown_issuer)
    context = ssl.create_default_context()
    caller = make_caller(verify=context)
    with pytest.raises(httpx.ConnectError):
        caller.get(server.url)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    assert caller.get(server.url).status_code == 200


def test_the_protocols_are_set_on_the_context_as_httpcore_does(
    make_caller: MakeCaller, context: ssl.SSLContext, serve: Serve, certificates: Certificates
) -> None:
    tls = server_context(certificates.server)
    tls.set_alpn_protocols(["h2", "http/1.1"])
    context.set_alpn_protocols(["h2"])
    response = make_caller(verify=context).get(serve(serve_ok, tls=tls).url)
    assert ssl_object(response).selected_alpn_protocol() == "http/1.1"


def test_the_methods_of_a_context_subclass_are_called(
    make_caller: MakeCaller, server: ScriptedServer, certificates: Certificates
) -> None:
    names = []

    class Object(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            names.append(self.server_hostname)

    class Context(ssl.SSLContext):
        sslobject_class = Object

    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates.ca_file)
    assert type(ssl_object(make_caller(verify=context).get(server.url))) is Object
    assert names == ["127.0.0.1"]


def test_an_exception_of_a_context_subclass_propagates_unchanged(
    make_caller: MakeCaller, server: ScriptedServer, certificates: Certificates
) -> None:
    class Refused(Exception):
        pass

    class Object(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            raise Refused("not this one")

    context = ssl.create_default_context(cafile=certificates.ca_file)
    context.sslobject_class = Object
    with pytest.raises(Refused, match="not this one"):
        make_caller(verify=context).get(server.url)
    assert server.requests == []


def test_a_context_that_changed_wrap_socket_alone_is_refused(context: ssl.SSLContext) -> None:
    class Context(ssl.SSLContext):
        def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
            raise AssertionError("this would have to be called")

    with pytest.raises(TypeError, match="wrap_socket"):
        HTTPTransport(verify=Context(ssl.PROTOCOL_TLS_CLIENT))

    class Socket(ssl.SSLSocket):
        pass

    context.sslsocket_class = Socket
    with pytest.raises(TypeError, match="sslsocket_class"):
        HTTPTransport(verify=context)


def test_an_object_that_is_not_a_context_is_refused_with_the_reason() -> None:
    with pytest.raises(TypeError, match=r"object.*httpx\.HTTPTransport"):
        HTTPTransport(verify=object())  # type: ignore[arg-type]


def test_truststore_verifies_after_it_replaced_ssls_context(
    make_caller: MakeCaller, server: ScriptedServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    truststore = pytest.importorskip("truststore")
    # It searches where OpenSSL searches; httpx without `trust_env` loads certifi's bundle only.
    truststore.inject_into_ssl()
    try:
        with pytest.raises(httpx.ConnectError, match="verify failed"):
            make_caller(trust_env=False).get(server.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
        response = make_caller(trust_env=False).get(server.url)
        assert response.status_code == 200
        assert type(ssl_object(response)).__name__ == "TruststoreSSLObject"
    finally:
        truststore.extract_from_ssl()
    given = make_caller(verify=truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert given.get(server.url).status_code == 200


# ---- bytes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_large_bodies_go_both_ways(
    make_caller: MakeCaller, context: ssl.SSLContext, serve: Serve, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    async def echo(connection: Connection) -> None:
        while True:
            await connection.respond((await connection.request()).body)

    context.maximum_version = version
    caller = make_caller(verify=context)
    url = serve(echo, tls=certificates.server).url
    body = bytes(range(256)) * 20_000
    for size in (0, 1, 16_383, 16_384, 16_385, 65_537, len(body)):
        assert caller.request("POST", url, content=body[:size]).content == body[:size]


def test_a_body_that_the_peer_reads_slowly_arrives_in_order(
    make_caller: MakeCaller, context: ssl.SSLContext, serve: Serve, certificates: Certificates
) -> None:
    async def script(connection: Connection) -> None:
        head = await connection.request_head()
        left, parts = int(head.header("content-length") or 0), []
        while left:
            parts.append(await connection.receive(1000))
            left -= len(parts[-1])
        await connection.respond(b"".join(parts))

    body = bytes(range(251)) * 8000
    response = make_caller(verify=context).request("POST", serve(script, tls=certificates.server).url, content=body)
    assert response.content == body


def test_a_body_that_is_cut_off_is_a_read_error(
    make_caller: MakeCaller, context: ssl.SSLContext, serve: Serve, certificates: Certificates
) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\nup to the end of the connection")
        connection.hang_up()

    with pytest.raises(httpx.ReadError, match="cut off"):
        make_caller(verify=context).get(serve(script, tls=certificates.server).url)


def test_a_body_that_ends_with_the_connection_ends_in_order(
    make_caller: MakeCaller, context: ssl.SSLContext, serve: Serve, certificates: Certificates
) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\nup to the end")

    response = make_caller(verify=context).get(serve(script, tls=certificates.server).url)
    assert response.text == "up to the end"


# ---- time ------------------------------------------------------------------------------------------------------------


def test_a_server_that_never_ends_the_handshake_is_a_connect_timeout(
    make_caller: MakeCaller, context: ssl.SSLContext, serve: Serve
) -> None:
    end = Gate()

    async def script(connection: Connection) -> None:
        await connection.receive()
        await end.passed()

    server = serve(script)
    caller = make_caller(verify=context, timeout=httpx.Timeout(None, connect=0.2))
    with pytest.raises(httpx.ConnectTimeout) as caught:
        caller.get(server.url.replace("http:", "https:"))
    assert caught.value.phase == "tls_handshake"  # type: ignore[attr-defined]
    server.wait_until(lambda counts: counts.connections == 1, "the connection")
    end.open()


@pytest.mark.parametrize("how", ["close", "reset", "nonsense"])
def test_a_server_that_breaks_off_the_handshake_is_a_connect_error(
    make_caller: MakeCaller, context: ssl.SSLContext, serve: Serve, how: str
) -> None:
    async def script(connection: Connection) -> None:
        await connection.receive()
        if how == "reset":
            connection.reset()
        if how == "nonsense":
            await connection.send(b"HTTP/1.1 400 This is no TLS\r\n\r\n")

    server = serve(script)
    with pytest.raises(httpx.ConnectError, match=f"127.0.0.1:{server.port}"):
        make_caller(verify=context).get(server.url.replace("http:", "https:"))
    assert server.connections == 1


# ---- sharing ---------------------------------------------------------------------------------------------------------


def test_a_connection_is_used_again_and_its_handshake_counted(
    make_caller: MakeCaller, context: ssl.SSLContext, nginx: Nginx
) -> None:
    pool = SimpleConnectionPool("contexts-reuse", verify=context)
    try:
        caller = make_caller(verify=context, pool=pool)
        for _ in range(5):
            assert caller.get(nginx.urls.tls13).status_code == 200
        stats = pool.get_stats()
        assert (stats["reused"], stats["handshakes"], stats["resumed"], stats["handshake_time"]["count"]) == (
            4,
            1,
            0,
            1,
        )
        # The pool's own calls with the same context use the same connection.
        assert pool.request(nginx.urls.tls13, "GET", "/").status_code == 200
        assert pool.get_stats()["handshakes"] == 1
    finally:
        pool.close()


def test_only_clients_with_the_same_context_share_connections(
    make_caller: MakeCaller, context: ssl.SSLContext, server: ScriptedServer, certificates: Certificates
) -> None:
    pool = SimpleConnectionPool("contexts-shared", verify=False)
    try:
        make_caller(verify=context, pool=pool).get(server.url)
        make_caller(verify=context, pool=pool).get(server.url)
        assert server.connections == 1
        make_caller(verify=ssl.create_default_context(cafile=certificates.ca_file), pool=pool).get(server.url)
        make_caller(verify=str(certificates.ca_file), pool=pool).get(server.url)
        make_caller(verify=False, pool=pool).get(server.url)
        assert server.connections == 4
    finally:
        pool.close()


def test_a_message_of_tls_on_an_idle_connection_does_not_end_it(
    make_caller: MakeCaller, context: ssl.SSLContext, certificates: Certificates
) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with KeyUpdatingServer(certificates) as server:
        caller = make_caller(verify=context)
        ports = set()
        for number in range(4):
            response = server.answered(lambda: caller.get(server.url))
            assert response.text == f"answer {number}"
            ports.add(response.extensions["network_stream"].get_extra_info("client_addr"))
            server.update_keys()
        assert len(ports) == 1


def test_unexpected_bytes_end_an_idle_connection(
    make_caller: MakeCaller, context: ssl.SSLContext, serve: Serve, certificates: Certificates
) -> None:
    goes_on, said = Gate(), threading.Event()

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.respond(b"first")
        if connection.number == 1:
            await goes_on.passed()
            await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged")
            said.set()
            await connection.client_closed()

    server = serve(script, tls=certificates.server)
    caller = make_caller(verify=context)
    assert caller.get(server.url).text == "first"
    goes_on.open()
    assert said.wait(20)
    assert caller.get(server.url).text == "first"
    assert server.connections == 2


def test_a_warmed_connection_makes_its_handshake_at_its_first_request(
    make_caller: MakeCaller, context: ssl.SSLContext, serve: Serve, certificates: Certificates
) -> None:
    server = serve(serve_ok, tls=certificates.server)
    pool = SimpleConnectionPool("contexts-warm", verify=context)
    try:
        assert pool.warm(server.url, 1) == 1
        stats = pool.get_stats()
        assert (stats["idle_connections"], stats["handshakes"]) == (1, 0)
        assert make_caller(verify=context, pool=pool).get(server.url).status_code == 200
        stats = pool.get_stats()
        assert (stats["dials"], stats["handshakes"]) == (1, 1)
    finally:
        pool.close()


def test_a_connection_that_is_closed_before_its_handshake_is_replaced(
    make_caller: MakeCaller, context: ssl.SSLContext, certificates: Certificates, serve: Serve
) -> None:
    server = serve(serve_ok, tls=certificates.server)
    pool = SimpleConnectionPool("contexts-closed", verify=context)
    try:
        lease = pool.get_connection(server.url)
        assert lease is not None
        assert pool.health_check(lease)  # connected, without a handshake
        assert pool.return_connection(lease)
        assert pool.request(server.url, "POST", "/x", content=b"once").text == "POST /x"
    finally:
        pool.close()
    assert len(server.requests) == 1


def test_many_threads_use_one_context(make_caller: MakeCaller, context: ssl.SSLContext, server: ScriptedServer) -> None:
    transport = HTTPTransport(verify=context)
    bodies: list[str] = []
    with httpx.Client(transport=transport, timeout=20) as client:

        def work(thread: int) -> None:
            for number in range(25):
                bodies.append(client.get(f"{server.url}/{thread}/{number}").text)

        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(bodies) == sorted(f"GET /{thread}/{number}" for thread in range(8) for number in range(25))


# ---- ends ------------------------------------------------------------------------------------------------------------


def test_the_network_stream_gives_the_ssl_object(
    make_caller: MakeCaller, context: ssl.SSLContext, server: ScriptedServer
) -> None:
    response = make_caller(verify=context).get(server.url)
    found = ssl_object(response)
    assert found.version() == "TLSv1.3"
    assert found.context is context
    assert ("IP Address", "127.0.0.1") in found.getpeercert()["subjectAltName"]


def test_a_context_is_freed_with_its_transports_and_connections(
    server: ScriptedServer, certificates: Certificates
) -> None:
    pool = SimpleConnectionPool("contexts-let-go", verify=False, idle_timeout=0.05)
    try:
        context = ssl.create_default_context(cafile=certificates.ca_file)
        gone = weakref.ref(context)
        with httpx.Client(transport=HTTPTransport(verify=context, pool=pool)) as client:
            assert client.get(server.url).status_code == 200
        del client, context
        # The reactor closes the idle connection, without the GIL; the main thread gives the session up.
        until(lambda: gc.collect() >= 0 and gone() is None)
        assert pool.get_stats()["expired"] == 1
    finally:
        pool.close()


def ssl_object(response: httpx.Response) -> Any:
    return response.extensions["network_stream"].get_extra_info("ssl_object")
