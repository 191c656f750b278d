"""What the environment says: read when needed, forgiving, and loud once."""

from __future__ import annotations

import resource
import warnings

import pytest

from fast_litellm import config


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = ("MAX_PER_ENDPOINT", "MAX_TOTAL", "IDLE_TIMEOUT", "MAX_LIFETIME", "LEAK_AFTER")
    for name in ("ENABLED", *(f"POOL_{limit}" for limit in limits)):
        monkeypatch.delenv(f"FAST_LITELLM_{name}", raising=False)
    monkeypatch.setattr(config, "_warned", set())


def test_the_defaults_are_those_of_the_table() -> None:
    settings = config.default_pool_settings()
    assert settings["max_connections_per_endpoint"] == 500
    assert settings["idle_timeout"] == 120
    assert settings["max_lifetime"] == 3600
    assert settings["leak_after"] is None


@pytest.mark.parametrize(("soft", "total"), [(1024, 512), (65536, 1000), (1, 1), (resource.RLIM_INFINITY, 1000)])
def test_the_total_is_half_of_the_descriptors_at_most_1000(
    soft: int, total: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, soft))
    assert config.default_pool_settings()["max_connections"] == total


def test_each_limit_can_be_set_or_lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAST_LITELLM_POOL_MAX_PER_ENDPOINT", "7")
    monkeypatch.setenv("FAST_LITELLM_POOL_MAX_TOTAL", "none")
    monkeypatch.setenv("FAST_LITELLM_POOL_IDLE_TIMEOUT", "1.5")
    monkeypatch.setenv("FAST_LITELLM_POOL_MAX_LIFETIME", "Unlimited")
    monkeypatch.setenv("FAST_LITELLM_POOL_LEAK_AFTER", "2.5")
    assert config.default_pool_settings() == {
        "max_connections_per_endpoint": 7,
        "max_connections": None,
        "idle_timeout": 1.5,
        "max_lifetime": None,
        "leak_after": 2.5,
    }


@pytest.mark.parametrize("text", ["-1", "0", "many", "1.5", "99999999999", "nan"])
def test_a_bad_value_warns_once_and_leaves_the_default(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAST_LITELLM_POOL_MAX_PER_ENDPOINT", text)
    with pytest.warns(RuntimeWarning, match=r"FAST_LITELLM_POOL_MAX_PER_ENDPOINT=.* whole number above 0.* using 500"):
        assert config.default_pool_settings()["max_connections_per_endpoint"] == 500
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert config.default_pool_settings()["max_connections_per_endpoint"] == 500


@pytest.mark.parametrize("text", ["inf", "nan", "-3"])
def test_a_bad_time_warns_and_leaves_the_default(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAST_LITELLM_POOL_IDLE_TIMEOUT", text)
    with pytest.warns(RuntimeWarning, match="a number of seconds above 0"):
        assert config.default_pool_settings()["idle_timeout"] == 120


def test_a_bad_time_until_a_leak_warns_and_leaks_are_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAST_LITELLM_POOL_LEAK_AFTER", "soon")
    with pytest.warns(RuntimeWarning, match=r"FAST_LITELLM_POOL_LEAK_AFTER='soon'.* using none"):
        assert config.default_pool_settings()["leak_after"] is None


@pytest.mark.parametrize(
    ("text", "on"), [("true", True), ("1", True), ("", True), ("FALSE", False), ("0", False), ("off", False)]
)
def test_the_switch_understands_the_usual_words(text: str, on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAST_LITELLM_ENABLED", text)
    assert config.enabled() is on


def test_a_switch_that_says_neither_warns_and_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAST_LITELLM_ENABLED", "maybe")
    with pytest.warns(RuntimeWarning, match="FAST_LITELLM_ENABLED='maybe' is not true or false"):
        assert config.enabled()
