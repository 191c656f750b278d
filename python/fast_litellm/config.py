"""What the environment says: the variables FAST_LITELLM_*, and the JSON file that FAST_LITELLM_FEATURE_CONFIG names.

SETTINGS, below, is the table of them, with the pool's from `pool_settings.py`; docs/configuration.md shows it. A
setting is called by its key: "enabled" is the variable FAST_LITELLM_ENABLED, and in the file `{"enabled": ...}`;
"pool.max_total" is FAST_LITELLM_POOL_MAX_TOTAL and `{"pool": {"max_total": ...}}`. The variable wins over the file. A
value that cannot be used gives one warning, and the default holds. Variables are read anew each time, the file once.

Imported with the package itself, so it imports next to nothing. Any thread may call any of this.
"""

import os

from .pool_settings import POOL_SETTINGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from .pool_settings import PoolSetting, PoolSettings


FILE_VARIABLE = "FAST_LITELLM_FEATURE_CONFIG"

_TRUE = frozenset(("1", "true", "yes", "on", "enabled"))
_FALSE = frozenset(("0", "false", "no", "off", "disabled"))
_UNLIMITED = frozenset(("none", "unlimited", "null"))


# Kinds: from what the variable (text) or the file (JSON) says to the value; ValueError if it says nothing of the kind.


def _switch(given: object) -> bool:
    text = str(given).strip().lower()
    if text not in _TRUE and text not in _FALSE:
        raise ValueError
    return text in _TRUE


def _percent(given: object) -> float:
    """0 to 100."""
    word, colon, number = str(given).strip().lower().partition(":")
    if not (colon and word == "canary"):
        return 100.0 if _switch(given) else 0.0
    percent = float(number.strip().removesuffix("%"))
    if not 0 <= percent <= 100:  # also refuses nan
        raise ValueError
    return percent


def _limit(kind: "Callable[[str], float]", given: object) -> "float | None":
    text = "none" if given is None else str(given).strip()
    if text.lower() in _UNLIMITED:
        return None
    value = kind(text)
    if not 0 < value < 2**32:  # also refuses nan and infinity
        raise ValueError
    return value


def _count(given: object) -> "float | None":
    return _limit(int, given)


def _seconds(given: object) -> "float | None":
    return _limit(float, given)


def _seconds_or_zero(given: object) -> float:
    value = float(str(given).strip())
    if not 0 <= value < 2**32:  # also refuses nan and infinity
        raise ValueError
    return value


_FLEET_SCHEMES = frozenset(
    ("sqlite", "redis", "rediss", "unix", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel")
)


def _fleet(given: object) -> "str | None":
    text = "" if given is None else str(given).strip()
    if not text or text.lower() in _UNLIMITED | _FALSE:
        return None
    scheme, mark, rest = text.partition("://")
    if not (mark and rest) or scheme.lower() not in _FLEET_SCHEMES:
        raise ValueError
    return text


def _fleet_limits(given: object) -> "dict[str, int]":
    """A JSON object, or `origin=limit, origin=limit`."""
    if isinstance(given, str):
        text = given.strip()
        if text.lower() in _UNLIMITED | _FALSE:
            return {}
        if text.startswith("{"):
            import json

            given = json.loads(text)
        else:
            pairs = [pair.rpartition("=") for pair in text.split(",") if pair.strip()]
            given = {origin.strip(): int(limit) for origin, _, limit in pairs}
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ValueError
    for origin, limit in given.items():
        if not str(origin).lower().startswith(("http://", "https://")):
            raise ValueError
        if isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit < 2**31:
            raise ValueError
    return {str(origin): limit for origin, limit in given.items()}


#: In the order of the table in docs/httpx.md.
HTTPX_SHORTCUTS = ("cookies", "urls", "headers", "requests", "auth", "responses", "single", "streams", "bodies")


def _shortcuts(given: object) -> "tuple[str, ...]":
    if str(given).strip().lower() in _TRUE | _FALSE:
        return HTTPX_SHORTCUTS if _switch(given) else ()
    names = given if isinstance(given, list) else str(given).split(",")
    wanted = {str(name).strip().lower() for name in names}
    if not wanted <= set(HTTPX_SHORTCUTS):
        raise ValueError
    return tuple(name for name in HTTPX_SHORTCUTS if name in wanted)


_EXPECTED: "dict[Callable[[object], object], str]" = {
    _switch: "true or false",
    _percent: "true, false or canary:N with N from 0 to 100",
    _shortcuts: "true, false or some of " + ", ".join(HTTPX_SHORTCUTS),
    _count: "a whole number above 0, or none",
    _seconds: "a number of seconds above 0, or none",
    _seconds_or_zero: "a number of seconds, 0 or more",
    _fleet: "the URL of an engine (`sqlite:////path`, `redis://host`, ...), or none",
    _fleet_limits: "origins, each with a whole number above 0, as a JSON object or `https://host=40,...`",
}


def _of_pool(row: "PoolSetting") -> "Callable[[object], Any]":
    """A limit that can be lifted is above 0 here: who writes 0 may mean none."""
    if row.kind is int:
        return _count
    return _seconds if row.optional else _seconds_or_zero


class Setting:
    """One row of the table. `default`: as the variable would say it, or a function that says it; `old`: a variable that
    is read where the setting's own is not set; `secret`: a value that may contain a password, and is never shown."""

    __slots__ = ("_default", "default_text", "kind", "meaning", "old", "secret")

    def __init__(
        self,
        kind: "Callable[[object], Any]",
        default: "str | Callable[[], object]",
        meaning: str,
        *,
        default_text: str = "",
        old: str = "",
        secret: bool = False,
    ) -> None:
        self.kind = kind
        self.meaning = meaning
        self.default_text = default_text or str(default)
        self.old = old
        self.secret = secret
        self._default = default

    @property
    def expected(self) -> str:
        return _EXPECTED[self.kind]

    def default(self) -> "Any":
        return self.kind(self._default() if callable(self._default) else self._default)


SETTINGS = {
    "enabled": Setting(_switch, "true", "`false`: litellm and httpx are left exactly as they are without this package"),
    "connection_pool": Setting(
        _percent,
        "true",
        "whether litellm's clients use the pool; `canary:N`: N per cent of them do, evenly spread",
        old="FAST_LITELLM_RUST_CONNECTION_POOL",
    ),
    "httpx_shortcuts": Setting(
        _shortcuts, "true", "which [shortcuts through httpx](httpx.md#shortcuts) the accelerated clients take"
    ),
    "fleet": Setting(
        _fleet,
        "none",
        "where processes [share limits](fleet.md); `none`: each process has its own",
        secret=True,
    ),
    "fleet_limits": Setting(
        _fleet_limits, "none", "leases of all processes together, by origin; only with `FAST_LITELLM_FLEET`"
    ),
    **{
        row.key: Setting(_of_pool(row), row.default, row.meaning, default_text=row.shown)
        for row in POOL_SETTINGS
        if row.key
    },
}


def variable(key: str) -> str:
    """The variable of a setting."""
    return "FAST_LITELLM_" + key.upper().replace(".", "_")


def enabled() -> bool:
    value: bool = _value("enabled")
    return value


def pool_percent() -> float:
    """How many of 100 of litellm's clients are to use the pool: 0 to 100. `litellm_patch/rollout.py` says which."""
    value: float = _value("connection_pool")
    return value


def httpx_shortcuts() -> "tuple[str, ...]":
    """Those of `HTTPX_SHORTCUTS` that are put on clients."""
    value: tuple[str, ...] = _value("httpx_shortcuts")
    return value


def fleet_url() -> "str | None":
    """The engine where processes share limits. It may contain a password."""
    value: str | None = _value("fleet")
    return value


def fleet_limits() -> "dict[str, int]":
    """Origin, as the user wrote it -> leases of the whole fleet."""
    value: dict[str, int] = _value("fleet_limits")
    return value


def fleet_problem() -> str:
    """Why what is said of the fleet cannot be understood; "" if it can, or if nothing is said. Unlike other settings,
    these have no default that would be safe: without them there is no limit. That holds too if variables say one half,
    the engine or the limits, and the file that may say the other cannot be used."""
    for key in ("fleet", "fleet_limits"):
        setting = SETTINGS[key]
        for source, given in _said(key, setting.old):
            try:
                setting.kind(given)
            except (ValueError, OverflowError):
                return f"{source}={_shown(setting, given)} is not {setting.expected}"
            break
    path = os.environ.get(FILE_VARIABLE, "")
    if path and not _file(path) and path in _file_errors:
        unsaid = [variable(key) for key in ("fleet", "fleet_limits") if not any(_said(key, SETTINGS[key].old))]
        if len(unsaid) == 1 and (fleet_url() or fleet_limits()):
            return f"{unsaid[0]} is not set, and {FILE_VARIABLE}={path!r} {_file_errors[path]}"
    return ""


def default_pool_settings() -> "PoolSettings":
    """Limits and lifetimes of the process-wide pool, ready for the pool's constructor. None: no limit."""
    values: Any = {row.name: _value(row.key) if row.key else row.default() for row in POOL_SETTINGS}
    settings: PoolSettings = values
    return settings


def _value(key: str) -> "Any":
    setting = SETTINGS[key]
    for source, given in _said(key, setting.old):
        try:
            return setting.kind(given)
        except (ValueError, OverflowError):
            _warn(f"{source}={_shown(setting, given)} is not {setting.expected}; using {setting.default_text}")
            break
    return setting.default()


def _shown(setting: Setting, given: object) -> str:
    return "(not shown)" if setting.secret else repr(given)


def _said(key: str, old: str) -> "Iterator[tuple[str, object]]":
    """Where something is said about a setting, and what; the strongest first. An empty variable says nothing."""
    for name in (variable(key), old):
        text = os.environ.get(name, "").strip() if name else ""
        if text:
            yield name, text
    path = os.environ.get(FILE_VARIABLE, "")
    if path:
        settings = _file(path)
        if key in settings:
            yield f"{path}: {key}", settings[key]


# The file.

_files: "dict[str, dict[str, object]]" = {}
#: Of the files that say nothing because of an error.
_file_errors: "dict[str, str]" = {}


def _file(path: str) -> "dict[str, object]":
    """What the file says, by key; nothing, after a warning, if it cannot be used."""
    if path not in _files:
        _files[path] = _read_file(path)
    return _files[path]


def _read_file(path: str) -> "dict[str, object]":
    import json

    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        return _unusable(path, f"cannot be used ({error})")
    if not isinstance(content, dict):
        return _unusable(path, "does not hold a JSON object")
    said = dict(_flat(content))
    unknown = sorted(set(said) - set(SETTINGS))
    if unknown:
        _warn(f"{path}: unknown settings {', '.join(unknown)}; there are {', '.join(SETTINGS)}")
    return said


def _unusable(path: str, why: str) -> "dict[str, object]":
    _file_errors[path] = why
    _warn(f"{FILE_VARIABLE}={path!r} {why}; using the defaults")
    return {}


def _flat(content: "dict[str, object]", prefix: str = "") -> "Iterator[tuple[str, object]]":
    for name, value in content.items():
        if isinstance(value, dict) and prefix + name not in SETTINGS:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


_warned: set[str] = set()


def _warn(message: str) -> None:
    if message not in _warned:
        import warnings

        _warned.add(message)
        warnings.warn(message, RuntimeWarning, stacklevel=4)
