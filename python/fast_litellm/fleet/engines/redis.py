"""`RedisEngine`: members on many hosts share a Redis or Valkey server, a Sentinel's master, or a cluster.

A round is one command: EVALSHA of bargain.lua, with the server's clock. The keys of an origin carry `{origin}`, so a
cluster keeps them in one slot. The state needs no persistence: after a restart it settles (`../ledger.py`).
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from ..bargain import Report
from ..ledger import Allotment, Pace
from .interface import EngineError
from .urls import shown, without_secrets

_PREFIX = "fast_litellm:fleet"
_KEYS = ("state", "rows", "seen", "suspects", "limits", "queue")

#: Clients of the parent, in the child of a fork.
_abandoned: list[Any] = []


class Script:
    """Sent by its digest; as a whole where the server does not know it."""

    def __init__(self, name: str) -> None:
        self.text = resources.files(__package__).joinpath(name).read_text()
        self._digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def run(self, client: Any, keys: list[str], arguments: list[str]) -> Any:
        try:
            return client.evalsha(self._digest, len(keys), *keys, *arguments)
        except NoScriptError:
            return client.eval(self.text, len(keys), *keys, *arguments)


def keys_of(origin: str) -> list[str]:
    return [f"{_PREFIX}:{{{origin}}}:{key}" for key in _KEYS]


def arguments_of(said: Report, pace: Pace, now: float | None = None, run: str = "") -> list[str]:
    """`now` and `run` in place of the server's are for tests."""
    counts = (said.epoch, said.held, said.in_use, said.waiting, said.limit, int(said.degraded))
    times = (pace.ttl, pace.heartbeat, pace.settle, pace.turn)
    return [said.member, *map(str, counts), *map(repr, times), "" if now is None else repr(now), run]


class RedisEngine:
    """Connects with the first report. One thread at a time."""

    def __init__(self, url: str, pace: Pace) -> None:
        self._url = url
        self._pace = pace
        self._client: Any = None
        self._bargain = Script("bargain.lua")
        self._leave = Script("leave.lua")

    @property
    def shown(self) -> str:
        return shown(self._url)

    def report(self, origin: str, said: Report) -> Allotment:
        answer = self._run(self._bargain, origin, arguments_of(said, self._pace))
        if answer[0] < 0:
            raise EngineError("a newer report of this member is there already")
        value, members, limit, content = map(int, answer)
        return Allotment(value, members, limit, bool(content))

    def leave(self, origin: str, member: str) -> None:
        self._run(self._leave, origin, [member])

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            try:
                client.close()
            except Exception:
                pass

    def abandon(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            _abandoned.append(client)

    def _run(self, script: Script, origin: str, arguments: list[str]) -> Any:
        try:
            if self._client is None:
                self._client = connected(self._url, self._pace.patience)
            return script.run(self._client, keys_of(origin), arguments)
        except Exception as error:
            # Of many kinds: redis-py passes what it does not know in a URL to constructors.
            # A connection may be half-way through an answer that came too late.
            self.close()
            raise EngineError(
                f"{self.shown}: {without_secrets(str(error) or type(error).__name__, self._url)}"
            ) from None


def connected(url: str, patience: float) -> Any:
    """A client of redis-py. Nothing is sent twice by itself: the agent repeats rounds, with a new epoch."""
    options: dict[str, Any] = {
        "socket_timeout": patience,
        "socket_connect_timeout": patience,
        "retry": Retry(NoBackoff(), 0),
    }
    scheme, _, rest = url.partition("://")
    plain, _, kind = scheme.lower().partition("+")
    if kind == "cluster":
        from redis.cluster import RedisCluster

        return RedisCluster.from_url(f"{plain}://{rest}", **options)
    if kind == "sentinel":
        return _of_sentinel(plain, rest, options)
    return redis.Redis.from_url(url, **options)


def _of_sentinel(scheme: str, rest: str, options: dict[str, Any]) -> Any:
    """redis+sentinel://[user:password@]host[:port][,host[:port]...]/service[/database][?sentinel_password=...]"""
    from redis.sentinel import Sentinel

    parts = urlsplit(f"//{rest}")
    user_info, _, hosts = parts.netloc.rpartition("@")
    user, _, password = user_info.partition(":")
    service, _, database = parts.path.strip("/").partition("/")
    if not service or not hosts:
        raise ValueError("a Sentinel's URL names its hosts and the service: redis+sentinel://host:26379/mymaster")
    # What else the query says is for redis-py to read, as in its own URLs.
    query = dict(parse_qsl(parts.query))
    of_sentinels = {
        name.removeprefix("sentinel_"): query.pop(name)
        for name in ("sentinel_username", "sentinel_password")
        if name in query
    }
    rest_of_query = "&".join(f"{name}={value}" for name, value in query.items())
    parse_url: Any = redis.connection.parse_url
    parsed = parse_url(urlunsplit((scheme, "host", f"/{database}", rest_of_query, "")))
    parsed = {name: value for name, value in parsed.items() if name not in ("host", "connection_class")}
    master = {**options, **parsed, "ssl": scheme == "rediss"}
    if user:
        master["username"] = unquote(user)
    if password:
        master["password"] = unquote(password)
    addresses = [_address(host) for host in hosts.split(",")]
    make_sentinel: Any = Sentinel
    sentinel = make_sentinel(
        addresses, sentinel_kwargs={**options, **of_sentinels, "ssl": scheme == "rediss"}, **master
    )
    return sentinel.master_for(service)


def _address(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    return parts.hostname or "", parts.port or 26379
