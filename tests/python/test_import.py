"""Importing the package is cheap and has no side effects, before or after litellm, with or without the extension."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fast_litellm
from fast_litellm.runtime.import_hook import forget, when_imported
from support.interpreter import run

WITHOUT_EXTENSION = "import sys; sys.modules['fast_litellm._core'] = None\n"


def test_importing_the_package_loads_nothing_heavy_and_starts_no_thread() -> None:
    loaded = run(
        "import sys; before = set(sys.modules)\n"
        "import fast_litellm, os\n"
        "assert len(os.listdir('/proc/self/task')) == 1\n"
        "print(*sorted(set(sys.modules) - before))"
    ).split()
    heavy = {"litellm", "httpx", "httpcore", "asyncio", "ssl", "typing", "openai", "importlib.metadata", "inspect"}
    assert not heavy & set(loaded)
    assert len(loaded) < 40, loaded


def test_every_public_name_can_be_imported_and_is_listed() -> None:
    assert set(fast_litellm.__all__) <= set(dir(fast_litellm))
    for name in fast_litellm.__all__:
        assert getattr(fast_litellm, name) is getattr(fast_litellm, name)


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="no_such_thing"):
        fast_litellm.no_such_thing  # type: ignore[attr-defined]  # noqa: B018


def test_the_old_name_of_the_availability_flag_says_the_same() -> None:
    assert fast_litellm.RUST_ACCELERATION_AVAILABLE is fast_litellm.ACCELERATION_AVAILABLE


def test_without_the_extension_the_import_works_and_litellm_is_not_changed() -> None:
    assert (
        run(
            WITHOUT_EXTENSION + "import fast_litellm as f, httpx\n"
            "original = httpx.Client._init_transport\n"
            "import litellm\n"
            "assert httpx.Client._init_transport is original\n"
            "print(f.ACCELERATION_AVAILABLE, f.apply_acceleration(), f.health_check()['status'], "
            "f.is_enabled('http_transport'), f.get_patch_status()['applied'], f.get_performance_stats()['pool'])"
        )
        == "False False unavailable False False {}"
    )


@pytest.mark.parametrize("order", ["fast_litellm, litellm", "litellm, fast_litellm"])
def test_the_order_of_the_imports_does_not_matter(order: str) -> None:
    assert (
        run(
            f"import {order}\n"
            "status = fast_litellm.get_patch_status()\n"
            "print(status['applied'], sorted({*status['points'].values()}), fast_litellm.health_check()['status'])"
        )
        == "True ['applied', 'not needed'] ok"
    )


def test_the_environment_can_turn_all_of_it_off() -> None:
    assert (
        run(
            "import sys, httpx; original = httpx.Client._init_transport; finders = list(sys.meta_path)\n"
            "import fast_litellm\n"
            "assert sys.meta_path == finders\n"
            "import litellm\n"
            "assert httpx.Client._init_transport is original\n"
            "print(fast_litellm.apply_acceleration(), fast_litellm.health_check()['status'], "
            "fast_litellm.is_enabled('litellm_sync_clients'))",
            FAST_LITELLM_ENABLED="false",
        )
        == "False disabled False"
    )


def test_acceleration_removed_before_litellm_is_imported_stays_off() -> None:
    assert (
        run(
            "import fast_litellm as f\n"
            "print(f.remove_acceleration(), f.remove_acceleration(), end=' ')\n"
            "import litellm\n"
            "print(f.get_patch_status()['applied'], f.apply_acceleration(), f.get_patch_status()['applied'])"
        )
        == "True False False True True"
    )


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of an importable module, `a_late_module`."""
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    file = tmp_path / "a_late_module.py"
    file.write_text("done = True\n")
    yield file
    forget("a_late_module")
    sys.modules.pop("a_late_module", None)


def test_the_hook_calls_after_the_module_has_run_and_then_removes_itself(module: Path) -> None:
    finders = list(sys.meta_path)
    calls: list[bool] = []
    when_imported("a_late_module", lambda: calls.append(sys.modules["a_late_module"].done))
    assert sys.meta_path != finders
    imported = importlib.import_module("a_late_module")
    assert calls == [True]
    assert sys.meta_path == finders
    assert type(imported.__loader__).__module__ == type(imported.__spec__.loader).__module__  # type: ignore[union-attr]
    assert "fast_litellm" not in type(imported.__loader__).__module__
    importlib.reload(imported)
    assert calls == [True]


def test_the_hook_calls_at_once_for_an_imported_module() -> None:
    calls: list[str] = []
    when_imported("os", lambda: calls.append("os"))
    assert calls == ["os"]


def test_the_hook_continues_to_wait_when_an_import_fails(module: Path) -> None:
    calls: list[str] = []
    when_imported("a_late_module", lambda: calls.append("here"))
    module.write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        importlib.import_module("a_late_module")
    assert calls == []
    module.write_text("done = 'at last, and longer than before'\n")
    importlib.invalidate_caches()
    importlib.import_module("a_late_module")
    assert calls == ["here"]


def test_a_callback_that_fails_does_not_break_the_import(module: Path) -> None:
    def fail() -> None:
        raise OSError("no luck")

    when_imported("a_late_module", fail)
    with pytest.warns(RuntimeWarning, match="a_late_module failed: OSError"):
        assert importlib.import_module("a_late_module").done


def test_a_module_that_does_not_exist_is_still_not_found() -> None:
    when_imported("no_such_module_anywhere", lambda: None)
    try:
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("no_such_module_anywhere")
    finally:
        assert forget("no_such_module_anywhere")
