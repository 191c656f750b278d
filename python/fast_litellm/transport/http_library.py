"""What the transports take from httpx, or from its twin httpx2: chosen by which library asks."""

from __future__ import annotations

import functools
import os
from types import ModuleType
from typing import Any

from ..exceptions import cannot_watch, error_factory


class HTTPLibrary:
    """One of the two, by its names. Immutable; any thread."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.Response: Any = module.Response
        self.SyncByteStream: type = module.SyncByteStream
        self.AsyncByteStream: type = module.AsyncByteStream
        #: What a library's own default is; other limits are the caller's wish.
        self.default_limits: Any = module.Limits(
            max_connections=100, max_keepalive_connections=20, keepalive_expiry=5.0
        )
        #: What becomes of `content=b"..."`: one piece, kept in `_stream`. Not exported by httpx, so found by looking.
        whole: Any = type(module.Request("POST", "http://localhost", content=b"-").stream)
        self.whole_body: Any = whole if getattr(whole(b"-"), "_stream", None) == b"-" else None
        self.error_factory = (
            error_factory if module.__name__ == "httpx" else functools.partial(error_factory, library=module.__name__)
        )
        #: Make the exception for an event loop that cannot watch a connection, by what the caller was about to do.
        self.cannot_start = functools.partial(cannot_watch, library=module.__name__)
        self.cannot_write = functools.partial(cannot_watch, library=module.__name__, phase="write")
        self.cannot_read = functools.partial(cannot_watch, library=module.__name__, phase="read_body")

    def default_context(self, cert: Any, trust_env: bool) -> Any:
        """The context that the library itself takes for `verify=True`, or None if it is what `tls.engine.settings_from`
        makes of it: httpx2 verifies by other means than certifi's bundle, which change from version to version."""
        if self.module.__name__ == "httpx":
            return None
        if trust_env and (os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")):
            return None
        return self.module.create_ssl_context(True, cert, trust_env)

    def unsupported_scheme(self, scheme: str) -> Exception:
        detail = (
            f"Request URL has an unsupported protocol '{scheme}://'."
            if scheme
            else "Request URL is missing an 'http://' or 'https://' protocol."
        )
        error: Exception = self.module.UnsupportedProtocol(detail)
        return error


@functools.cache
def http_library_of(module: ModuleType) -> HTTPLibrary:
    return HTTPLibrary(module)
