"""What becomes of an httpx client that litellm or an SDK is constructing: our transport, or httpx's own and why."""

from __future__ import annotations

import os
import ssl
from typing import Any, NamedTuple, Protocol

from fast_litellm.instrumentation import Veto

from .tls_recipe import Rebuilt, Refused, interpreter_tls_is_original


class Arguments(NamedTuple):
    """The arguments of `httpx.Client._init_transport`, with its defaults."""

    verify: Any = True
    cert: Any = None
    trust_env: bool = True
    http1: bool = True
    http2: bool = False
    limits: Any = None
    transport: Any = None

    def for_transport(self) -> dict[str, Any]:
        """Those that both HTTPTransports take."""
        keywords = self._asdict()
        del keywords["transport"]
        if self.limits is None:
            del keywords["limits"]
        return keywords


class Stock(NamedTuple):
    reason: str


class Accelerate(NamedTuple):
    #: Arguments of our HTTPTransport; settings of a rebuilt TLS context stand under "tls_settings", as keywords.
    keywords: dict[str, Any]
    vetoes: tuple[Veto, ...] = ()


class Rebuilder(Protocol):
    def rebuild(self, context: ssl.SSLContext) -> Rebuilt | Refused: ...


def decide(arguments: Arguments, contexts: Rebuilder) -> Accelerate | Stock:
    """Never raises for odd arguments: what we do not understand is httpx's to judge."""
    if arguments.transport is not None:
        return Stock("transport given")
    if arguments.http2:
        return Stock("http2: not yet")
    if not arguments.http1:
        return Stock("http1 disabled")
    keywords = arguments.for_transport()
    if isinstance(arguments.verify, ssl.SSLContext):
        if arguments.cert:
            return Stock("ssl context: with a client certificate")
        rebuilt = contexts.rebuild(arguments.verify)
        if isinstance(rebuilt, Refused):
            return Stock(rebuilt.reason)
        keywords.update(verify=True, cert=None)
        return Accelerate({**keywords, "tls_settings": rebuilt.settings}, (rebuilt.veto,))
    if not isinstance(arguments.verify, (bool, str)):
        return Stock("ssl context: not the interpreter's own kind")
    if arguments.verify is not False:
        if not interpreter_tls_is_original():
            return Stock("the ssl module was replaced")
        if os.environ.get("SSLKEYLOGFILE"):
            return Stock("SSLKEYLOGFILE is set")
    return Accelerate(keywords)
