"""From httpx's `verify`, `cert` and `trust_env` to the core's TLS settings.

The result verifies what this Python's own default context would: its verify flags, ciphers, security level and lowest
version are read from one. What cannot be told to the core in full is refused, never weakened.
"""

from __future__ import annotations

import errno
import functools
import os
import ssl
from pathlib import Path
from typing import Any, TypeAlias

from . import _core

#: A file with certificate and key; or (certificate, key); or (certificate, key, password).
Cert: TypeAlias = (
    "str | os.PathLike[str]"
    " | tuple[str | os.PathLike[str], str | os.PathLike[str] | None]"
    " | tuple[str | os.PathLike[str], str | os.PathLike[str] | None, str | None]"
)
#: ssl.SSLContext is here because httpx takes one; it is refused with the reason.
Verify: TypeAlias = "ssl.SSLContext | str | os.PathLike[str] | bool"


def settings_from(verify: Verify = True, cert: Cert | None = None, trust_env: bool = True) -> _core.TlsSettings:
    """The settings for httpx's arguments of the same names, by httpx's rules: `verify=True` means SSL_CERT_FILE, else
    SSL_CERT_DIR (both only with `trust_env`), else certifi's bundle.

    Raises TypeError for an `ssl.SSLContext` or a replaced `ssl` module, OSError naming a file that cannot be read.
    """
    locations = _trust_locations(verify, trust_env)
    return _settings(locations, _client_certificate(cert))


def _trust_locations(verify: Verify, trust_env: bool) -> tuple[str, str] | None:
    """(CA file, CA directory), one of them empty; None to verify nothing."""
    if verify is False:
        return None
    if verify is not True and not isinstance(verify, (str, os.PathLike)):
        given = "an ssl.SSLContext" if hasattr(verify, "wrap_bio") else f"a {type(verify).__name__}"
        raise TypeError(
            f"verify={given} cannot be used by this transport yet, as the pool does TLS itself; pass True, False or "
            "the path of a CA bundle (and cert= for a client certificate), or use httpx.HTTPTransport"
        )
    if not is_original_context_class():
        raise TypeError(
            "ssl.SSLContext was replaced (truststore?), so certificates must be verified by what replaced it; "
            "use httpx.HTTPTransport, the stock transport"
        )
    if verify is not True:
        return _bundle(os.fspath(verify), "verify")
    if trust_env:
        for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
            if path := os.environ.get(variable):
                # httpx takes either variable for what its name says.
                return _bundle(path, variable, directory=variable == "SSL_CERT_DIR")
    import certifi

    return _bundle(certifi.where(), "certifi")


def is_original_context_class() -> bool:
    """False if somebody put another class in the place of `ssl.SSLContext`."""
    context: Any = ssl.SSLContext
    return context.__module__ == "ssl" and [base.__module__ for base in context.__bases__] == ["_ssl"]


def _bundle(path: str, source: str, directory: bool | None = None) -> tuple[str, str]:
    is_directory = os.path.isdir(path)
    if directory is None:
        directory = is_directory
    if directory and not is_directory:
        raise NotADirectoryError(errno.ENOTDIR, f"the CA directory of {source} is not a directory", path)
    if directory:
        if not os.access(path, os.R_OK | os.X_OK):
            raise PermissionError(errno.EACCES, f"the CA directory of {source} cannot be read", path)
        return "", path
    _check_readable(path, f"the CA bundle of {source}")
    return path, ""


def _client_certificate(cert: Cert | None) -> tuple[str, str, str]:
    if not cert:
        return "", "", ""
    parts = (cert,) if isinstance(cert, (str, os.PathLike)) else tuple(cert)
    if not 1 <= len(parts) <= 3:
        raise ValueError(f"cert must be a path, (path, key) or (path, key, password), not {len(parts)} items")
    given: list[Any] = [*parts, None, None]
    certificate = os.fspath(given[0])
    key = os.fspath(given[1] or "")
    password = given[2] or ""
    if not isinstance(password, str):
        raise TypeError(f"the password of cert must be a str, not {type(password).__name__}")
    _check_readable(certificate, "the client certificate of cert")
    if key:
        _check_readable(key, "the private key of cert")
    return certificate, key, password


def _check_readable(path: str, what: str) -> None:
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except OSError as error:
        # The kind stays (FileNotFoundError, PermissionError, ...); the message names the argument and the path.
        raise type(error)(error.errno, f"{what} cannot be read: {error.strerror}", path) from None


@functools.lru_cache(maxsize=256)
def _settings(locations: tuple[str, str] | None, certificate: tuple[str, str, str]) -> _core.TlsSettings:
    ca_file, ca_directory = locations or ("", "")
    certificate_file, private_key_file, private_key_password = certificate
    return _core.TlsSettings(
        verify_peer=locations is not None,
        verify_hostname=locations is not None,
        ca_file=ca_file,
        ca_directory=ca_directory,
        certificate_file=certificate_file,
        private_key_file=private_key_file,
        private_key_password=private_key_password,
        **_defaults(),
    )


@functools.cache
def _defaults() -> dict[str, Any]:
    """What this Python's default context says. A CA directory keeps it from loading the system's bundle (40 ms)."""
    context = ssl.create_default_context(capath=os.devnull)
    ciphers = [str(cipher["name"]) for cipher in context.get_ciphers() if cipher["protocol"] != "TLSv1.3"]
    return {
        "verify_flags": int(context.verify_flags),
        "cipher_list": ":".join(ciphers),
        "security_level": context.security_level,
        "minimum_version": max(int(context.minimum_version), int(ssl.TLSVersion.TLSv1_2)),
        "options": int(context.options),
    }
