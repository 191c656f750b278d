"""The Conan recipe builds a package, and a program finds it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from building import DEBUG_FLAGS, ROOT, run, version_of_the_headers

RECIPE = ROOT / "packaging" / "conan"

#: No remote is asked: all libraries are the system's. The flags are those of the other builds.
PROFILE = """
include(default)

[settings]
compiler.cppstd=20
build_type=Debug

[platform_requires]
openssl/3.0.0
libnghttp2/1.52.0
boost/1.74.0
brotli/1.0.9
zlib/1.2.13
zstd/1.5.4

[conf]
tools.cmake.cmaketoolchain:generator=Ninja
tools.cmake.cmaketoolchain:extra_variables={variables}
tools.cmake.cmake_layout:test_folder={folder}
"""


class Conan(NamedTuple):
    home: Path
    program: Path

    def run(self, *arguments: object) -> str:
        return run(self.program, *arguments, CONAN_HOME=str(self.home))


@pytest.fixture(scope="module")
def conan(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Conan:
    """Conan with a home and a profile of its own."""
    made = Conan(tmp_path_factory.mktemp("conan"), tools / "conan")
    made.run("profile", "detect")
    variables = json.dumps({"CMAKE_CXX_FLAGS_DEBUG": DEBUG_FLAGS})
    profile = PROFILE.format(variables=variables, folder=made.home / "test_package")
    (made.home / "profiles" / "system").write_text(profile)
    return made


def test_conan_creates_a_package_that_a_program_finds_and_runs_with(conan: Conan, kind: str) -> None:
    shared = f"shared={kind == 'shared'}"
    said = conan.run("create", RECIPE, "--profile:all", "system", "--options", shared, "--no-remote")
    assert f"fastpool {'.'.join(version_of_the_headers())}\n" in said
    library = "libfastpool.so" if kind == "shared" else "libfastpool.a"
    (package,) = {found.parent for found in conan.home.glob(f"p/b/*/p/lib/{library}")}
    assert not list(package.glob("libfastpool_decode.*"))


def test_conan_creates_a_package_whose_decode_a_program_finds_and_runs_with(conan: Conan, kind: str) -> None:
    options = ("--options", f"shared={kind == 'shared'}", "--options", "decode=True")
    conan.run("create", RECIPE, "--profile:all", "system", *options, "--no-remote")
    library = "libfastpool_decode.so" if kind == "shared" else "libfastpool_decode.a"
    assert list(conan.home.glob(f"p/b/*/p/lib/{library}"))
