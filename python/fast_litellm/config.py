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
}


def _of_pool(row: "PoolSetting") -> "Callable[[object], Any]":
    """A limit that can be lifted is above 0 here: who writes 0 may mean none."""
    if row.kind is int:
        return _count
    return _seconds if row.optional else _seconds_or_zero


class Setting:
    """One row of the table. `default`: as the variable would say it, or a function that says it; `old`: a variable that
    is read where the setting's own is not set."""

    __slots__ = ("_default", "default_text", "kind", "meaning", "old")

    def __init__(
        self,
        kind: "Callable[[object], Any]",
        default: "str | Callable[[], object]",
        meaning: str,
        *,
        default_text: str = "",
        old: str = "",
    ) -> None:
        self.kind = kind
        self.meaning = meaning
        self.default_text = default_text or str(default)
        self.old = old
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
            _warn(f"{source}={given!r} is not {setting.expected}; using {setting.default_text}")
            break
    return setting.default()


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
        _warn(f"{FILE_VARIABLE}={path!r} cannot be used ({error}); using the defaults")
        return {}
    if not isinstance(content, dict):
        _warn(f"{FILE_VARIABLE}={path!r} does not hold a JSON object; using the defaults")
        return {}
    said = dict(_flat(content))
    unknown = sorted(set(said) - set(SETTINGS))
    if unknown:
        _warn(f"{path}: unknown settings {', '.join(unknown)}; there are {', '.join(SETTINGS)}")
    return said


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
