"""`ssl_object` of the network stream where the core speaks TLS: it answers as that of httpx's own transport does."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest

from blocking_transport.conftest import MakeClient
from fast_litellm.tls import session as tls_session
from fast_litellm.tls.session import TlsSession
from peers.nginx import Nginx
from peers.scripted import Connection, ScriptedServer, serve_ok
from support.certificates import Certificates, Identity

Serve = Callable[..., ScriptedServer]

#: What can be asked, and how. (The blocking transport of httpx gives `ssl`'s inner object, which takes no keywords.)
QUESTIONS: dict[str, Callable[[Any], Any]] = {
    "version": lambda tls: tls.version(),
    "cipher": lambda tls: tls.cipher(),
    "shared_ciphers": lambda tls: tls.shared_ciphers(),
    "compression": lambda tls: tls.compression(),
    "selected_alpn_protocol": lambda tls: tls.selected_alpn_protocol(),
    "getpeercert": lambda tls: tls.getpeercert(),
    "getpeercert, DER": lambda tls: tls.getpeercert(True),
    "server_side": lambda tls: tls.server_side,
    "server_hostname": lambda tls: tls.server_hostname,
    "session_reused": lambda tls: tls.session_reused,
}


def ssl_object(response: httpx.Response) -> Any:
    return response.extensions["network_stream"].get_extra_info("ssl_object")


def answers(response: httpx.Response) -> dict[str, Any]:
    found = ssl_object(response)
    return {question: ask(found) for question, ask in QUESTIONS.items()}


@pytest.fixture
def stock(certificates: Certificates) -> Iterator[Callable[[Any], httpx.Client]]:
    """stock(verify) makes a client of httpx's own transport; closed at the test's end."""
    made: list[httpx.Client] = []

    def make(verify: Any = None) -> httpx.Client:
        if verify is None:
            verify = ssl.create_default_context(cafile=str(certificates.ca_file))
        made.append(httpx.Client(verify=verify, trust_env=False))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture(scope="session")
def elaborate(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """A certificate with all that Python's `ssl` decodes; it vouches for itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Füße & Söhne, „GmbH“"),
            x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1"),
        ]
    )
    names = [
        x509.DNSName("*.example.org"),
        x509.DNSName("xn--bcher-kva.example"),
        x509.RFC822Name("post@example.org"),
        x509.UniformResourceIdentifier("https://example.org/a"),
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")),
        x509.DirectoryName(name),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
    ]
    where = [x509.UniformResourceIdentifier("http://example.org/list")]
    now = datetime.now(timezone.utc)
    key = ec.generate_private_key(ec.SECP256R1())
    access = [
        x509.AccessDescription(AuthorityInformationAccessOID.OCSP, where[0]),
        x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, where[0]),
    ]
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityInformationAccess(access), critical=False)
        .add_extension(
            x509.CRLDistributionPoints([x509.DistributionPoint(where, None, None, None)]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("elaborate")
    identity = Identity(folder / "certificate.pem", folder / "key.pem", folder / "both.pem")
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    identity.certificate.write_bytes(pem)
    identity.key.write_bytes(secret)
    identity.combined.write_bytes(secret + pem)
    return identity


# ---- the same answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verify", [True, False], ids=["verified", "unverified"])
@pytest.mark.parametrize("url", ["tls12", "tls13"])
def test_every_answer_is_that_of_httpxs_own_transport(
    make_client: MakeClient, stock: Callable[[Any], httpx.Client], nginx: Nginx, url: str, verify: bool
) -> None:
    ours = make_client() if verify else make_client(verify=False)
    with (
        ours.stream("GET", getattr(nginx.urls, url)) as response,
        stock(None if verify else False).stream("GET", getattr(nginx.urls, url)) as expected,
    ):
        assert isinstance(ssl_object(response), TlsSession)
        found = answers(response)
        assert found == answers(expected)
    assert found["version"] == {"tls12": "TLSv1.2", "tls13": "TLSv1.3"}[url]
    assert bool(found["getpeercert"]) is verify
    assert found["getpeercert, DER"] == ssl_object(response).getpeercert(binary_form=True) is not None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_server_hostname_is_the_one_that_the_request_named(
    make_client: MakeClient, stock: Callable[..., httpx.Client], nginx: Nginx, host: str
) -> None:
    url = nginx.urls.tls13.replace("127.0.0.1", host)
    with make_client().stream("GET", url) as response, stock().stream("GET", url) as expected:
        found = answers(response)
        assert found == answers(expected)
    assert found["server_hostname"] == host


def test_a_server_name_that_the_request_gives_is_the_host(
    make_client: MakeClient, stock: Callable[..., httpx.Client], nginx: Nginx
) -> None:
    asked = {"sni_hostname": "localhost"}
    with (
        make_client().stream("GET", nginx.urls.tls13, extensions=asked) as response,
        stock().stream("GET", nginx.urls.tls13, extensions=asked) as expected,
    ):
        assert ssl_object(response).server_hostname == ssl_object(expected).server_hostname == "localhost"


def test_a_certificate_with_every_kind_of_field_is_decoded_as_by_python(
    make_client: MakeClient, stock: Callable[[Any], httpx.Client], serve: Serve, elaborate: Identity
) -> None:
    server = serve(serve_ok, tls=elaborate)
    context = ssl.create_default_context(cafile=elaborate.certificate)
    client = make_client(verify=str(elaborate.certificate))
    with (
        client.stream("GET", server.url) as response,
        stock(context).stream("GET", server.url) as expected,
    ):
        found = ssl_object(response).getpeercert()
        assert found == ssl_object(expected).getpeercert()
    assert {"subject", "issuer", "subjectAltName", "OCSP", "caIssuers", "crlDistributionPoints"} <= found.keys()
    assert len(found["subjectAltName"]) == 8


def test_a_certificate_is_decoded_even_without_memfd(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    leaf = ssl.PEM_cert_to_DER_cert(certificates.server.certificate.read_text().partition("-----END")[0] + _END)
    expected = tls_session._decoded(leaf)
    tls_session._decoded.cache_clear()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def refused(name: str) -> int:
        raise PermissionError

    monkeypatch.setattr("os.memfd_create", refused, raising=False)
    assert tls_session._decoded(leaf) == expected
    assert expected["subjectAltName"]
    assert list(tmp_path.iterdir()) == []


_END = "-----END CERTIFICATE-----\n"


def test_a_python_that_cannot_decode_certificates_offers_the_binary_form(
    make_client: MakeClient, nginx: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls_session._decoded.cache_clear()
    monkeypatch.delattr("ssl._ssl._test_decode_cert")
    found = ssl_object(make_client().get(nginx.urls.tls13))
    with pytest.raises(NotImplementedError, match="binary_form=True"):
        found.getpeercert()
    assert found.getpeercert(binary_form=True)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_sides_know_the_same_channel_binding(
    make_client: MakeClient, serve: Serve, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            binding = connection.tls.get_channel_binding()
            assert binding
            await connection.respond(binding)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server.certificate, certificates.server.key)
    context.minimum_version = context.maximum_version = version
    response = make_client().get(serve(script, tls=context).url)
    found = ssl_object(response)
    assert found.get_channel_binding() == found.get_channel_binding("tls-unique") == response.content != b""
    with pytest.raises(ValueError, match="'tls-exporter' channel binding type not implemented"):
        found.get_channel_binding("tls-exporter")


@pytest.mark.parametrize("url", ["tls12", "tls13"])
def test_a_session_that_was_resumed_says_so_and_still_has_the_certificate(
    make_client: MakeClient, nginx: Nginx, url: str
) -> None:
    client = make_client(limits=httpx.Limits(max_keepalive_connections=0))
    responses = [client.get(getattr(nginx.urls, url)) for _ in range(2)]
    assert [response.headers["x-resumed"] for response in responses] == [".", "r"]
    first, second = (answers(response) for response in responses)
    assert (first.pop("session_reused"), second.pop("session_reused")) == (False, True)
    assert first == second
    bindings = {ssl_object(response).get_channel_binding() for response in responses}
    assert len(bindings) == 2


# ---- how long, and what not ------------------------------------------------------------------------------------------


def test_it_answers_after_the_response_the_connection_and_the_client_are_gone(
    make_client: MakeClient, nginx: Nginx
) -> None:
    client = make_client()
    with client.stream("GET", nginx.urls.tls13) as response:
        early = ssl_object(response)
        expected = answers(response)
    assert {question: ask(early) for question, ask in QUESTIONS.items()} == expected
    assert client.get(nginx.urls.tls13).headers["x-connection"] == response.headers["x-connection"]
    assert answers(response) == expected
    client.close()
    assert {question: ask(early) for question, ask in QUESTIONS.items()} == expected
    assert answers(response) == expected


def test_a_response_describes_its_own_connection_not_the_next(
    make_client: MakeClient, serve: Serve, certificates: Certificates
) -> None:
    """Of two servers behind one client; and what a caller does to a certificate stays with that caller."""
    client = make_client(verify=False)
    good, other = (
        client.get(serve(serve_ok, tls=identity).url) for identity in (certificates.server, certificates.wrong_host)
    )
    ders = [ssl_object(response).getpeercert(True) for response in (good, other)]
    assert ders[0] != ders[1]
    verified = make_client()
    answer = verified.get(serve(serve_ok, tls=certificates.server).url)
    ssl_object(answer).getpeercert().clear()
    assert ssl_object(answer).getpeercert()["subjectAltName"]


def test_plain_http_has_none(make_client: MakeClient, nginx: Nginx) -> None:
    assert ssl_object(make_client().get(nginx.urls.plain)) is None


@pytest.mark.parametrize("name", ["read", "write", "pending", "do_handshake", "unwrap", "context", "session"])
def test_an_attribute_that_would_use_the_connection_is_refused_with_the_reason(
    make_client: MakeClient, nginx: Nginx, name: str
) -> None:
    found = ssl_object(make_client().get(nginx.urls.tls13))
    with pytest.raises(AttributeError, match=f"no attribute '{name}': .* for looking"):
        getattr(found, name)
    with pytest.raises(AttributeError):
        setattr(found, name, None)
    assert not hasattr(found, "nonsense")
