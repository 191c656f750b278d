"""CA bundles, certificates and keys that are replaced under their names: clients made afterwards use the new
content, and existing clients keep the old. Stock httpx does the same; its clients run in the same tests."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from anyio.from_thread import BlockingPortal

from fast_litellm import AsyncHTTPTransport, HTTPTransport, SimpleConnectionPool, accelerate
from fast_litellm.tls.engine import settings_from
from peers.scripted import Connection, ScriptedServer, serve_ok, server_context
from support.blocking import BlockingTransport
from support.certificates import CLIENT_KEY_PASSWORD, Certificates, Identity

Serve = Callable[..., ScriptedServer]
NewPool = Callable[..., SimpleConnectionPool]
#: make(verify=path or True, cert=...) -> a client, as a program makes one each time.
Make = Callable[..., httpx.Client]


def _stock_context(verify: Any = True, cert: Any = None) -> Any:
    paths = {} if verify is True else {"capath" if os.path.isdir(verify) else "cafile": verify}
    context = ssl.create_default_context(**paths) if paths else httpx.create_ssl_context()
    if cert:
        context.load_cert_chain(*cert)
    return context


@pytest.fixture(params=["stock", "own pool", "shared pool", "accelerate", "async own pool", "async shared pool"])
def make(request: pytest.FixtureRequest, new_pool: NewPool) -> Iterator[Make]:
    pool = new_pool()
    made: list[httpx.Client] = []

    def make(**tls: Any) -> httpx.Client:
        shared = {"pool": pool} if "shared" in request.param else {}
        client: httpx.Client
        if request.param == "stock":
            client = httpx.Client(verify=_stock_context(**tls))
        elif request.param == "accelerate":
            client = accelerate(httpx.Client(verify=_stock_context(**tls)), **{"verify": True, **tls})
        elif request.param.startswith("async"):
            portal: BlockingPortal = request.getfixturevalue("portal")
            client = httpx.Client(transport=BlockingTransport(portal, AsyncHTTPTransport(**tls, **shared)))
        else:
            client = httpx.Client(transport=HTTPTransport(**tls, **shared))
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


def _outcome(client: httpx.Client, server: ScriptedServer) -> object:
    try:
        return client.get(server.url, timeout=20).status_code
    except httpx.ConnectError:
        return "ConnectError"


@pytest.fixture
def old_server(serve: Serve, certificates: Certificates) -> ScriptedServer:
    return serve(serve_ok, tls=certificates.server)


@pytest.fixture
def new_server(serve: Serve, certificates: Certificates) -> ScriptedServer:
    """Of the authority in certificates.unknown_ca_file."""
    return serve(serve_ok, tls=certificates.unknown_issuer)


def test_a_replaced_ca_bundle_applies_to_clients_made_afterwards(
    make: Make, old_server: ScriptedServer, new_server: ScriptedServer, certificates: Certificates, tmp_path: Path
) -> None:
    bundle = tmp_path / "ca.pem"
    shutil.copy(certificates.ca_file, bundle)
    before = make(verify=str(bundle))
    assert [_outcome(before, old_server), _outcome(before, new_server)] == [200, "ConnectError"]
    bundle.write_bytes(certificates.unknown_ca_file.read_bytes())
    after = make(verify=str(bundle))
    assert [_outcome(after, old_server), _outcome(after, new_server)] == ["ConnectError", 200]
    assert [_outcome(before, old_server), _outcome(before, new_server)] == [200, "ConnectError"]
    shutil.copy(certificates.ca_file, bundle)
    back = make(verify=str(bundle))
    assert [_outcome(back, old_server), _outcome(back, new_server)] == [200, "ConnectError"]


def test_a_changed_file_is_noticed_even_if_its_size_and_time_are_the_same(
    make: Make, old_server: ScriptedServer, new_server: ScriptedServer, certificates: Certificates, tmp_path: Path
) -> None:
    bundle = tmp_path / "ca.pem"
    old, new = certificates.ca_file.read_bytes(), certificates.unknown_ca_file.read_bytes()
    size = max(len(old), len(new))
    bundle.write_bytes(old.ljust(size, b"\n"))
    os.utime(bundle, (1_700_000_000, 1_700_000_000))
    assert _outcome(make(verify=str(bundle)), old_server) == 200
    bundle.write_bytes(new.ljust(size, b"\n"))
    os.utime(bundle, (1_700_000_000, 1_700_000_000))
    after = make(verify=str(bundle))
    assert [_outcome(after, old_server), _outcome(after, new_server)] == ["ConnectError", 200]


def test_a_link_that_points_elsewhere_is_followed_anew(
    make: Make, old_server: ScriptedServer, new_server: ScriptedServer, certificates: Certificates, tmp_path: Path
) -> None:
    """Replaces a file as Kubernetes does in a secret."""
    link = tmp_path / "ca.pem"
    link.symlink_to(certificates.ca_file)
    assert _outcome(make(verify=str(link)), old_server) == 200
    (tmp_path / "next").symlink_to(certificates.unknown_ca_file)
    (tmp_path / "next").rename(link)
    after = make(verify=str(link))
    assert [_outcome(after, old_server), _outcome(after, new_server)] == ["ConnectError", 200]


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_files_that_the_environment_names_are_read_anew(
    make: Make,
    old_server: ScriptedServer,
    new_server: ScriptedServer,
    certificates: Certificates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    folder = tmp_path / "certs"

    def trust(ca_file: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        shutil.copy(ca_file, folder / _hashed_name(ca_file))
        shutil.copy(ca_file, folder / "ca.pem")

    trust(certificates.ca_file)
    monkeypatch.setenv(variable, str(folder / "ca.pem" if variable == "SSL_CERT_FILE" else folder))
    before = make()
    assert [_outcome(before, old_server), _outcome(before, new_server)] == [200, "ConnectError"]
    trust(certificates.unknown_ca_file)
    after = make()
    assert [_outcome(after, old_server), _outcome(after, new_server)] == ["ConnectError", 200]
    assert _outcome(before, old_server) == 200


def test_several_directories_may_be_named(
    make: Make,
    old_server: ScriptedServer,
    new_server: ScriptedServer,
    certificates: Certificates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, ca_file in zip(folders, [certificates.ca_file, certificates.unknown_ca_file], strict=True):
        folder.mkdir()
        shutil.copy(ca_file, folder / _hashed_name(ca_file))
    monkeypatch.setenv("SSL_CERT_DIR", f"{folders[0]}:{folders[1]}")
    client = make()
    assert [_outcome(client, old_server), _outcome(client, new_server)] == [200, 200]


def test_a_ca_added_to_a_directory_is_found_by_existing_clients_and_not_by_clients_made_after_its_removal(
    make: Make, old_server: ScriptedServer, new_server: ScriptedServer, certificates: Certificates, tmp_path: Path
) -> None:
    shutil.copy(certificates.ca_file, tmp_path / _hashed_name(certificates.ca_file))
    before = make(verify=str(tmp_path))
    assert [_outcome(before, old_server), _outcome(before, new_server)] == [200, "ConnectError"]
    added = tmp_path / _hashed_name(certificates.unknown_ca_file)
    shutil.copy(certificates.unknown_ca_file, added)
    assert _outcome(before, new_server) == 200
    added.unlink()
    after = make(verify=str(tmp_path))
    assert [_outcome(after, old_server), _outcome(after, new_server)] == [200, "ConnectError"]


def _hashed_name(ca_file: Path) -> str:
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-hash", "-in", ca_file], capture_output=True, text=True, check=True, timeout=20
    )
    return f"{shown.stdout.strip()}.0"


# Client certificates.


@pytest.fixture
def asking(serve: Serve, certificates: Certificates) -> ScriptedServer:
    """Asks for a certificate of any authority that the tests have, and answers with its serial number."""
    context = server_context(certificates.server)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates.ca_file)
    context.load_verify_locations(certificates.unknown_ca_file)

    async def script(connection: Connection) -> None:
        shown: Any = connection.tls.getpeercert()
        while True:
            await connection.request()
            await connection.respond(shown["serialNumber"].encode())

    return serve(script, tls=context)


def _serial_number(identity: Identity) -> str:
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-serial", "-in", identity.certificate],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    return shown.stdout.strip().partition("=")[2]


def test_clients_made_after_a_renewal_present_the_renewed_certificate(
    make: Make, asking: ScriptedServer, certificates: Certificates, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "client.crt", tmp_path / "client.key"

    def put(identity: Identity) -> str:
        shutil.copy(identity.certificate, certificate)
        shutil.copy(identity.key, key)
        return _serial_number(identity)

    first = put(certificates.client)
    tls: dict[str, Any] = {"verify": str(certificates.ca_file), "cert": (str(certificate), str(key))}
    before = make(**tls)
    assert before.get(asking.url).text == first
    second = put(certificates.server)  # any that the authority signed
    after = make(**tls)
    assert after.get(asking.url).text == second
    assert before.get(asking.url).text == first
    before.close()
    assert make(**tls).get(asking.url).text == second


def test_a_corrected_password_is_accepted_after_a_wrong_one(
    make: Make, asking: ScriptedServer, certificates: Certificates
) -> None:
    verify = str(certificates.ca_file)
    files = str(certificates.client.certificate), str(certificates.client_encrypted_key)
    with pytest.raises((ValueError, ssl.SSLError)):
        make(verify=verify, cert=(*files, "wrong")).get(asking.url)
    right = make(verify=verify, cert=(*files, CLIENT_KEY_PASSWORD))
    assert right.get(asking.url).text == _serial_number(certificates.client)


def test_a_missing_file_is_found_once_it_exists(
    make: Make, old_server: ScriptedServer, certificates: Certificates, tmp_path: Path
) -> None:
    bundle = tmp_path / "ca.pem"
    with pytest.raises(OSError, match=r"No such file"):
        make(verify=str(bundle))
    shutil.copy(certificates.ca_file, bundle)
    assert _outcome(make(verify=str(bundle)), old_server) == 200


# What is shared all the same.


def test_clients_of_one_content_share_connections(
    new_pool: NewPool, old_server: ScriptedServer, certificates: Certificates, tmp_path: Path
) -> None:
    pool, bundle = new_pool(), tmp_path / "ca.pem"
    for _ in range(3):
        bundle.write_bytes(certificates.ca_file.read_bytes())  # written again, with what it held
        with httpx.Client(transport=HTTPTransport(verify=str(bundle), pool=pool)) as client:
            assert client.get(old_server.url).status_code == 200
    assert old_server.connections == 1


def test_settings_are_equal_only_for_equal_contents(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(bundle))
    first = settings_from(str(bundle))
    assert first == settings_from(str(bundle))
    assert first.read() is not None
    trustme.CA().cert_pem.write_to_path(str(bundle))
    second = settings_from(str(bundle))
    assert first != second
    assert first.files != second.files
    assert second.files is not None
    assert second.files.digest == settings_from(str(bundle)).files.digest  # type: ignore[union-attr]
