"""The deciding points: where httpx gives a client that is being constructed its transport.

`httpx.Client._init_transport` and its asynchronous twin get all that matters, and act only for litellm and the SDKs
(see `scope`). The same for every library that has httpx's names.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, NamedTuple

from ..acceleration import shortcuts
from ..acceleration.libraries import Library
from ..acceleration.stock_settings import settings_of
from ..acceleration.transports import AcceleratedTransport, AsyncAcceleratedTransport, accelerated, async_accelerated
from ..acceleration.veto import Veto
from ..runtime.counters import counters
from . import aiohttp_transport, scope
from .decision import Accelerate, Arguments, Stock, decide
from .own_transport import AiohttpSettings, OwnTransports
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
        self._counted_proxies: weakref.WeakSet[Any] = weakref.WeakSet()

    def count_proxy(self, transport: Any) -> None:
        if transport not in self._counted_proxies:
            self._counted_proxies.add(transport)
            counters.client_stock("proxy: not yet")

    def count_mounted_proxies(self, client: object) -> None:
        """For a client that was given its proxies' transports ready-made: httpx's, or litellm's own for HTTP/2."""
        for transport in getattr(client, "_mounts", {}).values():
            proxied = getattr(getattr(transport, "_pool", None), "_proxy_url", None)
            if proxied or type(transport).__module__.startswith("litellm."):
                self.count_proxy(transport)


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
        for side in SIDES:
            client = getattr(self._library.httpx, side.client)
            name = f"{self._library.name}.{side.client}"
            points.wrap(f"{name}._init_transport", client, "_init_transport", self._choosing(side))
            points.wrap(f"{name}._init_proxy_transport", client, "_init_proxy_transport", self._count_proxy)

    def _choosing(self, side: Side) -> Callable[[Function], Function]:
        def wrapper(original: Function) -> Function:
            def _init_transport(client: Any, *args: Any, **keywords: Any) -> Any:
                where = scope.current(client) if self._application.active else None
                if where is None:
                    return original(client, *args, **keywords)
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
        settings = None
        if (of_litellm or where.makes_its_transport) and type(given) is getattr(self._library.httpx, side.transport):
            settings = settings_of(given, self._library)
        if settings is None:
            # What litellm makes for HTTP/2 is a transport of its own, which spreads requests over several connections.
            counters.client_stock("http2: not yet" if of_litellm and arguments.http2 else "transport given")
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
                library, ours, given, settings.trust_env, settings.looks_for_proxies, vetoes
            )

        return self._build(side._replace(make=make), decision, lambda: given)

    def _decide(self, arguments: Arguments, extras: Mapping[str, Any] | None = None) -> Accelerate | Stock:
        return decide(arguments, self._application.contexts, self._library, extras)

    def _build(self, side: Side, decision: Accelerate | Stock, make_stock: Callable[[], Any]) -> Any | None:
        reason = decision.reason if isinstance(decision, Stock) else stock_reason()
        if isinstance(decision, Stock) or reason:
            counters.client_stock(reason)
            return None
        keywords = dict(decision.keywords)
        try:
            from .. import _core
            from ..transport.httpx_classes import pooled_transports_for

            if "tls_settings" in keywords:
                keywords["tls_settings"] = _core.TlsSettings(**keywords["tls_settings"])
            ours = getattr(pooled_transports_for(self._library.httpx), side.transport)(**keywords, pool="default")
            # litellm and the SDKs make a client for each tenant and event loop, and drop it. The next one finds the
            # connections.
            ours._handle.keep_connections()
        except Exception as error:  # the stock one has the last word: if it cannot either, its own error is to be seen
            counters.client_stock(f"refused: {type(error).__name__}: {error}")
            return None
        counters.client_accelerated(decision.context_because)
        return side.make(self._library, ours, make_stock, (*decision.vetoes, self._application.removed))

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

    def _count_proxy(self, original: Function) -> Function:
        def _init_proxy_transport(client: Any, *args: Any, **keywords: Any) -> Any:
            made = original(client, *args, **keywords)
            if self._application.active and scope.current(client).name:
                self._application.count_proxy(made)
            return made

        return _init_proxy_transport
