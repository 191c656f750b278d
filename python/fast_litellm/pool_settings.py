"""The table of a pool's settings. `config.py` reads their variables by it, `SimpleConnectionPool` checks its keywords
by it, and the tables in docs/ are written from it (`scripts/document_settings.py`).

The core has a table of its own in `include/fastpool/settings.h`; a test compares names, defaults and least values.

Imported with the package itself, so it imports next to nothing.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypedDict

    class PoolSettings(TypedDict, total=False):
        """The same for the type checker: the keywords of the native pool's constructor."""

        max_connections_per_endpoint: int | None
        max_connections: int | None
        max_idle_connections: int | None
        idle_timeout: float | None
        max_lifetime: float | None
        leak_after: float | None
        dns_lifetime: float


def _default_total() -> "int | None":
    """As `default_max_connections` of the core, which this module does not import."""
    try:
        import resource
    except ImportError:  # not a POSIX system
        return 1000
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else min(max(1, soft // 2, min(1000, soft - 128)), 2**32 - 1)


class PoolSetting:
    """One row.

    `kind`: int for a count of connections, float for a time in seconds. `default`: the value, or a function that
    returns it. `least`: the smallest value a keyword may have. `optional`: whether None lifts the limit. `key`: of the
    setting in the environment and the file, see config.py; "": it is set by keyword alone. `meaning`: one line for
    docs/configuration.md. `shown`: the default as docs/configuration.md shows it, `told` as docs/pool.md does.
    """

    __slots__ = ("_default", "key", "kind", "least", "meaning", "name", "optional", "shown", "told")

    def __init__(
        self,
        name: str,
        kind: "type[int] | type[float]",
        default: "float | Callable[[], float | None] | None",
        *,
        least: int = 0,
        optional: bool = True,
        key: str = "",
        meaning: str,
        shown: str = "",
        told: str = "",
    ) -> None:
        self.name = name
        self.kind = kind
        self.least = least
        self.optional = optional
        self.key = key
        self.meaning = meaning
        self.shown = shown or ("none" if default is None else str(default))
        self.told = told or ("no limit" if default is None else f"{default} s" if kind is float else str(default))
        self._default = default

    def default(self) -> "float | None":
        return self._default() if callable(self._default) else self._default

    def checked(self, value: "Any") -> "Any":
        """The value of a keyword, if it can be used; else TypeError or ValueError with the keyword's name."""
        if value is None and self.optional:
            return value
        what = "a whole number" if self.kind is int else "a number of seconds"
        if isinstance(value, bool) or not isinstance(value, (int, self.kind)):
            given = "None" if value is None else type(value).__name__
            raise TypeError(f"{self.name} must be {what}{' or None' if self.optional else ''}, not {given}")
        if not value >= self.least:  # refuses nan too
            lifted = ", or None for no limit" if self.optional else ""
            raise ValueError(f"{self.name} must be at least {self.least}{lifted}, not {value}")
        return value


#: In the order in which docs/ shows them.
POOL_SETTINGS = (
    PoolSetting(
        "max_connections_per_endpoint",
        int,
        None,
        least=1,
        key="pool.max_per_endpoint",
        meaning="connections to one endpoint",
        told="no limit other than `max_connections`",
    ),
    PoolSetting(
        "max_connections",
        int,
        _default_total,
        least=1,
        key="pool.max_total",
        meaning="connections in all",
        shown="the descriptors that the process may open minus 128, at most 1000; but at least half of those "
        "descriptors",
        told="the descriptors that the process may open (the soft `RLIMIT_NOFILE`, which is read and never changed) "
        "minus 128, at most 1000; but at least half of those descriptors",
    ),
    PoolSetting("max_idle_connections", int, None, meaning="idle connections in all"),
    PoolSetting(
        "idle_timeout",
        float,
        120,
        key="pool.idle_timeout",
        meaning="seconds that an idle connection is kept",
        told="120 s; less if the server asks for it with `Keep-Alive: timeout=`",
    ),
    PoolSetting(
        "max_lifetime",
        float,
        3600,
        key="pool.max_lifetime",
        meaning="seconds that a connection lives",
        told="3600 s, varied by up to a tenth",
    ),
    PoolSetting(
        "leak_after",
        float,
        None,
        key="pool.leak_after",
        meaning="seconds after which a lease that was not given back is reported, once; `none`: never",
        told="none: leases are not watched",
    ),
    PoolSetting(
        "dns_lifetime",
        float,
        5,
        optional=False,
        key="pool.dns_lifetime",
        meaning="seconds that the addresses of a name serve new connections; `0`: each connection looks them up",
    ),
)
