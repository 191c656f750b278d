"""What stands in the place of litellm's aiohttp transport.

It decides with each request as that one does: which proxy of the environment carries it is asked of the very
transport, which stays beside ours, and takes what goes under a mock or through a proxy that ours cannot use. No session
of aiohttp is made until then.
"""

from __future__ import annotations

import functools
import os
import urllib.request
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from types import FunctionType, SimpleNamespace
from typing import Any

from ..acceleration.libraries import Library
from ..acceleration.seams import Place, Seams, is_function_beside
from ..acceleration.transports import AsyncAcceleratedTransport, of_library
from ..acceleration.veto import Veto
from ..runtime.counters import counters


class AiohttpStandIn(AsyncAcceleratedTransport):
    """The transport of a client that litellm gave one of aiohttp; on asyncio, as aiohttp is."""

    def __init__(
        self,
        library: Library,
        seams: Seams,
        ours: Any,
        stock: Any,
        trust_env: bool,
        looks_for_proxies: Callable[[], bool],
        vetoes: tuple[Veto, ...],
        make_proxied: Callable[[str], Any],
    ) -> None:
        super().__init__(library, seams, ours, lambda: stock, vetoes)
        self._of = library
        self._aiohttp = stock
        self._trust_env = trust_env
        self._proxy_of = getattr(stock, "_get_proxy_settings", None)  # litellm before 1.74: no proxies there
        known: MutableMapping[str, str | None] | None = getattr(stock, "proxy_cache", None)
        self._known_proxies = known if known is not None else {}
        self._looks_for_proxies = looks_for_proxies if known is not None else bool
        self._make_proxied = make_proxied
        #: Ours through each proxy; None where the stock transport is to take what goes there.
        self._through: dict[str, Any] = {}

    async def handle_async_request(self, request: Any) -> Any:
        proxy = await self._proxy_for(request)
        if not proxy:
            return await super().handle_async_request(request)
        if proxy not in self._through:
            self._through[proxy] = self._make_proxied(proxy)
        through = self._through[proxy]
        # The rule is asked here, with each request: a veto may come later than the transport was made.
        reason = "proxy" if through is None else self._obstacle()
        if not reason:
            try:
                return await through.handle_async_request(request)
            except self._other_scheme:
                reason = "scheme: not http"
            except self._of.httpx.ConnectError as error:
                if getattr(error, "code", "") not in ("connect_failed", "resolve_failed"):
                    raise
                # As litellm calls it where aiohttp cannot reach a proxy.
                raise self._of.httpx.ProxyError(str(error)) from error
        return await self._stock_for(reason).handle_async_request(request)

    async def _proxy_for(self, request: Any) -> str | None:
        """The proxy that the stock transport would take for a request."""
        host = request.url.host
        # A host that was once found to need no proxy needs none, whatever the settings have become.
        if self._proxy_of is not None and self._known_proxies.get(host, "?") is not None:
            if not environment_may_name_a_proxy() and self._looks_for_proxies() and self._untouched():
                # What it would find, and keep. To look as it does costs a client's first request 0.2 ms.
                self._known_proxies[host] = None
            else:
                named: str | None = await self._proxy_of(request)
                if named:
                    return str(named)
        return _proxy_of_environment(request.url) if self._trust_env else None

    async def aclose(self) -> None:
        for through in filter(None, self._through.values()):
            await through.aclose()
        await super().aclose()

    def __del__(self) -> None:
        # litellm's handlers dispose of a session that they find in an aiohttp transport when no loop is left to close
        # it on; they do not find it behind ours.
        session = getattr(getattr(self, "_stock", None), "client", None)
        if getattr(session, "closed", True) or not getattr(self._stock, "_owns_session", False):
            return
        with suppress(Exception):
            self._stock._close_recycled_session(session)


def stand_in(
    library: Library,
    ours: Any,
    stock: Any,
    trust_env: bool,
    looks_for_proxies: Callable[[], bool] = bool,
    vetoes: tuple[Veto, ...] = (),
    make_proxied: Callable[[str], Any] = lambda _: None,
) -> AiohttpStandIn:
    """`looks_for_proxies`: whether `stock`, asked for a proxy now, would look for one in the environment.
    `make_proxied`: ours through the proxy of that URL; None where `stock` is to take what goes there."""
    kind = of_library(AiohttpStandIn, library.httpx.AsyncBaseTransport)
    transport: Any = type(stock)
    made: AiohttpStandIn = kind(
        library, _seams(transport), ours, stock, trust_env, looks_for_proxies, vetoes, make_proxied
    )
    return made


def session_is_plain(session: Any) -> bool:
    """Whether a session that the caller shares does nothing that the pool does not: no headers, cookies, proxy,
    passwords or connector of its own, and no observers but litellm's, which tell of waits for aiohttp's pool."""
    import aiohttp

    connector = getattr(session, "connector", None)
    return (
        type(session) is aiohttp.ClientSession
        and type(connector) is aiohttp.TCPConnector
        and not any(getattr(session, name, None) for name in _OF_A_SESSION)
        and not any(getattr(connector, name, None) for name in _OF_A_CONNECTOR)
        and all(_is_litellms_trace(trace) for trace in getattr(session, "_trace_configs", None) or ())
        and getattr(connector, "_ssl", True) is True
        and type(getattr(connector, "_resolver", None)).__module__.startswith("aiohttp.")
        and (getattr(connector, "_socket_factory", None) or note_session).__module__.startswith(("litellm.", __name__))
        and not len(session.cookie_jar)
    )


#: What a session or connector has that was given one of its own.
_OF_A_SESSION = (
    "_base_url",
    "_default_auth",
    "_default_headers",
    "_default_proxy",
    "_middlewares",
    "_raise_for_status",
)
_OF_A_CONNECTOR = ("_family", "_local_addr_infos")


def _is_litellms_trace(trace: Any) -> bool:
    """Whether a trace configuration calls functions of litellm alone. Since 1.109 litellm's own sessions have one."""
    import aiohttp

    if type(trace) is not aiohttp.TraceConfig:
        return False
    parts = dict(vars(trace))
    make_context = parts.pop("_trace_config_ctx_factory", SimpleNamespace)
    callbacks = [callback for signal in parts.values() for callback in signal]
    return (
        bool(callbacks)
        and all(map(_is_of_litellm, callbacks))
        and (make_context is SimpleNamespace or _is_of_litellm(make_context))
    )


def _is_of_litellm(called: Any) -> bool:
    """Judged by the module that defines it; for a function that is where its globals are, which a wrapper around one
    does not take over with its name."""
    if type(called) is FunctionType:
        module = str(called.__globals__.get("__name__"))
    else:
        module = called.__module__ if isinstance(called, type) else ""
    return module.startswith("litellm.")


def default_context() -> Any:
    """The TLS context that aiohttp uses by default."""
    import ssl

    import aiohttp.connector

    found = getattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", None)
    return found if hasattr(found, "wrap_bio") else ssl.create_default_context()


def _proxy_of_environment(url: Any) -> str | None:
    """As aiohttp looks for one when its session trusts the environment."""
    if not environment_may_name_a_proxy():
        return None
    named = urllib.request.getproxies().get(url.scheme)
    return named if named and not urllib.request.proxy_bypass(url.host) else None


def environment_may_name_a_proxy() -> bool:
    """False if `urllib.request.getproxies()` would find none; it takes twenty times as long."""
    if urllib.request.getproxies is not urllib.request.getproxies_environment:  # a system with settings for it
        return True
    names = getattr(os.environ, "_data", os.environ)  # as they are kept, bytes or not: nothing to decode
    return any(name[-6:].lower() in _OF_PROXIES for name in names)


_OF_PROXIES = ("_proxy", b"_proxy")


def places(transport: type) -> list[Place]:
    """Where mocks and tracers of aiohttp hook in, and those of litellm's transport, which is given."""
    import aiohttp

    found: list[Place] = []
    for owner, sibling, names in (
        (aiohttp.ClientSession, "close", ("__init__", "_request")),
        (aiohttp.TCPConnector, "close", ("_create_connection", "_resolve_host")),
        (aiohttp.BaseConnector, "_release", ("connect",)),
        (transport, "aclose", _OF_THE_TRANSPORT),
    ):
        beside = is_function_beside(getattr(owner, sibling, None))
        found += [(owner, name, beside) for name in names if hasattr(owner, name)]
    return found


_OF_THE_TRANSPORT = ("handle_async_request", "_make_aiohttp_request", "_get_proxy_settings", "_proxy_from_env")


@functools.cache
def _seams(transport: type) -> Seams:
    return Seams(places(transport))


def note_session(session: Any) -> str:
    """A shared session is not used by the pool, and counted; or why the client is to be left alone because of it."""
    if session is None or getattr(session, "closed", True):
        return ""
    if not session_is_plain(session):
        return "shared_session: one of the caller's own making"
    counters.not_used("shared_session")
    return ""
