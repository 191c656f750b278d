"""Settings of the environment: read when needed; a bad value gives one warning and the default."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import fast_litellm
from fast_litellm import _core, config
from fast_litellm.litellm_patch import rollout
from fast_litellm.litellm_patch.rollout import Rollout
from support.interpreter import without_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("FAST_LITELLM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(config, "_warned", set())
    monkeypatch.setattr(config, "_files", {})


@pytest.fixture
def write_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[object], Path]:
    """write_file(content) names a file with it, as text or as JSON, in FAST_LITELLM_FEATURE_CONFIG."""

    def write(content: object) -> Path:
        file = tmp_path / "flags.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        monkeypatch.setenv("FAST_LITELLM_FEATURE_CONFIG", str(file))
        return file

    return write


def test_the_defaults_are_those_of_the_table() -> None:
    settings = config.default_pool_settings()
    assert settings["max_connections_per_endpoint"] is None
    assert settings["idle_timeout"] == 120
    assert settings["max_lifetime"] == 3600
    assert settings["leak_after"] is None
    assert settings["dns_lifetime"] == 5


@pytest.mark.parametrize(
    ("soft", "total"),
    [
        (1, 1),
        (100, 50),
        (256, 128),
        (1024, 896),
        (1128, 1000),
        (4096, 2048),
        (65536, 32768),
        (2**40, 2**32 - 1),
        (resource.RLIM_INFINITY, None),
    ],
)
def test_the_total_is_1000_where_that_leaves_descriptors_and_at_least_half_of_them(
    soft: int, total: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, soft))
    assert config.default_pool_settings()["max_connections"] == total


def test_the_core_and_the_package_have_the_same_defaults() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with closing(_core.Pool("the core's")) as pool:
        stats = pool.get_stats()
    settings = config.default_pool_settings()
    for name in ("max_connections", "max_connections_per_endpoint"):
        assert stats[name] == settings[name], name  # type: ignore[literal-required]
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


def test_each_limit_can_be_set_or_lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAST_LITELLM_POOL_MAX_PER_ENDPOINT", "7")
    monkeypatch.setenv("FAST_LITELLM_POOL_MAX_TOTAL", "none")
    monkeypatch.setenv("FAST_LITELLM_POOL_IDLE_TIMEOUT", "1.5")
    monkeypatch.setenv("FAST_LITELLM_POOL_MAX_LIFETIME", "Unlimited")
    monkeypatch.setenv("FAST_LITELLM_POOL_LEAK_AFTER", "2.5")
    monkeypatch.setenv("FAST_LITELLM_POOL_DNS_LIFETIME", "0")
    assert config.default_pool_settings() == {
        "max_connections_per_endpoint": 7,
        "max_connections": None,
        "max_idle_connections": None,
        "idle_timeout": 1.5,
        "max_lifetime": None,
        "leak_after": 2.5,
        "dns_lifetime": 0,
    }


@pytest.mark.parametrize("text", ["-1", "none", "soon", "nan", "inf"])
def test_the_dns_lifetime_is_a_number_of_seconds(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAST_LITELLM_POOL_DNS_LIFETIME", text)
    with pytest.warns(RuntimeWarning, match=r"FAST_LITELLM_POOL_DNS_LIFETIME=.* number of seconds, 0 or more; using 5"):
        assert config.default_pool_settings()["dns_lifetime"] == 5


@pytest.mark.parametrize("text", ["-1", "0", "many", "1.5", "99999999999", "nan"])
def test_a_bad_value_warns_once_and_leaves_the_default(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAST_LITELLM_POOL_MAX_PER_ENDPOINT", text)
    with pytest.warns(RuntimeWarning, match=r"FAST_LITELLM_POOL_MAX_PER_ENDPOINT=.* whole number above 0.* using none"):
        assert config.default_pool_settings()["max_connections_per_endpoint"] is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert config.default_pool_settings()["max_connections_per_endpoint"] is None


@pytest.mark.parametrize("text", ["inf", "nan", "-3"])
def test_a_bad_time_warns_and_leaves_the_default(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAST_LITELLM_POOL_IDLE_TIMEOUT", text)
    with pytest.warns(RuntimeWarning, match="a number of seconds above 0"):
        assert config.default_pool_settings()["idle_timeout"] == 120


def test_a_bad_leak_after_warns_and_leaks_are_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAST_LITELLM_POOL_LEAK_AFTER", "soon")
    with pytest.warns(RuntimeWarning, match=r"FAST_LITELLM_POOL_LEAK_AFTER='soon'.* using none"):
        assert config.default_pool_settings()["leak_after"] is None


@pytest.mark.parametrize(
    ("text", "on"), [("true", True), ("1", True), ("", True), ("FALSE", False), ("0", False), ("off", False)]
)
def test_the_switch_understands_the_usual_words(text: str, on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAST_LITELLM_ENABLED", text)
    assert config.enabled() is on


def test_a_switch_with_an_unknown_value_warns_and_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAST_LITELLM_ENABLED", "maybe")
    with pytest.warns(RuntimeWarning, match="FAST_LITELLM_ENABLED='maybe' is not true or false"):
        assert config.enabled()


# How much of litellm goes through the pool.


@pytest.mark.parametrize(
    ("text", "percent"),
    [
        ("", 100),
        ("true", 100),
        ("false", 0),
        ("disabled", 0),
        ("canary:25", 25),
        ("Canary: 2.5%", 2.5),
        ("canary:0", 0),
    ],
)
def test_all_none_or_some_clients_can_be_given_to_the_pool(
    text: str, percent: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAST_LITELLM_CONNECTION_POOL", text)
    assert config.pool_percent() == percent


def test_the_old_name_of_the_flag_is_understood_and_the_new_one_takes_precedence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAST_LITELLM_RUST_CONNECTION_POOL", "canary:10")
    assert config.pool_percent() == 10
    monkeypatch.setenv("FAST_LITELLM_CONNECTION_POOL", "true")
    assert config.pool_percent() == 100


@pytest.mark.parametrize("text", ["canary", "canary:", "canary:101", "canary:-1", "canary:nan", "half", "10"])
def test_a_bad_share_warns_once_and_all_clients_use_the_pool(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAST_LITELLM_CONNECTION_POOL", text)
    with pytest.warns(
        RuntimeWarning, match=r"FAST_LITELLM_CONNECTION_POOL=.* canary:N with N from 0 to 100; using true"
    ):
        assert config.pool_percent() == 100
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert config.pool_percent() == 100


@pytest.mark.parametrize("percent", [0, 1, 10, 33, 50, 99, 100])
def test_of_any_hundred_clients_in_a_row_exactly_the_canary_percentage_is_chosen(percent: int) -> None:
    rollout = Rollout(17)
    chosen = [rollout.chooses(percent) for _ in range(500)]
    assert {sum(chosen[start : start + 100]) for start in range(400)} == {percent}


@pytest.mark.parametrize("percent", [1, 10, 50])
def test_of_a_hundred_processes_with_one_client_each_the_canary_percentage_uses_the_pool(percent: int) -> None:
    assert sum(Rollout(first).chooses(percent) for first in range(100)) == percent


def test_a_client_that_is_not_chosen_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "_rollout", Rollout(0))
    assert rollout.stock_reason() == ""
    monkeypatch.setenv("FAST_LITELLM_CONNECTION_POOL", "canary:1")
    assert rollout.stock_reason() == "canary"
    monkeypatch.setenv("FAST_LITELLM_CONNECTION_POOL", "false")
    assert rollout.stock_reason() == "connection pool off"


def test_the_status_reports_a_pool_that_is_off_or_for_some_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fast_litellm.is_enabled("connection_pooling")
    monkeypatch.setenv("FAST_LITELLM_CONNECTION_POOL", "canary:30")
    assert fast_litellm.is_enabled("connection_pooling")
    assert fast_litellm.get_feature_status()["litellm_sync_clients"]["reason"] == "canary: 30 % of the clients"
    monkeypatch.setenv("FAST_LITELLM_CONNECTION_POOL", "false")
    assert not fast_litellm.is_enabled("connection_pooling")
    assert not fast_litellm.is_enabled("litellm_sync_clients")
    assert fast_litellm.is_enabled("http_transport")  # a program that names the pool itself still gets it
    assert "FAST_LITELLM_CONNECTION_POOL" in fast_litellm.get_feature_status()["connection_pooling"]["reason"]


# The file.


def test_the_file_sets_what_no_variable_sets(
    write_file: Callable[[object], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file({"enabled": False, "connection_pool": "canary:5", "pool": {"max_total": 9, "idle_timeout": None}})
    assert not config.enabled()
    assert config.pool_percent() == 5
    settings = config.default_pool_settings()
    assert (settings["max_connections"], settings["idle_timeout"], settings["max_lifetime"]) == (9, None, 3600)
    monkeypatch.setenv("FAST_LITELLM_ENABLED", "true")
    monkeypatch.setenv("FAST_LITELLM_POOL_MAX_TOTAL", "8")
    assert config.enabled()
    assert config.default_pool_settings()["max_connections"] == 8


def test_a_bad_value_in_the_file_warns_with_its_place_and_leaves_the_default(
    write_file: Callable[[object], Path],
) -> None:
    write_file({"connection_pool": "half", "pool": {"max_total": True}})
    with pytest.warns(RuntimeWarning, match=r"flags.json: connection_pool='half' is not .* using true"):
        assert config.pool_percent() == 100
    with pytest.warns(RuntimeWarning, match=r"flags.json: pool.max_total=True is not a whole number"):
        assert config.default_pool_settings()["max_connections"]


@pytest.mark.parametrize("content", ["{", "[]", '"text"', "[" * 100_000], ids=["cut", "list", "text", "deep"])
def test_a_file_that_cannot_be_used_warns_once_and_the_defaults_apply(
    content: str, write_file: Callable[[object], Path]
) -> None:
    write_file(content)
    with pytest.warns(RuntimeWarning, match=r"FAST_LITELLM_FEATURE_CONFIG=.* using the defaults"):
        assert config.enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert config.pool_percent() == 100


def test_a_missing_file_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAST_LITELLM_FEATURE_CONFIG", str(tmp_path / "none.json"))
    with pytest.warns(RuntimeWarning, match=r"none.json.* using the defaults"):
        assert config.enabled()


def test_an_unknown_setting_in_the_file_is_named(write_file: Callable[[object], Path]) -> None:
    write_file({"conection_pool": False, "pool": {"max": 3}})
    with pytest.warns(RuntimeWarning, match=r"unknown settings conection_pool, pool.max; there are .*connection_pool"):
        assert config.pool_percent() == 100


def test_json_is_not_imported_unless_a_file_is_named() -> None:
    program = "import sys, fast_litellm; print('json' in sys.modules)"
    environment = without_settings()
    for more, loaded in (({}, "False"), ({"FAST_LITELLM_FEATURE_CONFIG": os.devnull}, "True")):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            check=True,
            env={**environment, **more},
            capture_output=True,
            text=True,
        )
        assert (done.stdout.strip(), done.stderr) == (loaded, "")


# The documentation.


def test_every_variable_that_the_documentation_names_exists() -> None:
    known = {config.FILE_VARIABLE, "FAST_LITELLM_DEMO_API_KEY"}
    for key, setting in config.SETTINGS.items():
        known |= {config.variable(key), setting.old}
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        assert set(re.findall(r"FAST_LITELLM_[A-Z_]*[A-Z]", page.read_text())) <= known, page


def test_the_file_in_the_documentation_is_understood_whole(write_file: Callable[[object], Path]) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    example = re.search(r"```json\n(.*?)```", page, re.DOTALL)
    assert example is not None
    write_file(example[1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert {key: config._value(key) for key in config.SETTINGS}
        assert config.pool_percent() == 10
