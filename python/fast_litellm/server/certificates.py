"""Certificates made on the spot: a private authority, and a certificate of it for loopback."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def loopback_context(ca_file: Path) -> ssl.SSLContext:
    """A server's context with a fresh certificate for loopback; its authority's certificate is written to `ca_file`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    authority.issue_cert(*LOOPBACK_NAMES).configure_cert(context)
    return context
