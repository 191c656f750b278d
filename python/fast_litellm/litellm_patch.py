"""Puts the pool under litellm's synchronous clients, and takes it away again. The only module that imports litellm.

The deciding point is `httpx.Client._init_transport`: whoever constructs a client without a transport of his own comes
through there with all that matters. It acts only for litellm and the SDKs (see `patch.scope`); the other points say
that these are at work, or stand where litellm builds a transport itself. Asynchronous clients are counted, and left as
they are for now.

A point that a version of litellm does not have is reported in `get_patch_status()`, and is never an error.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any

import httpx

from .instrumentation import AcceleratedTransport, Veto
from .patch import caches, scope
from .patch.decision import Accelerate, Arguments, Stock, decide
from .patch.points import Function, Points, Wrapper
from .patch.tls_recipe import ContextRecipes, fingerprint
from .rollout import stock_reason
from .status import counters

_HANDLER = "litellm.llms.custom_httpx.http_handler"
_OPENAI_LLM = "litellm.llms.openai.common_utils"


class _Application:
    """One time that the patch was put on."""

    def __init__(self, active: bool = False) -> None:
        self.active = active


class LitellmPatch:
    """The patch of this process. `apply` and `remove` may be called from any thread, again and again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: Written under _lock; each wrapper reads the one of the application that made it: a wrapper that could not be
        #: taken off, because somebody's stands on top, stays passive for good.
        self._application = _Application()
        self._points = Points()  # guarded by _lock
        self._contexts = ContextRecipes({}, "", lambda: False)
        #: Speaks while the patch is removed: clients that outlive it go through httpx's own transport.
        self._removed = Veto()

    def apply(self) -> bool:
        with self._lock:
            if not self._application.active:
                self._application = _Application(active=True)
                self._removed.reason = ""
                self._put_points()
                caches.empty(import_module("litellm"))
        return True

    def remove(self) -> bool:
        with self._lock:
            if not self._application.active:
                return False
            self._application.active = False
            self._removed.reason = "removed"
            self._points.restore()
            caches.empty(import_module("litellm"))
        return True

    def describe(self) -> tuple[bool, dict[str, str], str | None]:
        """Applied?, the points' states, litellm's version."""
        with self._lock:
            return (
                self._application.active,
                dict(self._points.states),
                _version_of("litellm") if "litellm" in sys.modules else None,
            )

    # The points. Called under _lock.

    def _put_points(self) -> None:
        handlers = _module(_HANDLER)
        sdk = _module(_OPENAI_LLM)
        self._contexts = self._recipes(handlers)
        wrap = self._points.wrap
        wrap("httpx.Client._init_transport", httpx.Client, "_init_transport", self._choose_transport)
        wrap("httpx.Client._init_proxy_transport", httpx.Client, "_init_proxy_transport", self._count_proxy)
        wrap("httpx.AsyncClient._init_transport", httpx.AsyncClient, "_init_transport", self._count_async)

        handler = getattr(handlers, "HTTPHandler", None)
        if hasattr(handler, "create_client"):
            self._scope("litellm.HTTPHandler", handler, "create_client")
            self._points.not_needed("litellm.HTTPHandler.__init__")
        else:  # much older
            self._scope("litellm.HTTPHandler", handler, "__init__")
        wrap(
            "litellm.HTTPHandler._create_sync_transport", handler, "_create_sync_transport", self._accelerate_ipv4_only
        )
        wrap("litellm.http_handler._create_ssl_context", handlers, "_create_ssl_context", self._observe_contexts)

        base = getattr(sdk, "BaseOpenAILLM", None)
        self._scope_of_names("litellm.BaseOpenAILLM", base, "_get_sync_http_client", "get_sync_http_client")
        for package in ("openai", "anthropic"):
            if package in sys.modules:
                client = getattr(_module(f"{package}._base_client"), "_DefaultHttpxClient", None)
                self._scope(f"{package}._DefaultHttpxClient", client, "__init__")

    def _scope(self, name: str, owner: object | None, attribute: str) -> None:
        self._points.wrap(f"{name}.{attribute}", owner, attribute, _opening_scope(f"{name}.{attribute}"))

    def _scope_of_names(self, name: str, owner: object | None, *attributes: str) -> None:
        """Whichever of these names there are; one is enough."""
        present = [attribute for attribute in attributes if hasattr(owner, attribute)]
        for attribute in present or attributes[:1]:
            self._scope(name, owner, attribute)

    def _recipes(self, handlers: ModuleType | None) -> ContextRecipes:
        contexts = getattr(handlers, "_ssl_context_cache", None)
        ciphers = getattr(handlers, "DEFAULT_SSL_CIPHERS", None)
        found = isinstance(contexts, dict) and isinstance(ciphers, str)
        self._points.states["litellm.http_handler._ssl_context_cache"] = "applied" if found else "missing"
        if not found or contexts is None or ciphers is None:
            return ContextRecipes({}, "", lambda: False)
        return ContextRecipes(contexts, ciphers, _certificate_configured)

    # What stands in the points' places.

    def _choose_transport(self, original: Function) -> Function:
        application = self._application

        def _init_transport(client: httpx.Client, *args: Any, **keywords: Any) -> httpx.BaseTransport:
            stock: httpx.BaseTransport
            where = scope.current(client) if application.active else None
            if where is None:
                stock = original(client, *args, **keywords)
                return stock
            try:
                arguments = Arguments(*args, **keywords)
            except TypeError:  # an httpx that passes more than we know
                counters.client_stock("httpx passes unknown arguments")
            else:
                chosen = self._transport_for(where, arguments, lambda: original(client, *args, **keywords))
                if chosen is not None:
                    return chosen
            stock = original(client, *args, **keywords)
            return stock

        return _init_transport

    def _transport_for(
        self, where: str, arguments: Arguments, make_stock: Callable[[], httpx.BaseTransport]
    ) -> httpx.BaseTransport | None:
        """Our transport, or None, counted, if httpx is to make its own."""
        if not where:
            if arguments.transport is None:
                counters.client_stock("bare httpx")
            return None
        if isinstance(arguments.transport, AcceleratedTransport):  # made and counted where litellm makes its own
            return None
        if not _makes_the_known_transport():
            counters.client_stock("httpx's transport class was replaced")
            return None
        decision = decide(arguments, self._contexts)
        if isinstance(decision, Stock):
            counters.client_stock(decision.reason)
            return None
        return self._build(decision, make_stock)

    def _build(self, decision: Accelerate, make_stock: Callable[[], httpx.BaseTransport]) -> httpx.BaseTransport | None:
        from . import _core
        from .transports import HTTPTransport

        reason = stock_reason()
        if reason:
            counters.client_stock(reason)
            return None
        keywords = dict(decision.keywords)
        try:
            if "tls_settings" in keywords:
                keywords["tls_settings"] = _core.TlsSettings(**keywords["tls_settings"])
            ours = HTTPTransport(**keywords, pool="default")
        except Exception as error:  # httpx has the last word: if it cannot either, its own error is the one to see
            counters.client_stock(f"refused: {type(error).__name__}: {error}")
            return None
        counters.client_accelerated()
        return AcceleratedTransport(ours, make_stock, (*decision.vetoes, self._removed))

    def _accelerate_ipv4_only(self, original: Function) -> Function:
        application = self._application

        def _create_sync_transport(*args: Any, **keywords: Any) -> Any:
            made = original(*args, **keywords)
            # litellm.sync_transport, which is the user's, comes through here too; force_ipv4 makes one of httpx's own.
            users = getattr(sys.modules["litellm"], "sync_transport", None)
            if not application.active or made is users or type(made) is not httpx.HTTPTransport:
                return made
            return self._like(made) or made

        return _create_sync_transport

    def _like(self, made: httpx.HTTPTransport) -> httpx.BaseTransport | None:
        """Ours, speaking as a transport that litellm made does; None, counted, if it cannot."""
        pool = made._pool
        address = getattr(pool, "_local_address", None)
        context = getattr(pool, "_ssl_context", None)
        if type(pool).__name__ != "ConnectionPool" or not isinstance(address, str) or context is None:
            counters.client_stock("transport given")
            return None
        default = not self._contexts.knows(context) and fingerprint(context) == fingerprint(httpx.create_ssl_context())
        arguments = Arguments(verify=True if default else context, http2=getattr(pool, "_http2", False))
        decision = decide(arguments, self._contexts)
        if isinstance(decision, Stock):
            counters.client_stock(decision.reason)
            return None
        local = Accelerate({**decision.keywords, "local_address": address}, decision.vetoes)
        return self._build(local, lambda: made)

    def _observe_contexts(self, original: Function) -> Function:
        application = self._application

        def _create_ssl_context(*args: Any, **keywords: Any) -> Any:
            context = original(*args, **keywords)
            if application.active:
                self._contexts.observe(context)
            return context

        return _create_ssl_context

    def _count_proxy(self, original: Function) -> Function:
        application = self._application

        def _init_proxy_transport(client: httpx.Client, *args: Any, **keywords: Any) -> Any:
            if application.active and scope.current(client):
                counters.client_stock("proxy: not yet")
            return original(client, *args, **keywords)

        return _init_proxy_transport

    def _count_async(self, original: Function) -> Function:
        application = self._application

        def _init_transport(client: httpx.AsyncClient, *args: Any, **keywords: Any) -> Any:
            if application.active and scope.current(client):
                counters.client_stock("async: not yet")
            return original(client, *args, **keywords)

        return _init_transport


def _opening_scope(name: str) -> Wrapper:
    def wrapper(original: Function) -> Function:
        def scoped(*args: Any, **keywords: Any) -> Any:
            with scope.inside(name):
                return original(*args, **keywords)

        return scoped

    return wrapper


def _makes_the_known_transport() -> bool:
    """False if a test put its own class where httpx.Client takes HTTPTransport from."""
    taken: object = getattr(sys.modules.get("httpx._client"), "HTTPTransport", httpx.HTTPTransport)
    initializer = vars(taken).get("__init__") if isinstance(taken, type) else None
    beside: Any = httpx.BaseTransport.close
    return (
        getattr(taken, "__module__", "").startswith("httpx")
        and type(initializer) is FunctionType
        and os.path.dirname(initializer.__code__.co_filename) == os.path.dirname(beside.__code__.co_filename)
    )


def _certificate_configured() -> bool:
    """Whether litellm passes a client certificate to httpx, which loads it into the context it is given."""
    litellm = sys.modules.get("litellm")
    return bool(os.environ.get("SSL_CERTIFICATE") or getattr(litellm, "ssl_certificate", None))


def _module(name: str) -> ModuleType | None:
    try:
        return import_module(name)
    except ImportError:
        return None


def _version_of(distribution: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"


_patch = LitellmPatch()
apply = _patch.apply
remove = _patch.remove
describe = _patch.describe
