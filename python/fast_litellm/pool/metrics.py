"""`pool_metrics`: the statistics of a pool as metrics, for whatever exports them.

Names follow OpenTelemetry's semantic conventions for HTTP clients (`http.client.open_connections`); what these do not
name is named as the conventions for database clients name it (`db.client.connection.wait_time`), under `http.client`.
docs/pool.md has the table. Nothing is collected or exported by itself, and no library is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .. import _core

    Attributes = dict[str, str | int | bool]

#: As OpenTelemetry calls its instruments.
Kind = Literal["updowncounter", "counter", "histogram"]

_POOL = "http.client.connection.pool.name"
_STATE = "http.connection.state"
_PROXY = "http.client.connection.proxy"
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Histogram:
    """Explicit buckets: `counts[i]` values were at most `bounds[i]` and above the bound before it; the last of
    `counts`, one more than there are bounds, were above all of them."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    count: int
    sum: float


@dataclass(frozen=True)
class Metric:
    """One value of one metric. `value` of an updowncounter is what it is now; a counter's grows from the pool's making
    on. A histogram has `histogram` instead, and `value` is None."""

    name: str
    unit: str
    kind: Kind
    description: str
    attributes: Attributes = field(default_factory=dict)
    value: int | None = None
    histogram: Histogram | None = None


#: Of the pool: name -> (unit, kind, description, key in get_stats()). None there: no such limit, no such metric.
_OF_THE_POOL: dict[str, tuple[str, Kind, str, str]] = {
    "http.client.connection.max": (
        "{connection}",
        "updowncounter",
        "The maximum number of connections that may be open",
        "max_connections",
    ),
    "http.client.connection.timeouts": (
        "{timeout}",
        "counter",
        "Waits for a connection that ended by their timeout",
        "pool_timeouts",
    ),
    "http.client.connection.created": ("{connection}", "counter", "Connections that were opened", "connections_opened"),
    "http.client.connection.create_failures": (
        "{connection}",
        "counter",
        "Connections that could not be opened",
        "dial_failures",
    ),
    "http.client.connection.uses": (
        "{use}",
        "counter",
        "Leases that had a live connection",
        "leases",
    ),
    "http.client.connection.reuses": (
        "{use}",
        "counter",
        "Of the uses, those of a connection that had been used before",
        "reused",
    ),
    "http.client.connection.leaks": (
        "{connection}",
        "counter",
        "Leases that were held longer than leak_after",
        "leaks",
    ),
    "http.client.connection.tls_handshakes": (
        "{handshake}",
        "counter",
        "TLS handshakes, resumed ones included",
        "handshakes",
    ),
    "http.client.request.resends": (
        "{request}",
        "counter",
        "Requests that were begun again on another connection",
        "retried",
    ),
}

#: Connections that the pool closed: key in get_stats() -> the attribute `reason`.
_CLOSED = {"evicted": "evicted", "expired": "expired", "peer_closed": "peer_closed", "discarded": "unusable"}

_STATES = {"idle_connections": "idle", "active_connections": "active", "dialing_connections": "dialing"}

#: Of each endpoint: name -> (unit, kind, description, key in get_stats()["endpoints"][...]).
_OF_AN_ENDPOINT: dict[str, tuple[str, Kind, str, str]] = {
    "http.client.connection.idle.min": (
        "{connection}",
        "updowncounter",
        "The number of connections that are kept idle",
        "min_idle",
    ),
    "http.client.connection.pending_requests": (
        "{request}",
        "updowncounter",
        "Callers that wait for a connection",
        "waiters",
    ),
    "http.client.connection.wait_time": (
        "s",
        "histogram",
        "How long those waited for a connection who had to wait",
        "wait_time",
    ),
    "http.client.connection.create_time": (
        "s",
        "histogram",
        "How long it took to open a connection, TLS handshake included",
        "create_time",
    ),
    "http.client.connection.tls_handshake_time": (
        "s",
        "histogram",
        "How long TLS handshakes took",
        "handshake_time",
    ),
}


def pool_metrics(pool: _core.Pool | str | None = None) -> list[Metric]:
    """What a pool's `get_stats()` says, as metrics; of the pool "default", of a pool, or of the pool of that name.

    One consistent reading: per endpoint, the states of `http.client.open_connections` add up to its connections.
    """
    from .simple_pool import SimpleConnectionPool

    if pool is None or isinstance(pool, str):
        pool = SimpleConnectionPool("default" if pool is None else pool)
    return list(_metrics(pool.get_stats()))


def _metrics(stats: Mapping[str, Any]) -> Iterator[Metric]:
    of_pool: Attributes = {_POOL: stats["pool_name"]}
    used = stats["total_connections"] - stats["idle_connections"] - stats["dialing_connections"]
    for state, count in (("idle", stats["idle_connections"]), ("used", used)):
        yield Metric(
            "http.client.connection.count",
            "{connection}",
            "updowncounter",
            "The number of connections in each state",
            {**of_pool, "http.client.connection.state": state},
            count,
        )
    for name, (unit, kind, description, key) in _OF_THE_POOL.items():
        if stats[key] is not None:
            yield Metric(name, unit, kind, description, of_pool, stats[key])
    for key, reason in _CLOSED.items():
        description = "Connections that the pool closed, by reason"
        attributes: Attributes = {**of_pool, "reason": reason}
        yield Metric("http.client.connection.closed", "{connection}", "counter", description, attributes, stats[key])
    for name, endpoint in stats["endpoints"].items():
        yield from _endpoint_metrics({**of_pool, **_server(name)}, endpoint)


def _endpoint_metrics(attributes: Attributes, endpoint: Mapping[str, Any]) -> Iterator[Metric]:
    for key, state in _STATES.items():
        yield Metric(
            "http.client.open_connections",
            "{connection}",
            "updowncounter",
            "Number of outbound HTTP connections that are currently active or idle on the client",
            {**attributes, _STATE: state},
            endpoint[key],
        )
    for name, (unit, kind, description, key) in _OF_AN_ENDPOINT.items():
        if kind == "histogram":
            yield Metric(name, unit, kind, description, attributes, histogram=_histogram(endpoint[key]))
        else:
            yield Metric(name, unit, kind, description, attributes, endpoint[key])


def _server(endpoint: str) -> Attributes:
    """Returns the attributes of the endpoint of that name, "https://host" or "https://host via http://proxy:3128"."""
    origin, _, proxy = endpoint.partition(" via ")
    url = urlsplit(origin)
    found: Attributes = {
        "server.address": url.hostname or "",
        "server.port": url.port or _DEFAULT_PORTS.get(url.scheme, 0),
        "url.scheme": url.scheme,
    }
    return {**found, _PROXY: proxy} if proxy else found


def _histogram(stats: Mapping[str, Any]) -> Histogram:
    buckets: dict[str, int] = stats["buckets"]
    bounds = tuple(float(bound) for bound in buckets if bound != "inf")
    return Histogram(bounds, tuple(buckets.values()), stats["count"], stats["sum"])
