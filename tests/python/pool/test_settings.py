"""A pool's settings: the same in each place; and 0, None and a negative value mean what docs/ says."""

from __future__ import annotations

import ast
import inspect
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fast_litellm import SimpleConnectionPool, _core, config, pool_settings
from fast_litellm.pool_settings import POOL_SETTINGS, PoolSetting
from peers.scripted import ScriptedServer, serve_ok
from support.scripts import script

Serve = Callable[..., ScriptedServer]
NewPool = Callable[..., SimpleConnectionPool]

ROOT = Path(__file__).parents[3]
#: Settings of the core that Python does not offer.
OF_THE_CORE_ALONE = {"max_dials_per_endpoint", "dial_timeout"}
each_setting = pytest.mark.parametrize("row", POOL_SETTINGS, ids=lambda row: row.name)
#: How a setting is given: to the pool that users make, and to the core.
MAKERS: dict[str, Callable[..., Any]] = {"package": SimpleConnectionPool, "core": _core.Pool}
each_maker = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def a_name() -> str:
    return f"settings-{uuid.uuid4()}"


def annotation(row: PoolSetting) -> set[str]:
    return {row.kind.__name__, *(["None"] if row.optional else [])}


# The same in each place.


def test_the_core_has_the_defaults_of_the_table() -> None:
    with closing(_core.Pool(a_name())) as pool:
        settings = pool.settings
    assert {name: settings[name] for name in settings if name not in OF_THE_CORE_ALONE} == {
        row.name: row.default() for row in POOL_SETTINGS
    }
    assert settings.keys() >= OF_THE_CORE_ALONE


def test_the_keywords_of_the_pool_are_those_of_the_table() -> None:
    parameters = inspect.signature(SimpleConnectionPool.__init__).parameters
    keywords = {
        name: set(parameter.annotation.split(" | ")) - {"EllipsisType"}
        for name, parameter in parameters.items()
        if name not in ("self", "pool_name", "verify", "cert", "trust_env", "http1", "http2")
    }
    assert keywords == {row.name: annotation(row) for row in POOL_SETTINGS}
    assert {parameters[row.name].default for row in POOL_SETTINGS} == {...}
    assert {parameters[row.name].kind for row in POOL_SETTINGS} == {inspect.Parameter.KEYWORD_ONLY}


def test_the_types_of_the_stub_are_those_of_the_table() -> None:
    tree = ast.parse(Path(pool_settings.__file__).read_text())
    [typed] = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == "PoolSettings"]
    types = {
        ast.unparse(line.target): set(ast.unparse(line.annotation).split(" | "))
        for line in typed.body
        if isinstance(line, ast.AnnAssign)
    }
    assert types == {row.name: annotation(row) for row in POOL_SETTINGS}
    assert "**settings: Unpack[PoolSettings]" in Path(pool_settings.__file__).with_name("_core.pyi").read_text()


@pytest.mark.parametrize("page", ["configuration.md", "pool.md"])
def test_the_documented_tables_are_written_from_the_table(page: str) -> None:
    assert script("document_settings").written(page) == (ROOT / "docs" / page).read_text(), (
        "run .venv/bin/python scripts/document_settings.py"
    )


@each_maker
@each_setting
def test_the_core_has_the_given_settings(row: PoolSetting, make: Callable[..., Any]) -> None:
    value = 7 if row.kind is int else 7.5
    with closing(make(a_name(), **{row.name: value})) as pool:
        assert pool.settings[row.name] == value
        others = {other.name: other.default() for other in POOL_SETTINGS if other is not row}
        assert {name: pool.settings[name] for name in others} == others


@each_setting
def test_a_variable_sets_the_setting_of_its_row(row: PoolSetting, monkeypatch: pytest.MonkeyPatch) -> None:
    if row.key:
        monkeypatch.setenv(config.variable(row.key), "9")
    with closing(SimpleConnectionPool(a_name())) as pool:
        assert pool.settings[row.name] == (9 if row.key else row.default())


# 0, None, negative values, and what is no number.


@each_maker
@each_setting
def test_zero_is_used_as_zero_or_refused(row: PoolSetting, make: Callable[..., Any]) -> None:
    if row.least > 0:
        with pytest.raises(ValueError, match=rf"{row.name} must be at least 1, or None for no limit, not 0"):
            make(a_name(), **{row.name: 0})
    else:
        with closing(make(a_name(), **{row.name: 0})) as pool:
            assert pool.settings[row.name] == 0


@each_maker
@each_setting
def test_none_lifts_a_limit_that_can_be_lifted(row: PoolSetting, make: Callable[..., Any]) -> None:
    if row.optional:
        with closing(make(a_name(), **{row.name: None})) as pool:
            assert pool.settings[row.name] is None
    else:
        with pytest.raises(TypeError, match=rf"{row.name} must be a number of seconds, not None"):
            make(a_name(), **{row.name: None})


@each_maker
@each_setting
@pytest.mark.parametrize("value", [-1, -(2**40), -(2**64)])
def test_a_negative_value_is_refused(row: PoolSetting, make: Callable[..., Any], value: int) -> None:
    with pytest.raises(ValueError, match=rf"{row.name} must be .*{value}"):
        make(a_name(), **{row.name: value})


@each_maker
@each_setting
@pytest.mark.parametrize(
    "value", [2**32, 2**63, 2**64, 10**400, 1e300], ids=["2**32", "2**63", "2**64", "10**400", "1e300"]
)
def test_a_limit_too_large_to_count_is_no_limit(row: PoolSetting, make: Callable[..., Any], value: float) -> None:
    if row.kind is int and isinstance(value, float):
        pytest.skip("case: a count is a whole number")
    with closing(make(a_name(), **{row.name: value})) as pool:
        known = pool.settings[row.name]
        assert known is None if row.optional else known >= 3e9


@each_maker
@each_setting
@pytest.mark.parametrize("value", ["5", [1], 1j])
def test_a_value_that_is_not_a_number_is_a_type_error(row: PoolSetting, make: Callable[..., Any], value: Any) -> None:
    with pytest.raises(TypeError):
        make(a_name(), **{row.name: value})


@each_maker
def test_half_a_connection_is_a_type_error(make: Callable[..., Any]) -> None:
    with pytest.raises(TypeError):
        make(a_name(), max_connections=1.5)


@each_maker
def test_a_setting_that_does_not_exist_is_a_type_error_with_its_name(make: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="max_connection'"):
        make(a_name(), max_connection=1)


@each_setting
def test_a_zero_in_a_variable_is_refused_where_none_is_possible(
    row: PoolSetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not row.key:
        pytest.skip("case: this setting has no variable")
    monkeypatch.setattr(config, "_warned", set())
    monkeypatch.setenv(config.variable(row.key), "0")
    if row.optional:
        with pytest.warns(RuntimeWarning, match=f"{config.variable(row.key)}='0' is not .* above 0, or none"):
            assert config.default_pool_settings()[row.name] == row.default()  # type: ignore[literal-required]
    else:
        assert config.default_pool_settings()[row.name] == 0  # type: ignore[literal-required]


@pytest.mark.parametrize("name", ["max_idle_connections", "idle_timeout", "max_lifetime"])
def test_with_zero_no_connection_is_used_twice(name: str, new_pool: NewPool, serve: Serve) -> None:
    server = serve(serve_ok)
    pool = new_pool(**{name: 0})
    for number in (1, 2, 3):
        assert pool.request(server.url, "GET", "/").status_code == 200
        assert server.connections == number
