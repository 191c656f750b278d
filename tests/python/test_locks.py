"""The locks hold what pyproject.toml asks for, on every Python, and this environment holds what the locks say."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "locks"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
NAME: str = PROJECT["project"]["name"]
TEST_EXTRAS = ("litellm", "cli", "server", "picture", "test")
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
#: Which extras each set of locks is for.
INSTALLED_FOR = {
    ("test",): TEST_EXTRAS,
    ("test", "lint"): (*TEST_EXTRAS, "lint"),
    ("test", "docs"): (*TEST_EXTRAS, "docs"),
    ("test", "bench"): (*TEST_EXTRAS, "bench"),
    ("pool",): ("server",),
}


def lines(name: str) -> list[str]:
    """A lock's entries, one string each, without comments."""
    text = re.sub(r"#.*", "", (LOCKS / f"{name}.txt").read_text()).replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip()]


def entries(name: str) -> list[tuple[Requirement, list[str]]]:
    """A lock's requirements, each with its hashes."""
    split = (line.split(" --hash=") for line in lines(name))
    return [(Requirement(requirement), [one.strip() for one in hashes]) for requirement, *hashes in split]


def environment(python: str) -> dict[str, str]:
    return {**default_environment(), "python_version": python, "python_full_version": f"{python}.5"}  # type: ignore[dict-item]


def applies(requirement: Requirement, python: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({**environment(python), "extra": ""})


def pins(names: tuple[str, ...], python: str) -> dict[str, str]:
    """The version of each package that these locks install on this Python."""
    found: dict[str, str] = {}
    for requirement, _ in (one for name in names for one in entries(name)):
        if not applies(requirement, python):
            continue
        name, version = canonicalize_name(requirement.name), str(requirement.specifier).removeprefix("==")
        assert found.setdefault(name, version) == version, f"Python {python}: two versions of {name}"
    return found


def asked_for(extras: tuple[str, ...]) -> Iterator[Requirement]:
    optional = PROJECT["project"]["optional-dependencies"]
    for text in [*PROJECT["project"]["dependencies"], *(one for extra in extras for one in optional[extra])]:
        requirement = Requirement(text)
        if canonicalize_name(requirement.name) != canonicalize_name(NAME):
            yield requirement


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("names", INSTALLED_FOR, ids="+".join)
def test_the_locks_meet_every_requirement_of_the_project(names: tuple[str, ...], python: str) -> None:
    installed = pins(names, python)
    for requirement in asked_for(INSTALLED_FOR[names]):
        if not applies(requirement, python):
            continue
        version = installed.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not locked: run `make lock`"
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement}: run `make lock`"


@pytest.mark.parametrize("python", PYTHONS)
def test_the_backends_that_build_the_package_are_locked(python: str) -> None:
    installed = pins(("build",), python)
    for requirement in map(Requirement, PROJECT["build-system"]["requires"]):
        assert requirement.specifier.contains(installed[canonicalize_name(requirement.name)])
    assert {"pip", "setuptools"} <= installed.keys()


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in LOCKS.glob("*.txt") if path.read_text().startswith("# This file"))
)
def test_everything_is_pinned_with_hashes_and_no_host_is_named(name: str) -> None:
    for requirement, hashes in entries(name):
        assert re.fullmatch(r"==[^*]+", str(requirement.specifier)), requirement
        assert requirement.url is None
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), requirement
    assert "://" not in (LOCKS / f"{name}.txt").read_text()


def test_each_supported_python_is_among_the_classifiers() -> None:
    prefix = "Programming Language :: Python :: 3."
    named = [one for one in PROJECT["project"]["classifiers"] if one.startswith(prefix)]
    assert named == [f"{prefix}{python.removeprefix('3.')}" for python in PYTHONS]


def test_this_environment_has_the_locked_versions() -> None:
    python = "{}.{}".format(*sys.version_info)
    locked = pins(("build", "test"), python)
    differing = {
        name: f"{importlib.metadata.version(name)}, locked {version}"
        for name, version in locked.items()
        if importlib.metadata.version(name) != version
    }
    assert not differing, "run `make setup`"
