"""Puts the pool under litellm's and the SDKs' clients, and takes it away again. The only module that imports litellm.

What decides stands in `clients`: httpx's own places where a client gets its transport. The points here say that
litellm or an SDK is at work, and which transports they made themselves. `apply` is called for each of the modules that
`runtime.import_hook` awaits, when it has been imported.

A point that a version of litellm does not have is reported in `get_patch_status()`, and is never an error.
"""

from __future__ import annotations

import inspect
import os
import socket
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from ..acceleration import libraries
from ..acceleration.veto import Veto
from ..runtime.locks import new_lock
from . import aiohttp_transport, caches, scope
from .clients import Application, ClientPoints
from .own_transport import AiohttpSettings
from .points import Function, Points, Wrapper
from .tls_recipe import ContextRecipes

_HANDLER = "litellm.llms.custom_httpx.http_handler"
_OPENAI_LLM = "litellm.llms.openai.common_utils"
_AIOHTTP = ("litellm.llms.custom_httpx.aiohttp_transport", "LiteLLMAiohttpTransport")


class LitellmPatch:
    """The patch of this process. `apply` and `remove` may be called from any thread, again and again."""

    def __init__(self) -> None:
        self._lock = new_lock()
        # guarded by _lock
        self._application: Application | None = None
        self._points = Points()
        self._modules: set[str] = set()
        self._clients: dict[str, ClientPoints] = {}
        # Outlives each application, as clients do.
        self._removed = Veto()

    def apply(self, module: str) -> bool:
        """For `module`, one of `AWAITED`, which has been imported. True: it is patched now."""
        if module == "litellm":  # its parts, here if not before; an import has locks of its own
            return self.apply(_HANDLER) and self.apply(_OPENAI_LLM) and self._put(module, None)
        return self._put(module, _module(module if module.startswith("litellm.") else f"{module}._base_client"))

    def _put(self, module: str, found: ModuleType | None) -> bool:
        with self._lock:
            if self._application is None:
                self._application = Application(self._removed)
                self._points = Points()
                self._removed.reason = ""
            for library in libraries.loaded():
                if library.name not in self._clients:
                    self._clients[library.name] = ClientPoints(library, self._application)
                    self._clients[library.name].put(self._points)
            if module in self._modules:
                return True
            self._modules.add(module)
            if module == _HANDLER:
                self._put_handlers(found, self._application)
            elif module == _OPENAI_LLM:
                self._put_openai_llm(found)
            elif module == "litellm":
                caches.empty(import_module("litellm"))
            else:
                self._put_sdk(module, found)
        return True

    def remove(self) -> bool:
        with self._lock:
            application, self._application = self._application, None
            if application is None:
                return False
            application.active = False
            self._removed.reason = "removed"
            application.shortcuts.take_off()
            self._points.restore()
            self._clients.clear()
            if "litellm" in self._modules:
                caches.empty(import_module("litellm"))
            self._modules.clear()
        return True

    def describe(self) -> tuple[bool, dict[str, str], str | None]:
        """Applied?, the points' states, litellm's version."""
        with self._lock:
            return (
                self._application is not None,
                dict(self._points.states),
                _version_of("litellm") if "litellm" in sys.modules else None,
            )

    # The points. Called under _lock.

    def _put_handlers(self, handlers: ModuleType | None, application: Application) -> None:
        application.contexts = self._recipes(handlers)
        wrap = self._points.wrap

        def remembering(original: Function) -> Function:
            return _remembering(original, application)

        handler = getattr(handlers, "HTTPHandler", None)
        if hasattr(handler, "create_client"):
            self._scope("litellm.HTTPHandler", handler, "create_client")
            self._points.not_needed("litellm.HTTPHandler.__init__")
        else:  # much older
            self._scope("litellm.HTTPHandler", handler, "__init__")
        wrap("litellm.HTTPHandler._create_sync_transport", handler, "_create_sync_transport", remembering)
        async_handler = getattr(handlers, "AsyncHTTPHandler", None)
        self._scope("litellm.AsyncHTTPHandler", async_handler, "create_client")
        for name in _present(async_handler, "create_async_transport", "_create_async_transport"):
            wrap(f"litellm.AsyncHTTPHandler.{name}", async_handler, name, remembering)
        name = "litellm.http_handler._create_ssl_context"
        if hasattr(handlers, "get_ssl_configuration"):
            wrap(name, handlers, "_create_ssl_context", _observing(application))
        else:  # much older: it makes no contexts
            self._points.not_needed(name)
            self._points.not_needed("litellm.http_handler._ssl_context_cache")

    def _put_openai_llm(self, module: ModuleType | None) -> None:
        base = getattr(module, "BaseOpenAILLM", None)
        for pair in (
            ("_get_sync_http_client", "get_sync_http_client"),
            ("_get_async_http_client", "get_async_http_client"),
        ):
            present = [name for name in pair if hasattr(base, name)]
            for name in present:
                self._scope("litellm.BaseOpenAILLM", base, name)
            if not present:  # the SDK makes its clients itself there
                self._points.not_needed(f"litellm.BaseOpenAILLM.{pair[0]}")

    def _put_sdk(self, package: str, module: ModuleType | None) -> None:
        for name in ("_DefaultHttpxClient", "_DefaultAsyncHttpxClient"):
            self._scope(f"{package}.{name}", getattr(module, name, None), "__init__")

    def _scope(self, name: str, owner: object | None, attribute: str) -> None:
        assert self._application is not None
        name = f"{name}.{attribute}"
        self._points.wrap(name, owner, attribute, _opening_scope(name, self._application))

    def _recipes(self, handlers: ModuleType | None) -> ContextRecipes:
        contexts = getattr(handlers, "_ssl_context_cache", None)
        ciphers = getattr(handlers, "DEFAULT_SSL_CIPHERS", None)
        found = isinstance(contexts, dict) and isinstance(ciphers, str)
        self._points.states["litellm.http_handler._ssl_context_cache"] = "applied" if found else "missing"
        if not found or contexts is None or ciphers is None:
            return ContextRecipes({}, "", lambda: False)
        return ContextRecipes(contexts, ciphers, _certificate_configured)


# What stands in the points' places.


def _opening_scope(name: str, application: Application) -> Wrapper:
    constructor = name.endswith(".__init__")

    def wrapper(original: Function) -> Function:
        def scoped(*args: Any, **keywords: Any) -> Any:
            with scope.inside(name, makes_its_transport=constructor and keywords.get("transport") is None):
                result = original(*args, **keywords)
            if application.active:
                own = not constructor or keywords.get("mounts") is None
                application.take_mounts(args[0] if constructor else result, its_own=own)
            return result

        return scoped

    return wrapper


def _remembering(original: Function, application: Application) -> Function:
    """Around litellm's makers of transports: what they make is litellm's own, unless the user gave it."""
    signature = inspect.signature(original)

    def make_transport(*args: Any, **keywords: Any) -> Any:
        made = original(*args, **keywords)
        litellm = sys.modules["litellm"]
        if application.active and made is not None and made is not getattr(litellm, "sync_transport", None):
            if type(made) is getattr(sys.modules.get(_AIOHTTP[0]), _AIOHTTP[1], None):
                given = signature.bind(*args, **keywords).arguments if args else keywords
                application.own_transports.remember(made, _aiohttp_settings(litellm, made, given))
            else:
                application.own_transports.remember(made)
        return made

    return make_transport


def _aiohttp_settings(litellm: ModuleType, made: Any, given: Mapping[str, Any]) -> AiohttpSettings:
    """By litellm's own rules for its connector."""
    session = given.get("shared_session")
    refusal = aiohttp_transport.note_session(session)
    verify = given.get("ssl_context")
    if verify is None:
        verify = False if given.get("ssl_verify") is False else aiohttp_transport.default_context()
    trust_env = getattr(litellm, "aiohttp_trust_env", False) or _is_true(os.environ.get("AIOHTTP_TRUST_ENV"))
    if session is not None and made.client is session:
        trust_env = session.trust_env
        if not hasattr(made, "_ssl_verify"):  # the session's connector decides, which is a plain one
            verify = aiohttp_transport.default_context()
    if trust_env and _netrc_exists():
        refusal = "aiohttp_trust_env with a netrc file"
    return AiohttpSettings(
        verify,
        local_address="0.0.0.0" if litellm.force_ipv4 and made.client is not session else None,
        socket_options=_keepalive_options(_module(_HANDLER)),
        keepalive_expiry=_keepalive_expiry(_module(_HANDLER)),
        trust_env=bool(trust_env),
        looks_for_proxies=_looks_for_proxies,
        refusal=refusal,
    )


def _looks_for_proxies() -> bool:
    """False also where it is hard to tell: then litellm's transport is asked itself."""
    litellm = sys.modules.get("litellm")
    return not (getattr(litellm, "disable_aiohttp_trust_env", True) or os.environ.get("DISABLE_AIOHTTP_TRUST_ENV"))


def _keepalive_options(handlers: ModuleType | None) -> tuple[tuple[int, int, int], ...]:
    """What litellm sets on aiohttp's sockets if it is told to by AIOHTTP_SO_KEEPALIVE."""
    if not getattr(handlers, "AIOHTTP_SO_KEEPALIVE", False):
        return ()
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for option in ("KEEPIDLE", "KEEPINTVL", "KEEPCNT"):
        number, value = getattr(socket, f"TCP_{option}", None), getattr(handlers, f"AIOHTTP_TCP_{option}", None)
        if number is not None and isinstance(value, int):
            options.append((socket.IPPROTO_TCP, number, value))
    return tuple(options)


def _keepalive_expiry(handlers: ModuleType | None) -> float | None:
    """How long aiohttp would keep an idle connection, where AIOHTTP_KEEPALIVE_TIMEOUT says it; litellm's own default
    (15 s since 1.108, 120 s before) binds nothing, as httpx's does not."""
    value = getattr(handlers, "AIOHTTP_KEEPALIVE_TIMEOUT", None)
    chosen = os.environ.get("AIOHTTP_KEEPALIVE_TIMEOUT") and isinstance(value, (int, float)) and value >= 0
    return float(value) if chosen and value is not None else None


def _observing(application: Application) -> Wrapper:
    def wrapper(original: Function) -> Function:
        def _create_ssl_context(*args: Any, **keywords: Any) -> Any:
            context = original(*args, **keywords)
            if application.active:
                application.contexts.observe(context)
            return context

        return _create_ssl_context

    return wrapper


def _certificate_configured() -> bool:
    """Whether litellm passes a client certificate to httpx, which loads it into the context it is given."""
    litellm = sys.modules.get("litellm")
    return bool(os.environ.get("SSL_CERTIFICATE") or getattr(litellm, "ssl_certificate", None))


def _netrc_exists() -> bool:
    return bool(os.environ.get("NETRC")) or any((Path.home() / name).exists() for name in (".netrc", "_netrc"))


def _is_true(text: str | None) -> bool:
    return (text or "").strip().lower() == "true"


def _present(owner: object | None, *names: str) -> list[str]:
    """Whichever of these names there are; one is enough, and the first is missing if there are none."""
    return [name for name in names if hasattr(owner, name)] or [names[0]]


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
