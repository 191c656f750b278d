"""A TLS session of the core's own, as users of `ssl.SSLObject` expect it.

A certificate is decoded by Python's own `ssl`, so that its dictionary is what `getpeercert()` gives anywhere else.
"""

from __future__ import annotations

import contextlib
import functools
import os
import ssl
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Any, NoReturn

Cipher = tuple[str, str, int]


class TlsSession:
    """What the TLS handshake of a connection came to, with the names and the answers of `ssl.SSLObject`.

    For looking alone. It holds what was so when it was asked for and knows no connection: it can be kept, after the
    response too, and asked from any thread. It is no `ssl.SSLObject`, as the session is not Python's; what would touch
    the connection (`read`, `write`, `pending`, `do_handshake`, `unwrap`) or needs Python's session (`context`,
    `session`, the chains of certificates) is an AttributeError.
    """

    __slots__ = (
        "_alpn_protocol",
        "_certificate",
        "_channel_binding",
        "_cipher",
        "_server_name",
        "_session_reused",
        "_verified",
        "_version",
    )

    #: It is the client's side.
    server_side = False

    def __init__(
        self,
        version: str,
        cipher: Cipher,
        alpn_protocol: str | None,
        server_name: str,
        session_reused: bool,
        verified: bool,
        certificate: bytes | None,
        channel_binding: bytes | None,
    ) -> None:
        self._version = version
        self._cipher = cipher
        self._alpn_protocol = alpn_protocol
        self._server_name = server_name
        self._session_reused = session_reused
        self._verified = verified
        self._certificate = certificate
        self._channel_binding = channel_binding

    @property
    def server_hostname(self) -> str:
        return self._server_name

    @property
    def session_reused(self) -> bool:
        """Whether the handshake resumed an earlier session."""
        return self._session_reused

    def version(self) -> str:
        """`"TLSv1.3"` or `"TLSv1.2"`."""
        return self._version

    def cipher(self) -> Cipher:
        """Its name, the version of TLS that defines it, its secret bits."""
        return self._cipher

    def shared_ciphers(self) -> None:
        """None: only a server knows."""

    def compression(self) -> None:
        """None: the core never compresses."""

    def selected_alpn_protocol(self) -> str | None:
        return self._alpn_protocol

    def getpeercert(self, binary_form: bool = False) -> dict[str, Any] | bytes | None:
        """The peer's certificate, None if it showed none: decoded, `{}` if it was not verified; or as DER, verified or
        not."""
        if self._certificate is None or binary_form:
            return self._certificate
        return dict(_decoded(self._certificate)) if self._verified else {}

    def get_channel_binding(self, cb_type: str = "tls-unique") -> bytes | None:
        """ValueError for another type than "tls-unique"."""
        if cb_type != "tls-unique":
            raise ValueError(f"'{cb_type}' channel binding type not implemented")
        return self._channel_binding

    def __getattr__(self, name: str) -> NoReturn:
        text = f"{type(self).__name__!r} object has no attribute {name!r}"
        if hasattr(ssl.SSLObject, name):
            text += ": the pool's own TLS session is for looking at the connection only, not for using it"
        raise AttributeError(text, name=name, obj=self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._version} {self._cipher[0]} {self._server_name!r}>"


@functools.lru_cache(maxsize=64)
def _decoded(certificate: bytes) -> dict[str, Any]:
    # There is no public function for it: `ssl` decodes what it has shaken hands with, and authorities' certificates.
    # This one, for its own tests, is the very decoder behind `getpeercert()`, and takes a file.
    decode: Callable[[str], dict[str, Any]] | None = getattr(getattr(ssl, "_ssl", None), "_test_decode_cert", None)
    if decode is None:
        raise NotImplementedError("this Python cannot decode a certificate: ask for getpeercert(binary_form=True)")
    with _file_with(ssl.DER_cert_to_PEM_cert(certificate).encode()) as path:
        return decode(path)


@contextlib.contextmanager
def _file_with(content: bytes) -> Iterator[str]:
    """A path that can be opened and read, until the end of the `with`."""
    with _file_in_memory() or tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}" if isinstance(file.name, int) else file.name


def _file_in_memory() -> IO[bytes] | None:
    """As not every place has a directory to write to; None where the system has no such files."""
    if not hasattr(os, "memfd_create") or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        return open(os.memfd_create("certificate"), "wb")
    except OSError:  # not allowed here
        return None
