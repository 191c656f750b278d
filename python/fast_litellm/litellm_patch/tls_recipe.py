"""litellm's TLS contexts, rebuilt as settings of the native engine.

litellm passes an `ssl.SSLContext` on every verified call, and a context cannot be read back whole: a client
certificate, a CA directory and the curves stay hidden. What can be known: litellm keeps its contexts in a cache whose
key is all that they are made from: a CA file, a list of ciphers, a curve, and since 1.109 whether it is for HTTP/2. So
a context is rebuilt only if

1. it is found in that cache, by identity;
2. the interpreter's TLS is its own: `ssl.SSLContext` and `ssl.create_default_context` were not replaced (truststore);
3. every part of its key is recognised by what it is (see `Recipe`): a part that a later litellm adds may stand for
   something that cannot be read back;
4. it equals, in everything that can be read, the certificates included, one freshly made by the recipe below;
5. nothing was loaded into it. Contexts born under our eyes carry an observer on each method that changes what cannot
   be read; one that is older (fast_litellm was imported after litellm's first call) gets its observers when found, and
   is believed unless a client certificate is configured now, which httpx would have loaded into it.

When such a method is called later, the context's `Veto` sends the clients that were built on it back to httpx's own
transport with their next request: there the change has the effect that its author expects.
"""

from __future__ import annotations

import os
import ssl
import weakref
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, NamedTuple

from ..acceleration.veto import Veto
from ..runtime.locks import new_lock

_UNSIGNED = 0xFFFFFFFFFFFFFFFF

#: Methods that change what no attribute tells.
_OBSERVED = (
    "load_cert_chain",
    "load_default_certs",
    "load_verify_locations",
    "set_ciphers",
    "set_ciphersuites",
    "set_default_verify_paths",
    "set_ecdh_curve",
    "set_groups",
    "set_psk_client_callback",
    "set_client_sigalgs",
)


class Rebuilt(NamedTuple):
    settings: dict[str, Any]  # keywords of _core.TlsSettings
    veto: Veto


class Refused(NamedTuple):
    reason: str


class Recipe(NamedTuple):
    """What a key of litellm's cache says, each part recognised by its content: the key's length and order are litellm's
    to change."""

    ca_file: str | None = None
    #: What litellm calls a security level; None for litellm's own list.
    ciphers: str | None = None
    curve: str | None = None
    #: The context is for clients of HTTP/2, which set ALPN on it. The recipe is the same, and a transport that speaks
    #: HTTP/1.1 offers that alone, whichever context it was given.
    http2: bool | None = None
    #: Parts that are none of these, or the second of a kind.
    unknown: tuple[object, ...] = ()


def recipe_of(key: object) -> Recipe:
    """Returns what `key` says. A part that is None or empty says nothing."""
    if not isinstance(key, tuple):
        return Recipe(unknown=(key,))
    found: dict[str, Any] = {}
    unknown: list[object] = []
    for index, part in enumerate(key):
        if part is None or part == "":
            continue
        kind = _kind_of(part, index)
        if not kind or kind in found:
            unknown.append(part)
        else:
            found[kind] = part
    return Recipe(**found, unknown=tuple(unknown))


def _kind_of(part: object, index: int) -> str:
    """The field of `Recipe` that a part of a key belongs to; "" if none."""
    if isinstance(part, bool):
        return "http2"
    if not isinstance(part, str):
        return ""
    if os.sep in part or os.path.exists(part):
        return "ca_file"
    if _usable_curve(part):
        return "curve"
    if _usable_ciphers(part):
        return "ciphers"
    # This OpenSSL does not know it; litellm has always had these two in their places, and leaves such a curve out.
    return {1: "ciphers", 2: "curve"}.get(index, "")


def interpreter_tls_is_original() -> bool:
    """False if something (truststore, a test) put its own in the place of the parts of `ssl` that httpx builds contexts
    with. Then even verify=True means something else than it says."""
    context = vars(ssl.SSLContext)
    new = context.get("__new__")
    functions = (
        ssl.create_default_context,
        new.__func__ if isinstance(new, staticmethod) else new,
        context.get("wrap_socket"),
        context.get("wrap_bio"),
        context.get("load_default_certs"),
    )
    file = ssl.DER_cert_to_PEM_cert.__code__.co_filename
    return (
        all(type(function) is FunctionType and function.__code__.co_filename == file for function in functions)
        and "load_verify_locations" not in context
        and "load_cert_chain" not in context
    )


def make_context(key: object, default_ciphers: str) -> ssl.SSLContext:
    """litellm's recipe, step by step. OSError or ssl.SSLError if the file or the ciphers cannot be used."""
    recipe = recipe_of(key)
    context = ssl.create_default_context(cafile=recipe.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(recipe.ciphers or default_ciphers)
    if recipe.curve and _usable_curve(recipe.curve):
        context.set_ecdh_curve(recipe.curve)
    return context


def settings_of(context: ssl.SSLContext, key: object, default_ciphers: str) -> dict[str, Any]:
    """Keywords of _core.TlsSettings that speak TLS as `context`, made by `make_context(key, …)`, does."""
    recipe = recipe_of(key)
    assert recipe.ca_file is not None
    return {
        "verify_peer": context.verify_mode is ssl.CERT_REQUIRED,
        "verify_hostname": context.check_hostname,
        "ca_file": os.path.abspath(recipe.ca_file),
        "verify_flags": int(context.verify_flags),
        "minimum_version": int(context.minimum_version),
        "maximum_version": max(0, int(context.maximum_version)),  # "the newest" is negative in Python, 0 in OpenSSL
        "cipher_list": recipe.ciphers or default_ciphers,
        "groups": recipe.curve if recipe.curve and _usable_curve(recipe.curve) else "",
        "security_level": context.security_level,
        "options": int(context.options) & _UNSIGNED,
    }


def fingerprint(context: ssl.SSLContext) -> tuple[Any, ...]:
    """Everything about a context that can be read and matters to a client. About 1 ms."""
    return (
        *attributes(context),
        tuple(cipher["id"] for cipher in context.get_ciphers()),
        frozenset(context.get_ca_certs(binary_form=True)),
    )


def attributes(context: ssl.SSLContext) -> tuple[Any, ...]:
    """What of it can change without a call of an observed method, and how many certificates it knows."""
    return (
        context.protocol,
        context.verify_mode,
        context.check_hostname,
        int(context.verify_flags),
        int(context.options) & _UNSIGNED,
        int(context.minimum_version),
        int(context.maximum_version),
        tuple(sorted(context.cert_store_stats().items())),
        context.keylog_filename,
        context.security_level,
        context.post_handshake_auth,
        context.hostname_checks_common_name,
    )


class ContextRecipes:
    """Knows litellm's contexts. Any thread may call it; it holds no context alive."""

    def __init__(
        self, cache: Mapping[Any, ssl.SSLContext], default_ciphers: str, certificate_configured: Callable[[], bool]
    ) -> None:
        self._cache = cache
        self._default_ciphers = default_ciphers
        #: Whether litellm passes a client certificate to httpx now.
        self.certificate_configured = certificate_configured
        self._lock = new_lock()
        # guarded by _lock
        self._vetoes: weakref.WeakKeyDictionary[ssl.SSLContext, Veto] = weakref.WeakKeyDictionary()
        self._proved: weakref.WeakKeyDictionary[ssl.SSLContext, tuple[tuple[Any, ...], dict[str, Any]]] = (
            weakref.WeakKeyDictionary()
        )

    def observe(self, context: ssl.SSLContext) -> Veto:
        """Watches a context from now on; the veto speaks once it was changed in a way that cannot be read back."""
        with self._lock:
            veto = self._vetoes.get(context)
            if veto is None:
                veto = self._vetoes[context] = Veto()
                _put_observers(context, veto)
        return veto

    def rebuild(self, context: ssl.SSLContext) -> Rebuilt | Refused:
        """The native settings for one of litellm's contexts, or why there are none."""
        if not interpreter_tls_is_original():
            return Refused("the ssl module was replaced")
        found = self._key_of(context)
        if found is None or not _is_plain(context):
            return Refused("ssl context: not litellm's")
        if getattr(context, "keylog_filename", None):
            return Refused("ssl context: writes a key log")
        with self._lock:
            seen_from_birth = context in self._vetoes
        veto = self.observe(context)
        if not veto.reason and not seen_from_birth and self.certificate_configured():
            veto.reason = "ssl context: may hold a client certificate"
        if veto.reason:
            return Refused(veto.reason)
        (key,) = found
        proved = self._prove(context, key)
        return proved if isinstance(proved, Refused) else Rebuilt(proved, veto)

    def knows(self, context: ssl.SSLContext) -> bool:
        """Whether litellm made it and shares it."""
        return self._key_of(context) is not None

    def _key_of(self, context: ssl.SSLContext) -> tuple[Any] | None:
        """The key of a context in the cache, alone in a tuple: a key may be anything."""
        return next(((key,) for key, cached in list(self._cache.items()) if cached is context), None)

    def _prove(self, context: ssl.SSLContext, key: object) -> dict[str, Any] | Refused:
        """The settings, if the context is as the recipe says. Once that was seen in full, and as nothing that an
        observer would have told happened since, the attributes tell."""
        with self._lock:
            proved = self._proved.get(context)
        if proved is not None:
            return proved[1] if attributes(context) == proved[0] else _DIFFERS
        recipe = recipe_of(key)
        if recipe.unknown:
            return _UNKNOWN
        if recipe.ca_file is None:
            return _DIFFERS
        try:
            before = _files_of(recipe.ca_file)
            fresh = make_context(key, self._default_ciphers)
            files = _files_of(recipe.ca_file)
        except (OSError, ValueError):  # ssl.SSLError is an OSError
            return _DIFFERS
        if fingerprint(context) != fingerprint(fresh) or before != files:
            return _DIFFERS
        # The settings trust what the context does, whatever becomes of the file.
        settings = {**settings_of(fresh, key, self._default_ciphers), "files": files}
        with self._lock:
            self._proved[context] = (attributes(fresh), settings)
        return settings


_DIFFERS = Refused("ssl context: differs from litellm's recipe")
#: A key has a part that `Recipe` does not recognise.
_UNKNOWN = Refused("unknown recipe")


def _files_of(ca_file: str) -> Any:
    """What the CA file of a context holds now, for `_core.TlsSettings`."""
    from .. import _core

    return _core.TlsSettings(ca_file=os.path.abspath(ca_file)).read().files


def _is_plain(context: object) -> bool:
    """Not of a subclass, and without attributes of its own (another class of sockets, say) but our observers."""
    return type(context) is ssl.SSLContext and vars(context).keys() <= set(_OBSERVED)


def _put_observers(context: ssl.SSLContext, veto: Veto) -> None:
    reference = weakref.ref(context)

    def observer(name: str) -> Callable[..., Any]:
        def observed(*args: Any, **keywords: Any) -> Any:
            living = reference()
            assert living is not None  # it is being called
            veto.reason = f"ssl context: {name} was called on it"
            return getattr(type(living), name)(living, *args, **keywords)

        return observed

    for name in _OBSERVED:
        if hasattr(ssl.SSLContext, name):
            setattr(context, name, observer(name))


def _usable_ciphers(ciphers: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers(ciphers)
    except (ValueError, ssl.SSLError):
        return False
    return True


def _usable_curve(curve: str) -> bool:
    """litellm logs a curve that this OpenSSL does not know, and goes on without it."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ecdh_curve(curve)
    except (AttributeError, ValueError, ssl.SSLError):
        return False
    return True
