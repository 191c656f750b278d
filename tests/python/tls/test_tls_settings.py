"""The settings of the core that follow from verify, cert and trust_env."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi
import pytest

from fast_litellm.tls.engine import settings_from
from support.certificates import Certificates


@pytest.fixture(autouse=True)
def _no_certificates_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


def test_true_means_certifi() -> None:
    settings = settings_from(True)
    assert (settings.ca_file, settings.ca_directory) == (certifi.where(), "")
    assert settings.verify_peer
    assert settings.verify_hostname


def test_false_means_neither_chain_nor_name() -> None:
    settings = settings_from(False)
    assert not settings.verify_peer
    assert not settings.verify_hostname


def test_the_environment_names_the_bundle_as_for_httpx(
    monkeypatch: pytest.MonkeyPatch, certificates: Certificates, tmp_path: Path
) -> None:
    file = str(certificates.ca_file)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert settings_from().ca_directory == str(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", file)
    assert (settings_from().ca_file, settings_from().ca_directory) == (file, "")
    assert settings_from(trust_env=False).ca_file == certifi.where()
    assert settings_from(False).ca_file == ""
    monkeypatch.setenv("SSL_CERT_FILE", "")
    assert settings_from().ca_directory == str(tmp_path)


def test_a_path_is_a_file_or_a_directory(certificates: Certificates, tmp_path: Path) -> None:
    assert settings_from(certificates.ca_file).ca_file == str(certificates.ca_file)
    assert settings_from(str(tmp_path)).ca_directory == str(tmp_path)


def test_the_strictness_is_that_of_this_pythons_default_context() -> None:
    context = ssl.create_default_context()
    settings = settings_from()
    assert settings.verify_flags == int(context.verify_flags)
    assert settings.security_level == context.security_level
    assert settings.minimum_version >= int(ssl.TLSVersion.TLSv1_2)
    ours = set(settings.cipher_list.split(":"))
    assert ours == {cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] != "TLSv1.3"}


def test_a_client_certificate_may_have_its_key_beside_it(certificates: Certificates) -> None:
    client = certificates.client
    assert settings_from(cert=str(client.combined)).certificate_file == str(client.combined)
    settings = settings_from(cert=(client.certificate, certificates.client_encrypted_key, "secret"))
    assert settings.certificate_file == str(client.certificate)
    assert settings.private_key_file == str(certificates.client_encrypted_key)
    assert settings.private_key_password == "secret"


def test_the_error_names_a_bundle_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"CA bundle of verify.*missing\.pem"):
        settings_from(str(tmp_path / "missing.pem"))


def test_the_error_names_a_path_that_is_not_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    monkeypatch.setenv("SSL_CERT_DIR", str(file))
    with pytest.raises(NotADirectoryError, match=r"SSL_CERT_DIR is not a directory.*file"):
        settings_from()
