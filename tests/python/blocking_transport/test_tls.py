"""TLS against nginx and scripted servers: what is accepted, what is refused, and in which words."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certifi
import httpx
import pytest

from blocking_transport.conftest import MakeClient
from fast_litellm import HTTPTransport
from peers.nginx import Nginx
from peers.scripted import Connection, ScriptedServer, serve_ok, server_context
from support.certificates import CLIENT_KEY_PASSWORD, Certificates

Serve = Callable[..., ScriptedServer]


def test_tls_1_2_and_tls_1_3_work(client: httpx.Client, nginx: Nginx) -> None:
    assert client.get(nginx.urls.tls13).headers["x-protocol"] == "TLSv1.3"
    assert client.get(nginx.urls.tls12).headers["x-protocol"] == "TLSv1.2"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_older_tls_is_refused(client: httpx.Client, serve: Serve, certificates: Certificates) -> None:
    context = server_context(certificates.server)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.ConnectError, match=r"handshake"):
        client.get(serve(serve_ok, tls=context).url)


FAILURES = {
    "expired": r"expired",
    "wrong_host": r"(?i)(host ?name|address).*(match|127\.0\.0\.1)|127\.0\.0\.1.*not",
    "unknown_issuer": r"(?i)issuer|unknown (ca|authority)|self.signed",
}


@pytest.mark.parametrize("name", FAILURES)
def test_each_verification_error_names_its_cause(
    client: httpx.Client, serve: Serve, certificates: Certificates, name: str
) -> None:
    server = serve(serve_ok, tls=getattr(certificates, name))
    with pytest.raises(httpx.ConnectError) as caught:
        client.get(server.url)
    message = str(caught.value)
    assert f"127.0.0.1:{server.port}" in message
    matching = [other for other, pattern in FAILURES.items() if re.search(pattern, message)]
    assert matching == [name], message
    assert caught.value.code == "tls_failed"  # type: ignore[attr-defined]
    assert server.requests == []


@pytest.mark.parametrize("name", FAILURES)
def test_verify_false_accepts_any_certificate(
    make_client: MakeClient, serve: Serve, certificates: Certificates, name: str
) -> None:
    client = make_client(verify=False)
    assert client.get(serve(serve_ok, tls=getattr(certificates, name)).url).status_code == 200


def test_a_host_name_is_verified_as_well_as_an_address(
    client: httpx.Client, serve: Serve, certificates: Certificates
) -> None:
    good = serve(serve_ok, tls=certificates.server)
    assert client.get(f"https://localhost:{good.port}").status_code == 200
    bad = serve(serve_ok, tls=certificates.wrong_host)
    with pytest.raises(httpx.ConnectError, match="localhost"):
        client.get(f"https://localhost:{bad.port}")


def test_sni_carries_the_host_and_no_address(client: httpx.Client, nginx: Nginx) -> None:
    url = httpx.URL(nginx.urls.tls13)
    assert client.get(url.copy_with(host="localhost")).headers["x-server-name"] == "localhost"
    assert "x-server-name" not in client.get(url).headers


def test_the_sni_hostname_extension_is_the_name_that_is_verified(
    client: httpx.Client, serve: Serve, certificates: Certificates, nginx: Nginx
) -> None:
    server = serve(serve_ok, tls=certificates.wrong_host)
    response = client.get(server.url, extensions={"sni_hostname": "another.example"})
    assert response.status_code == 200
    with pytest.raises(httpx.ConnectError):  # that connection is not for requests that verify another name
        client.get(server.url)
    named = client.get(nginx.urls.tls13, extensions={"sni_hostname": "localhost"})
    assert named.headers["x-server-name"] == "localhost"


def test_verify_true_uses_certifis_bundle(
    make_client: MakeClient, nginx: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with pytest.raises(httpx.ConnectError, match=FAILURES["unknown_issuer"]):
        make_client(verify=True).get(nginx.urls.tls13)
    monkeypatch.setattr(certifi, "where", lambda: nginx.ca_file)
    assert make_client(verify=True).get(nginx.urls.tls13).status_code == 200


def test_ssl_cert_file_is_honoured_if_trust_env(
    make_client: MakeClient, nginx: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", nginx.ca_file)
    assert make_client(verify=True).get(nginx.urls.tls13).status_code == 200
    with pytest.raises(httpx.ConnectError):
        make_client(verify=True, trust_env=False).get(nginx.urls.tls13)


def test_ssl_cert_dir_is_honoured_if_trust_env(
    make_client: MakeClient, nginx: Nginx, monkeypatch: pytest.MonkeyPatch, hashed_directory: Path
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(hashed_directory))
    assert make_client(verify=True).get(nginx.urls.tls13).status_code == 200
    with pytest.raises(httpx.ConnectError):
        make_client(verify=True, trust_env=False).get(nginx.urls.tls13)


def test_verify_may_be_a_directory(make_client: MakeClient, nginx: Nginx, hashed_directory: Path) -> None:
    assert make_client(verify=str(hashed_directory)).get(nginx.urls.tls13).status_code == 200
    assert make_client(verify=hashed_directory).get(nginx.urls.tls13).status_code == 200


@pytest.fixture
def hashed_directory(tmp_path: Path, certificates: Certificates) -> Path:
    """The tests' authority as `openssl rehash` would lay it out."""
    import subprocess

    digest = subprocess.run(
        ["openssl", "x509", "-subject_hash", "-noout", "-in", str(certificates.ca_file)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    (tmp_path / f"{digest}.0").write_bytes(certificates.ca_file.read_bytes())
    return tmp_path


def test_a_client_certificate_is_presented_in_each_of_its_forms(
    make_client: MakeClient, nginx: Nginx, certificates: Certificates
) -> None:
    identity = certificates.client
    forms: list[object] = [
        str(identity.combined),
        (str(identity.certificate), str(identity.key)),
        (str(identity.certificate), str(certificates.client_encrypted_key), CLIENT_KEY_PASSWORD),
        (identity.certificate, identity.key, None),
    ]
    for cert in forms:
        assert make_client(cert=cert).get(nginx.urls.client_certificate).status_code == 200
    refused = make_client().get(nginx.urls.client_certificate)
    assert (refused.status_code, "certificate" in refused.text) == (400, True)


def test_connections_with_and_without_a_client_certificate_are_not_shared(
    make_client: MakeClient, new_pool: Callable[..., object], nginx: Nginx, certificates: Certificates
) -> None:
    pool = new_pool()
    shows = make_client(pool=pool, cert=str(certificates.client.combined))
    hides = make_client(pool=pool)
    assert shows.get(nginx.urls.client_certificate).status_code == 200
    assert hides.get(nginx.urls.client_certificate).status_code == 400
    assert shows.get(nginx.urls.client_certificate).status_code == 200


@pytest.mark.parametrize("url", ["tls13", "tls12"])
def test_a_second_connection_resumes_the_session(make_client: MakeClient, nginx: Nginx, url: str) -> None:
    client = make_client(limits=httpx.Limits(max_keepalive_connections=0))
    target = getattr(nginx.urls, url)
    assert [client.get(target).headers["x-resumed"] for _ in range(3)] == [".", "r", "r"]


def test_a_server_that_breaks_off_the_handshake_is_a_connect_error(client: httpx.Client, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        await connection.receive()
        await connection.send(b"HTTP/1.1 400 This is no TLS\r\n\r\n")

    server = serve(script)
    with pytest.raises(httpx.ConnectError, match=f"127.0.0.1:{server.port}"):
        client.get(server.url.replace("http:", "https:"))


@pytest.mark.parametrize("argument", ["verify", "cert", "key", "SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_the_error_names_a_missing_file(
    argument: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing = str(tmp_path / "missing.pem")
    arguments: dict[str, object] = {}
    if argument == "verify":
        arguments["verify"] = missing
    elif argument == "cert":
        arguments["cert"] = missing
    elif argument == "key":
        arguments["cert"] = (str(certificates.client.certificate), missing)
    else:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        monkeypatch.setenv(argument, missing)
    with pytest.raises(OSError, match=re.escape(missing)):
        HTTPTransport(**arguments)  # type: ignore[arg-type]


def test_files_without_certificates_are_refused_at_construction(certificates: Certificates, tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("this is not PEM")
    client = certificates.client
    for arguments in (
        {"verify": str(nonsense)},
        {"cert": str(nonsense)},
        {"cert": (str(client.certificate), str(nonsense))},
    ):
        with pytest.raises(ValueError, match=re.escape(str(nonsense))):
            HTTPTransport(**arguments)
    with pytest.raises(ValueError, match=r"does not belong"):
        HTTPTransport(cert=(str(client.certificate), str(certificates.server.key)))
    with pytest.raises(ValueError, match=r"(?i)password|decrypt"):
        HTTPTransport(cert=(str(client.certificate), str(certificates.client_encrypted_key), "wrong"))


class RefusesWithoutCertificate:
    """Speaks TLS 1.3 with clients that show a certificate. Others learn that after their handshake, while they send."""

    def __init__(self, certificates: Certificates) -> None:
        self._context = server_context(certificates.server)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.load_verify_locations(certificates.ca_file)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> RefusesWithoutCertificate:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(20)

    def _serve(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            accepted.settimeout(20)
            with accepted, contextlib.suppress(OSError):
                self._context.wrap_socket(accepted, server_side=True)
            # Closed with bytes unread: the client's writes meet a reset.


@pytest.mark.parametrize("engine", ["core", "context", "stock"])
@pytest.mark.parametrize("body", ["none", "whole", "streamed"])
def test_the_alert_that_a_certificate_is_required_is_reported_even_if_a_write_met_a_reset_first(
    make_client: MakeClient, certificates: Certificates, engine: str, body: str
) -> None:
    context = ssl.create_default_context(cafile=certificates.ca_file)
    client = {
        "core": make_client,
        "context": lambda: make_client(verify=context),
        "stock": lambda: httpx.Client(verify=context, timeout=20),
    }[engine]()
    piece = b"x" * 65536

    def content() -> Any:
        if body == "streamed":
            return (piece for _ in range(400))
        return piece * 400 if body == "whole" else b""

    with RefusesWithoutCertificate(certificates) as server:
        for _ in range(5):
            with pytest.raises(httpx.ReadError, match=r"(?i)certificate.required"):
                client.post(server.url, content=content())
    if engine == "stock":
        client.close()
