"""Certificates for the tests, good and bad, as files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import trustme

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
CLIENT_KEY_PASSWORD = "correct horse"


@dataclass(frozen=True)
class Identity:
    """A certificate with its chain, and its private key."""

    certificate: Path
    key: Path
    #: Both in one file, as httpx's `cert="path"` takes them.
    combined: Path


@dataclass(frozen=True)
class Certificates:
    #: The authority that the tests trust.
    ca_file: Path
    #: An untrusted authority.
    unknown_ca_file: Path
    #: For localhost, 127.0.0.1 and ::1.
    server: Identity
    #: The same names, but its time is over.
    expired: Identity
    #: Good, but for another.example alone.
    wrong_host: Identity
    #: The right names, by the untrusted authority.
    unknown_issuer: Identity
    #: For a client; by the authority that the tests trust.
    client: Identity
    #: The client's private key under CLIENT_KEY_PASSWORD.
    client_encrypted_key: Path


def make_certificates(folder: Path) -> Certificates:
    authority, stranger = trustme.CA(), trustme.CA()
    ca_file, unknown_ca_file = folder / "ca.pem", folder / "unknown-ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    stranger.cert_pem.write_to_path(str(unknown_ca_file))

    def write(name: str, issued: trustme.LeafCert) -> Identity:
        identity = Identity(folder / f"{name}.crt", folder / f"{name}.key", folder / f"{name}.pem")
        identity.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        identity.key.write_bytes(issued.private_key_pem.bytes())
        identity.combined.write_bytes(issued.private_key_and_cert_chain_pem.bytes())
        return identity

    yesterday = datetime.now(timezone.utc) - timedelta(days=1)
    client = authority.issue_cert("client@example.org")
    return Certificates(
        ca_file=ca_file,
        unknown_ca_file=unknown_ca_file,
        server=write("server", authority.issue_cert(*LOOPBACK_NAMES)),
        expired=write(
            "expired",
            authority.issue_cert(*LOOPBACK_NAMES, not_before=yesterday - timedelta(days=1), not_after=yesterday),
        ),
        wrong_host=write("wrong-host", authority.issue_cert("another.example")),
        unknown_issuer=write("unknown-issuer", stranger.issue_cert(*LOOPBACK_NAMES)),
        client=write("client", client),
        client_encrypted_key=_encrypted(client, folder / "client-encrypted.key"),
    )


def _encrypted(issued: trustme.LeafCert, path: Path) -> Path:
    # trustme needs cryptography itself, so it is there.
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), password=None)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(CLIENT_KEY_PASSWORD.encode()),
        )
    )
    return path
