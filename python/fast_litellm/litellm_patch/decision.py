"""What becomes of an httpx client that litellm or an SDK is constructing: our transport, or the stock one and why."""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from ..acceleration.libraries import Library
from ..acceleration.veto import Veto
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
    #: httpx before 0.28: an ASGI or WSGI application to call in place of a server.
    app: Any = None

    def for_transport(self) -> dict[str, Any]:
        """Those that both HTTPTransports take."""
        keywords = self._asdict()
        del keywords["transport"], keywords["app"]
        if self.limits is None:
            del keywords["limits"]
        return keywords


class Stock(NamedTuple):
    reason: str


class Accelerate(NamedTuple):
    #: Arguments of our transports; settings of a rebuilt TLS context stand under "tls_settings", as keywords.
    keywords: dict[str, Any]
    vetoes: tuple[Veto, ...] = ()
    #: Why TLS is left to the very context under "verify"; empty if the pool's own TLS serves.
    context_because: str = ""


class Rebuilder(Protocol):
    def rebuild(self, context: ssl.SSLContext) -> Rebuilt | Refused: ...


def decide(
    arguments: Arguments, contexts: Rebuilder, library: Library, extras: Mapping[str, Any] | None = None
) -> Accelerate | Stock:
    """`extras`: further arguments of our transports, such as local_address.

    Never raises for odd arguments: what we do not understand is httpx's to judge.
    """
    if not arguments.http1 and not arguments.http2:
        return Stock("http1 disabled")
    keywords = {**arguments.for_transport(), **(extras or {})}
    reason = ""
    if is_context(arguments.verify):
        if not arguments.cert:
            rebuilt = contexts.rebuild(arguments.verify)
            if isinstance(rebuilt, Rebuilt):
                keywords.update(verify=True, cert=None)
                return Accelerate({**keywords, "tls_settings": rebuilt.settings}, (rebuilt.veto,))
            reason = rebuilt.reason
        else:
            reason = "ssl context: with a client certificate"
    elif not isinstance(arguments.verify, (bool, str)):
        return Stock("ssl context: not the interpreter's own kind")
    elif arguments.verify is not False or arguments.cert:
        reason = _needs_the_librarys_context(arguments, library)
    if not reason:
        return Accelerate(keywords)
    try:
        context = _context_of(arguments, library)
    except Exception as error:  # the stock transport's constructor says it again, to the caller
        return Stock(f"refused: {type(error).__name__}")
    keywords.update(verify=context, cert=None)
    return Accelerate(keywords, context_because=reason)


def _context_of(arguments: Arguments, library: Library) -> Any:
    """What httpx makes of verify, cert and trust_env, a certificate loaded into the user's own context included.

    Only the library makes its default; so all clients have the same one, and share connections.
    """
    if arguments.verify is True and not arguments.cert:
        from ..tls.engine import trust_now

        variables = map(os.environ.get, _SSL_VARIABLES)
        surroundings = (ssl.SSLContext, ssl.create_default_context, *variables, trust_now(arguments.trust_env))
        return _default_context(library, arguments.trust_env, surroundings)
    return library.httpx.create_ssl_context(verify=arguments.verify, cert=arguments.cert, trust_env=arguments.trust_env)


@functools.lru_cache(maxsize=8)
def _default_context(library: Library, trust_env: bool, surroundings: tuple[Any, ...]) -> Any:
    return library.httpx.create_ssl_context(verify=True, trust_env=trust_env)


_SSL_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")


def is_context(value: object) -> bool:
    """Whether it does TLS as an ssl.SSLContext does. Not isinstance: the class may have been replaced."""
    return hasattr(value, "wrap_bio")


def _needs_the_librarys_context(arguments: Arguments, library: Library) -> str:
    """Why settings of our own could differ from what the library would verify with; empty if they cannot."""
    if not interpreter_tls_is_original():
        return "the ssl module was replaced"
    if arguments.verify is not False and os.environ.get("SSLKEYLOGFILE"):
        return "SSLKEYLOGFILE is set"
    if library.name != "httpx":  # what its True means is its own, and changes with its versions
        named = arguments.trust_env and (os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"))
        if arguments.cert or (arguments.verify is True and not named):
            return f"{library.name}'s own trust"
    return ""
