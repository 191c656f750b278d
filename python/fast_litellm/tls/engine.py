"""From httpx's `verify`, `cert` and `trust_env` to who speaks TLS: the core, by settings, or an `ssl.SSLContext`.

Settings verify what this Python's own default context would: its verify flags, ciphers, security level and lowest
version are read from one. What cannot be expressed to the core in full is not taken over: a context of the caller's,
one of a class that stands in the place of Python's own (truststore), and one that logs its keys speak TLS themselves.
"""

from __future__ import annotations

import errno
import functools
import os
import ssl
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

from .. import _core

#: A file with certificate and key; or (certificate, key); or (certificate, key, password).
Cert: TypeAlias = (
    "str | os.PathLike[str]"
    " | tuple[str | os.PathLike[str], str | os.PathLike[str] | None]"
    " | tuple[str | os.PathLike[str], str | os.PathLike[str] | None, str | None]"
)
Verify: TypeAlias = "ssl.SSLContext | str | os.PathLike[str] | bool"


class Engine(NamedTuple):
    """Who speaks TLS: the context if there is one, which is used as it is, now and later; else the core."""

    settings: _core.TlsSettings
    context: ssl.SSLContext | None


def engine_from(
    verify: Verify = True,
    cert: Cert | None = None,
    trust_env: bool = True,
    *,
    by_socket: bool = True,
    library: ModuleType | None = None,
    by_context: bool = False,
) -> Engine:
    """For httpx's arguments of the same names. A context is used where the caller gives one, and where httpx would make
    one that does more than settings can tell; then it is httpx that makes it, and loads `cert` into it.

    `by_socket`: httpx would call the context's `wrap_socket` (as its blocking transport does), so a context that
    changed that alone is refused. `library`: what stands for httpx here, if it is not httpx. `by_context`: a context is
    needed in any case.

    Raises TypeError for what is no usable context, otherwise as `settings_from` and `httpx.create_ssl_context`.
    """
    given = verify is not True and verify is not False and not isinstance(verify, (str, os.PathLike))
    if not given and not by_context and (verify is False or not _needs_context()):
        return Engine(settings_from(verify, cert, trust_env), None)
    if given:
        _check_context(verify, by_socket)
        if not cert:
            return Engine(_core.TlsSettings(), verify)  # type: ignore[arg-type]
    httpx: Any = library or import_module("httpx")
    path_or_context: Any = os.fspath(verify) if isinstance(verify, os.PathLike) else verify
    context = httpx.create_ssl_context(verify=path_or_context, cert=cert, trust_env=trust_env)
    return Engine(_core.TlsSettings(), context)


def engine_to_proxies(library: ModuleType) -> Engine:
    """What the library verifies an `https` proxy with that has no context of its own: httpcore's default, which is that
    of Python (the system's store, SSL_CERT_FILE, SSL_CERT_DIR) and certifi's bundle."""
    if library.__name__ != "httpx" or _needs_context():
        core = import_module("httpcore" + library.__name__.removeprefix("httpx"))
        return Engine(_core.TlsSettings(), core.default_ssl_context())
    import certifi

    paths = ssl.get_default_verify_paths()
    bundle = Path(certifi.where()).read_text("utf-8")
    return Engine(_settings((paths.cafile or "", paths.capath or ""), ("", "", ""), bundle), None)


def _needs_context() -> bool:
    """Whether a context that httpx makes now does what the core does not."""
    return not is_original_context_class() or bool(os.environ.get("SSLKEYLOGFILE"))


def _check_context(context: Any, by_socket: bool) -> None:
    if not callable(getattr(context, "wrap_bio", None)):
        raise TypeError(
            f"verify={type(context).__name__} cannot be used by this transport, as it has no wrap_bio(); pass an "
            "ssl.SSLContext, True, False or the path of a CA bundle, or use httpx.HTTPTransport"
        )
    if not by_socket:
        return
    if not _is_pythons_own(context, "wrap_socket") and _is_pythons_own(context, "wrap_bio"):
        raise TypeError(
            "this ssl.SSLContext has a wrap_socket() of its own, which this transport would not call (it uses "
            "wrap_bio); use httpx.HTTPTransport"
        )
    own_sockets = getattr(context, "sslsocket_class", ssl.SSLSocket) is not ssl.SSLSocket
    if own_sockets and getattr(context, "sslobject_class", ssl.SSLObject) is ssl.SSLObject:
        raise TypeError(
            "this ssl.SSLContext has an sslsocket_class of its own, which this transport would not use (it uses "
            "sslobject_class); use httpx.HTTPTransport"
        )


def _is_pythons_own(context: object, method: str) -> bool:
    function = getattr(getattr(context, method), "__func__", None)
    return getattr(function, "__globals__", None) is vars(ssl)


def settings_from(verify: Verify = True, cert: Cert | None = None, trust_env: bool = True) -> _core.TlsSettings:
    """The settings for httpx's arguments of the same names, by httpx's rules: `verify=True` means SSL_CERT_FILE, else
    SSL_CERT_DIR (both only with `trust_env`), else certifi's bundle. They hold what the files hold now: settings of
    other contents under the same names are not equal, and share nothing.

    Raises TypeError for an `ssl.SSLContext` or a replaced `ssl` module (see `engine_from`), OSError naming a file that
    cannot be read.
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
            f"verify={given} cannot be told to the core as settings; pass True, False or the path of a CA bundle (and "
            "cert= for a client certificate)"
        )
    if not is_original_context_class():
        raise TypeError(
            "ssl.SSLContext was replaced (truststore?), so certificates must be verified by what replaced it"
        )
    if verify is not True:
        return _bundle(os.fspath(verify), "verify")
    named = _trust_locations_of_environment() if trust_env else None
    if named is not None:
        return named
    import certifi

    return _bundle(certifi.where(), "certifi")


def is_original_context_class() -> bool:
    """False if another class stands in the place of `ssl.SSLContext`."""
    context: Any = ssl.SSLContext
    return context.__module__ == "ssl" and [base.__module__ for base in context.__bases__] == ["_ssl"]


def trust_now(trust_env: bool) -> object:
    """Equal for as long as what `verify=True` may go by has not changed: the files that the environment names, else
    certifi's bundle and OpenSSL's default places. None if a file cannot be read."""
    try:
        named = _trust_locations_of_environment() if trust_env else None
        if named is not None:
            return _core.TlsSettings(ca_file=named[0], ca_directory=named[1]).read().files
        import certifi

        return _core.TlsSettings(ca_file=certifi.where()).read().files, _core.TlsSettings().read().files
    except (ImportError, OSError, ValueError):
        return None


def _trust_locations_of_environment() -> tuple[str, str] | None:
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        if path := os.environ.get(variable):
            # httpx takes either variable for what its name says.
            return _bundle(path, variable, directory=variable == "SSL_CERT_DIR")
    return None


def _bundle(path: str, source: str, directory: bool | None = None) -> tuple[str, str]:
    # SSL_CERT_DIR may name several, as OpenSSL has it.
    there = [each for each in (path.split(os.pathsep) if directory else [path]) if os.path.isdir(each)]
    if directory is None:
        directory = bool(there)
    if directory and not there:
        raise NotADirectoryError(errno.ENOTDIR, f"the CA directory of {source} is not a directory", path)
    if directory:
        if not any(os.access(each, os.R_OK | os.X_OK) for each in there):
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


def _settings(
    locations: tuple[str, str] | None, certificate: tuple[str, str, str], bundle: str = ""
) -> _core.TlsSettings:
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
        ca=bundle,
        **_defaults(),
    ).read()


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
