"""Shortcuts through httpx: work that httpx does for every request and that changes nothing, left out.

For the clients that we accelerate, and only for these: an accelerated client becomes an instance of a class of its own,
derived from the class it had, with a few methods replaced; httpx's classes are never touched. Each shortcut stands in
one function and is listed in `SHORTCUTS`:

==========  ===========================================================================================================
cookies     no search for cookies in a response without a `Set-Cookie` header
urls        a URL given as a string is parsed once, not at every request
headers     a request's headers are merged with the client's in one pass
requests    a request gets its `Host` and content headers in one pass
auth        no look for a password and no authentication flow where there is none
responses   a response is made of what the core has read, without httpx's constructors
single      a request is sent once without a loop, a context manager and a log record that no handler takes
streams     the pieces, text and lines of a streamed body are made in one generator, not in up to five
bodies      a body that is read whole is read from the transport directly, not through four generators
==========  ===========================================================================================================

The rule for all of them: the same requests, responses, cookies, hooks, errors and log records as without. To that end

- a shortcut is put on only if every function of httpx that it stands in for, or relies on, is one that it was written
  and tested for, recognised by its source (`known.py`); with another httpx it stays off, and `states()` says so;
- only if the client's class takes these functions from httpx (a subclass with a `send` of its own keeps it);
- a later replacement of one of these functions (a mock, a tracer) is seen at the next request, which then takes
  httpx's way; so does every request that is not of the plain kind a shortcut is for.

FAST_LITELLM_HTTPX_SHORTCUTS turns them off, all or by name.
"""

from __future__ import annotations

import inspect
import weakref
from collections import Counter
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple

from ... import config
from ...runtime.locks import new_lock
from . import building, cookies, merging, responses, sending, single, streams
from .derived import become, hidden
from .known import Library, library_of


class Shortcut(NamedTuple):
    #: Makes the attributes that replace those of the class given; those that the shortcuts before it have made come
    #: last. None: the client's class stays as it is.
    make: Callable[[Library, type, dict[str, Any]], dict[str, Any]] | None
    #: What it stands in for or relies on, as `known.Library.find` takes it; {Client} is Client or AsyncClient.
    relies_on: tuple[str, ...]
    #: The module whose `adopt` changes what a client has, besides its class, and whose `release` takes that back.
    part: Any = None


#: By the names in `config.HTTPX_SHORTCUTS`.
SHORTCUTS: dict[str, Shortcut] = {
    "cookies": Shortcut(cookies.quick_cookies, cookies.RELIES_ON, cookies),
    "urls": Shortcut(merging.urls, merging.URLS_RELY_ON),
    "headers": Shortcut(merging.headers, merging.HEADERS_RELY_ON),
    "requests": Shortcut(building.requests, building.RELIES_ON),
    "auth": Shortcut(sending.no_auth, sending.NO_AUTH_RELIES_ON),
    "responses": Shortcut(None, responses.RELIES_ON, responses),
    "single": Shortcut(single.single, single.RELIES_ON),
    "streams": Shortcut(streams.streams, streams.RELIES_ON),
    "bodies": Shortcut(sending.bodies, sending.BODIES_RELY_ON),
}


class _Ready(NamedTuple):
    """What was found for a class of clients, and what must still be as it was for that to hold."""

    library: Library | None
    outcomes: dict[str, str]
    quick: type | None
    places: tuple[tuple[Any, str, Any], ...]

    def holds(self) -> bool:
        return all(getattr(owner, attribute, None) is value for owner, attribute, value in self.places)


_MOST_CLASSES = 64
_lock = new_lock()
# guarded by _lock
_ready: dict[tuple[type, tuple[str, ...]], _Ready] = {}
_outcomes: Counter[tuple[str, str]] = Counter()


def put_on(client: Any, *transports: Any) -> Any:
    """Puts the shortcuts on `client`, an httpx client; returns it. Any thread; while it is in use; again and again.

    `transports`: those that it is about to get, besides those that it has.

    Never raises for a client or an httpx that it does not know: it leaves them as they are, and `states()` says why.
    """
    base = type(client)
    if "_fast_litellm_base" in vars(base):
        return client
    wanted = config.httpx_shortcuts()
    if not wanted:
        return client
    with _lock:
        ready = _ready.get((base, wanted))
        if ready is None or not ready.holds():
            ready = _prepare(base, wanted)
        _outcomes.update(ready.outcomes.items())
    if ready.quick is not None and ready.library is not None:
        for name, reason in ready.outcomes.items():
            part = SHORTCUTS[name].part
            if part is not None and not reason:
                part.adopt(ready.library, client, transports)
        become(client, ready.quick)
    return client


def _prepare(base: type, wanted: tuple[str, ...]) -> _Ready:
    """Under _lock."""
    library = library_of(base)
    obstacle = _obstacle(base) if library is not None else "not a client of httpx"
    if library is None or obstacle:
        return _Ready(None, dict.fromkeys(wanted, obstacle), None, ())
    outcomes = {name: library.unknown(SHORTCUTS[name].relies_on, base) for name in wanted}
    names = tuple(name for name, reason in outcomes.items() if not reason)
    places = {place for name in wanted for place in library.places(SHORTCUTS[name].relies_on, base)}
    ready = _Ready(library, outcomes, _derive(library, base, names) if names else None, tuple(places))
    if len(_ready) >= _MOST_CLASSES:  # classes made on the fly are not kept for ever
        _ready.clear()
    _ready[base, wanted] = ready
    return ready


def take_off(client: Any) -> Any:
    """Gives `client` the class it had; returns it."""
    base = vars(type(client)).get("_fast_litellm_base")
    if base is not None:
        for shortcut in SHORTCUTS.values():
            if shortcut.part is not None:
                shortcut.part.release(client)
        become(client, base)
    return client


class Bearers:
    """Clients that have their shortcuts from one owner, who takes them off again. Any thread; keeps no client alive."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self._clients: list[weakref.ref[Any]] = []  # guarded by _lock

    def put_on(self, client: Any, *transports: Any) -> None:
        put_on(client, *transports)
        if names_on(client):
            with self._lock:
                # Not a WeakSet: a subclass may say who equals whom. Now and then without those that are gone.
                if len(self._clients) % 64 == 0:
                    self._clients = [known for known in self._clients if known() is not None]
                self._clients.append(weakref.ref(client))

    def take_off(self) -> None:
        with self._lock:
            clients, self._clients = self._clients, []
        for known in clients:
            client = known()
            if client is not None:
                take_off(client)


def names_on(client: Any) -> tuple[str, ...]:
    """The shortcuts that `client` has."""
    names: tuple[str, ...] = vars(type(client)).get("_fast_litellm_shortcuts", ())
    return names


def states() -> dict[str, dict[str, int]]:
    """Shortcut -> {"on" or why not: how many clients}."""
    with _lock:
        counts = list(_outcomes.items())
    found: dict[str, dict[str, int]] = {}
    for (name, outcome), count in counts:
        found.setdefault(name, {})[outcome or "on"] = count
    return found


def _reduce(client: Any, protocol: Any) -> Any:
    """A client's `__reduce_ex__`: a copy, and one out of a pickle, is of the class that it had.

    Reduced as one of that class, since its own `__reduce__` may ask for `type(self)`. A request that another thread
    sends meanwhile goes httpx's way through the same transport.
    """
    quick: Any = type(client)
    base = vars(quick).get("_fast_litellm_base")
    if base is None:  # another thread is doing the same
        return client.__reduce_ex__(protocol)
    become(client, base)
    try:
        return client.__reduce_ex__(protocol)
    finally:
        become(client, quick)


def _obstacle(base: type) -> str:
    """Why no class can be derived from this one unnoticed, or ""."""
    if type(base) is not type:
        return "the client's class has a metaclass"
    for owner in base.__mro__[:-1]:
        if "__init_subclass__" in vars(owner):
            return "the client's class wants to know its subclasses"
    return ""


def _derive(library: Library, base: type, names: tuple[str, ...]) -> type:
    namespace: dict[str, Any] = {**hidden(base), "_fast_litellm_shortcuts": names, "__reduce_ex__": _reduce}
    for name in names:
        make = SHORTCUTS[name].make
        made = make(library, base, namespace) if make is not None else {}
        for attribute, value in made.items():
            original = inspect.getattr_static(base, attribute)
            if isinstance(value, FunctionType):
                value.__name__, value.__qualname__ = original.__name__, original.__qualname__
                value.__doc__ = original.__doc__
            namespace[attribute] = value
    return type(base.__name__, (base,), namespace)
