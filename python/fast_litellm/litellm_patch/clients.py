"""The deciding points: where httpx gives a client that is being constructed its transport.

`httpx.Client._init_transport` and its asynchronous twin get all that matters, and act only for litellm and the SDKs
(see `scope`). The same for every library that has httpx's names.
"""

from __future__ import annotations

import functools
import os
import sys
import urllib.parse
import weakref
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, NamedTuple

from ..acceleration import shortcuts
from ..acceleration.libraries import Library
from ..acceleration.stock_settings import HTTP2_BY_CONTEXT, is_proxied, limits_of, settings_of
from ..acceleration.transports import AcceleratedTransport, AsyncAcceleratedTransport, accelerated, async_accelerated
from ..acceleration.veto import Veto
from ..exceptions import FleetUnavailable
from ..runtime.counters import counters
from . import aiohttp_transport, scope
from .decision import Accelerate, Arguments, Stock, decide, is_context
from .own_transport import AiohttpSettings, OwnTransports, is_spread, lane_of
from .points import Function, Points
from .rollout import stock_reason
from .tls_recipe import ContextRecipes, fingerprint


class Application:
    """One time that the patch was put on: what its wrappers share. A wrapper that could not be taken off, because
    somebody's stands on top, stays passive for good."""

    def __init__(self, removed: Veto) -> None:
        #: Written under the patch's lock; read by any thread.
        self.active = True
        #: Speaks while the patch is removed: clients that outlive it go through the stock transport.
        self.removed = removed
        self.own_transports = OwnTransports()
        #: The accelerated clients.
        self.shortcuts = shortcuts.Bearers()
        #: litellm's, once it is imported.
        self.contexts = ContextRecipes({}, "", lambda: False)
        #: One for each library.
        self.client_points: list[ClientPoints] = []
        #: Clients that litellm or an SDK is constructing, until their mounts were looked at.
        self.under_construction: weakref.WeakSet[Any] = weakref.WeakSet()
        #: Stock transports of proxies that were counted, with the reason, when httpx made them.
        self.counted_proxies: weakref.WeakSet[Any] = weakref.WeakSet()

    def take_mounts(self, client: Any, *, its_own: bool) -> None:
        """For a client that was constructed with its proxies' transports ready-made. `its_own`: by litellm or the SDK,
        and not by the user, whose transports stay. A client that was there before, which may be the user's, stays as
        it is."""
        if client not in self.under_construction:
            return
        self.under_construction.discard(client)
        for points in self.client_points:
            points.take_mounts(client, its_own=its_own)


class Side(NamedTuple):
    """What the synchronous and the asynchronous client do not have in common."""

    client: str
    transport: str
    kind: type
    make: Callable[..., Any]


SIDES = (
    Side("Client", "HTTPTransport", AcceleratedTransport, accelerated),
    Side("AsyncClient", "AsyncHTTPTransport", AsyncAcceleratedTransport, async_accelerated),
)


def _later(original: Function, client: Any, keywords: Mapping[str, Any]) -> Callable[[], Any]:
    """Makes the stock transport of `client` when it is first needed. Holds no client: litellm's handlers close theirs
    only where nothing else refers to it, and a client in a cycle would keep its connections until a collection."""
    kind: Any = type(client)
    reference = weakref.ref(client)

    def make() -> Any:
        living = reference()
        # Only its transport is left, referred to by other code. httpx makes one from the arguments alone.
        return original(kind.__new__(kind) if living is None else living, **keywords)

    return make


class ClientPoints:
    """The points of one library, for one application. Constructed under the patch's lock; then any thread."""

    def __init__(self, library: Library, application: Application) -> None:
        self._library = library
        self._application = application

    def put(self, points: Points) -> None:
        self._application.client_points.append(self)
        for side in SIDES:
            client = getattr(self._library.httpx, side.client)
            name = f"{self._library.name}.{side.client}"
            points.wrap(f"{name}._init_transport", client, "_init_transport", self._choosing(side))
            points.wrap(f"{name}._init_proxy_transport", client, "_init_proxy_transport", self._proxying(side))

    def _choosing(self, side: Side) -> Callable[[Function], Function]:
        def wrapper(original: Function) -> Function:
            def _init_transport(client: Any, *args: Any, **keywords: Any) -> Any:
                where = scope.current(client) if self._application.active else None
                if where is None:
                    return original(client, *args, **keywords)
                if where.name:
                    self._application.under_construction.add(client)
                try:
                    if args:  # their order is not the same in every httpx, which itself passes them by name
                        raise TypeError
                    arguments = Arguments(**keywords)
                except TypeError:  # an httpx that passes more than we know
                    counters.client_stock("httpx passes unknown arguments")
                    return original(client, *args, **keywords)
                chosen = self._transport_for(side, where, arguments, _later(original, client, keywords))
                if chosen is None:
                    return original(client, *args, **keywords)
                self._application.shortcuts.put_on(client, chosen)
                return chosen

            return _init_transport

        return wrapper

    def _proxying(self, side: Side) -> Callable[[Function], Function]:
        """Around httpx's choice of a transport for one proxy, which the client's arguments or the environment name."""

        def wrapper(original: Function) -> Function:
            def _init_proxy_transport(client: Any, proxy: Any, **keywords: Any) -> Any:
                where = scope.current(client) if self._application.active else None
                if where is None or not where.name:
                    return original(client, proxy, **keywords)
                try:
                    decision = self._decide(Arguments(**keywords), {"proxy": proxy})
                except TypeError:  # an httpx that passes more than we know
                    decision = Stock("httpx passes unknown arguments")
                if not self._makes_the_known_transport(side):
                    decision = Stock("httpx's transport class was replaced")
                make_stock = _later(original, client, {**keywords, "proxy": proxy})
                chosen = self._build(side, decision, make_stock)
                if chosen is None:
                    chosen = original(client, proxy, **keywords)
                    self._application.counted_proxies.add(chosen)
                return chosen

            return _init_proxy_transport

        return wrapper

    def take_mounts(self, client: Any, *, its_own: bool) -> None:
        side = self._side_of(client)
        if side is None:
            return
        taken: dict[int, Any] = {}
        for pattern, transport in client._mounts.items():
            if isinstance(transport, side.kind) or transport in self._application.counted_proxies:
                continue
            if is_proxied(transport) or is_spread(transport):
                if id(transport) not in taken:
                    taken[id(transport)] = self._in_place_of_mounted(side, transport, its_own)
                client._mounts[pattern] = taken[id(transport)] or transport

    def _side_of(self, client: Any) -> Side | None:
        found = (side for side in SIDES if isinstance(client, getattr(self._library.httpx, side.client)))
        return next(found, None)

    def _in_place_of_mounted(self, side: Side, transport: Any, its_own: bool) -> Any | None:
        told = self._telling(side, transport) if its_own else None
        settings = None if told is None else settings_of(told, self._library)
        if told is None or settings is None:
            counters.client_stock("transport given")
            return None
        arguments = Arguments(
            True if self._is_the_librarys_default(settings.context) else settings.context,
            http1=settings.http1,
            http2=settings.http2,
            limits=limits_of(told._pool, self._library),
        )
        return self._build(side, self._decide(arguments, settings.extras()), lambda: transport)

    def _telling(self, side: Side, transport: Any) -> Any | None:
        """The transport of httpx's that has the settings of `transport`: itself, or one of those that litellm's for
        HTTP/2 sends through; None for another."""
        if is_spread(transport):
            transport = lane_of(transport)
        return transport if type(transport) is getattr(self._library.httpx, side.transport) else None

    def _transport_for(
        self, side: Side, where: scope.Scope, arguments: Arguments, make_stock: Callable[[], Any]
    ) -> Any | None:
        """Our transport, or None, counted, if the client is to have the stock one."""
        if not where.name:
            if arguments.transport is None and arguments.app is None:
                counters.client_stock("bare httpx")
            return None
        if arguments.app is not None:
            counters.client_stock("transport given")
            return None
        if arguments.transport is not None:
            return self._in_place_of(side, where, arguments)
        if not self._makes_the_known_transport(side):
            counters.client_stock("httpx's transport class was replaced")
            return None
        return self._build(side, self._decide(arguments), make_stock)

    def _in_place_of(self, side: Side, where: scope.Scope, arguments: Arguments) -> Any | None:
        """Ours for a transport that litellm or the SDK made; None, counted, for the user's, or if ours cannot do it."""
        given = arguments.transport
        of_litellm = self._application.own_transports.knows(given)
        if of_litellm:
            aiohttp_settings = self._application.own_transports.aiohttp_settings(given)
            if aiohttp_settings is not None:
                return self._in_place_of_aiohttp(side, aiohttp_settings, given)
        told = self._telling(side, given) if of_litellm or where.makes_its_transport else None
        settings = None if told is None else settings_of(told, self._library)
        if settings is None:
            counters.client_stock("transport given")
            return None
        arguments = arguments._replace(transport=None, http1=settings.http1, http2=settings.http2)
        if of_litellm:
            # It got none of the client's arguments.
            default = self._is_the_librarys_default(settings.context)
            arguments = Arguments(True if default else settings.context, http1=settings.http1, http2=settings.http2)
        return self._build(side, self._decide(arguments, settings.extras()), lambda: given)

    def _in_place_of_aiohttp(self, side: Side, settings: AiohttpSettings, given: Any) -> Any | None:
        if settings.refusal:
            counters.client_stock(settings.refusal)
            return None
        extras = {"local_address": settings.local_address, "socket_options": settings.socket_options}
        limits = None
        if settings.keepalive_expiry is not None:
            limits = self._library.httpx.Limits(keepalive_expiry=settings.keepalive_expiry)
        arguments = Arguments(settings.verify, limits=limits)
        decision = self._decide(arguments, {name: value for name, value in extras.items() if value})

        def make(library: Library, ours: Any, make_stock: Callable[[], Any], vetoes: tuple[Veto, ...]) -> Any:
            return aiohttp_transport.stand_in(
                library,
                ours,
                given,
                settings.trust_env,
                settings.looks_for_proxies,
                vetoes,
                functools.partial(self._through_proxy, side, decision, settings.verify, settings.local_address),
            )

        return self._build(side._replace(make=make), decision, lambda: given)

    def _through_proxy(self, side: Side, decision: Any, verify: Any, local_address: str | None, url: str) -> Any | None:
        """Our transport through that proxy, for aiohttp's; None if aiohttp is to judge the URL, or ours refuses it."""
        scheme = url.partition("://")[0].lower()
        secure = scheme == "https"
        if (
            scheme not in ("http", "https")
            or not urllib.parse.unquote(url).isascii()
            or (secure and not is_context(verify))
        ):
            return None
        try:
            # aiohttp verifies the proxy as it does the origin.
            proxy = self._library.httpx.Proxy(url, ssl_context=verify if secure else None)
            more = {"verify": verify, "cert": None} if secure else {}
            return self._make(side, decision, proxy=proxy, proxy_bind=local_address, **more)
        except FleetUnavailable:
            raise
        except Exception:
            return None

    def _decide(self, arguments: Arguments, extras: Mapping[str, Any] | None = None) -> Accelerate | Stock:
        return decide(arguments, self._application.contexts, self._library, extras)

    def _build(self, side: Side, decision: Accelerate | Stock, make_stock: Callable[[], Any]) -> Any | None:
        reason = decision.reason if isinstance(decision, Stock) else stock_reason()
        if isinstance(decision, Stock) or reason:
            counters.client_stock(reason)
            return None
        if decision.context_because and decision.keywords["http2"] and side is SIDES[0]:
            counters.client_stock(HTTP2_BY_CONTEXT)
            return None
        try:
            ours = self._make(side, decision)
        except FleetUnavailable:  # the stock transport would send without the limit
            raise
        except Exception as error:  # the stock one has the last word: if it cannot either, its own error is to be seen
            counters.client_stock(f"refused: {type(error).__name__}: {error}")
            return None
        counters.client_accelerated(decision.context_because)
        return side.make(self._library, ours, make_stock, (*decision.vetoes, self._application.removed))

    def _make(self, side: Side, decision: Accelerate, **more: Any) -> Any:
        """Our transport. Raises what its constructor does."""
        from .. import _core
        from ..transport.httpx_classes import pooled_transports_for

        keywords = {**decision.keywords, **more}
        if "verify" in more:
            keywords.pop("tls_settings", None)
        if "tls_settings" in keywords:
            keywords["tls_settings"] = _core.TlsSettings(**keywords["tls_settings"])
        ours = getattr(pooled_transports_for(self._library.httpx), side.transport)(**keywords, pool="default")
        # litellm and the SDKs make a client for each tenant and event loop, and drop it. The next one finds the
        # connections.
        ours._handle.keep_connections()
        return ours

    def _is_the_librarys_default(self, context: Any) -> bool:
        contexts = self._application.contexts
        # A client certificate cannot be seen in a context. Since 1.109 litellm has it loaded into this one.
        if contexts.knows(context) or contexts.certificate_configured():
            return False
        return fingerprint(context) == fingerprint(self._library.httpx.create_ssl_context())

    def _makes_the_known_transport(self, side: Side) -> bool:
        """False if a test put its own class where httpx's client takes its transport from."""
        httpx = self._library.httpx
        place = sys.modules.get(f"{httpx.__name__}._client", httpx)
        taken: object = getattr(place, side.transport, None)
        initializer = vars(taken).get("__init__") if isinstance(taken, type) else None
        beside: Any = httpx.BaseTransport.close
        return (
            getattr(taken, "__module__", "").startswith(httpx.__name__)
            and type(initializer) is FunctionType
            and os.path.dirname(initializer.__code__.co_filename) == os.path.dirname(beside.__code__.co_filename)
        )
