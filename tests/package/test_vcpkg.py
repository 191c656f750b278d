"""The vcpkg port has the form that vcpkg reads: its manifest, and its portfile with stand-ins for vcpkg's functions."""

from __future__ import annotations

import json
import re
from pathlib import Path

from building import ROOT, run, version_of_the_headers

PORT = ROOT / "packaging" / "vcpkg" / "fastpool"

#: What vcpkg defines before it reads a portfile. The stand-ins print their arguments;
#: vcpkg_check_features sets the options of the features.
VCPKG = """
cmake_minimum_required(VERSION 3.20)
set(PORT fastpool)
set(FEATURES core {features})
set(CURRENT_PACKAGES_DIR "{packages}")
foreach(name vcpkg_cmake_configure vcpkg_cmake_install vcpkg_cmake_config_fixup vcpkg_fixup_pkgconfig
             vcpkg_install_copyright)
  cmake_language(EVAL CODE "function(${{name}})\nmessage(\\"${{name}} \\${{ARGN}}\\")\nendfunction()")
endforeach()
function(vcpkg_check_features)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "OUT_FEATURE_OPTIONS" "FEATURES")
  while(arg_FEATURES)
    list(POP_FRONT arg_FEATURES feature option)
    if(feature IN_LIST FEATURES)
      list(APPEND options -D${{option}}=ON)
    else()
      list(APPEND options -D${{option}}=OFF)
    endif()
  endwhile()
  set(${{arg_OUT_FEATURE_OPTIONS}} ${{options}} PARENT_SCOPE)
endfunction()
include("{portfile}")
"""


def test_the_manifest_has_what_vcpkg_asks_for() -> None:
    manifest = json.loads((PORT / "vcpkg.json").read_text())
    assert manifest["name"] == PORT.name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", manifest["name"])
    assert {"description", "license", "supports"} <= manifest.keys()
    names = [one if isinstance(one, str) else one["name"] for one in manifest["dependencies"]]
    assert names == sorted(names)
    assert {"nghttp2", "openssl", "vcpkg-cmake", "vcpkg-cmake-config"} <= set(names)
    assert all(one["host"] for one in manifest["dependencies"] if isinstance(one, dict))


def test_the_manifest_has_the_version_of_the_headers() -> None:
    version = json.loads((PORT / "vcpkg.json").read_text())["version-semver"]
    assert version.split(".") == version_of_the_headers()


def test_every_part_of_boost_that_the_sources_include_is_a_dependency() -> None:
    included = {
        part
        for path in (ROOT / "src").rglob("*")
        if path.suffix in (".h", ".cpp")
        for part in re.findall(r"#include <boost/(\w+)[./]", path.read_text())
    }
    dependencies = json.loads((PORT / "vcpkg.json").read_text())["dependencies"]
    names = {one for one in dependencies if isinstance(one, str)}
    included = {"config" if part == "version" else part for part in included}  # <boost/version.hpp> is of Boost.Config
    assert {f"boost-{part}" for part in included} == {name for name in names if name.startswith("boost-")}


def called_by_the_portfile(folder: Path, features: str = "") -> list[list[str]]:
    """vcpkg's functions, each with its arguments."""
    packages = folder / "packages"
    (packages / "debug" / "include").mkdir(parents=True)
    script = folder / "vcpkg.cmake"
    script.write_text(VCPKG.format(packages=packages, portfile=PORT / "portfile.cmake", features=features))
    return [line.split() for line in run("cmake", "-P", script).splitlines() if line.startswith("vcpkg_")]


def test_the_feature_decode_builds_the_library_that_needs_the_codings(tmp_path: Path) -> None:
    feature = json.loads((PORT / "vcpkg.json").read_text())["features"]["decode"]
    assert feature["dependencies"] == ["brotli", "zlib", "zstd"]
    assert feature["description"]
    called = called_by_the_portfile(tmp_path, "decode")
    assert ["vcpkg_cmake_configure", f"SOURCE_PATH;{ROOT};OPTIONS;-DFASTPOOL_DECODE=ON"] in called
    assert "fastpool::decode" in (tmp_path / "packages" / "share" / "fastpool" / "usage").read_text()


def test_the_portfile_builds_the_checkout_and_installs_usage_and_licence(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    called = called_by_the_portfile(tmp_path)
    assert ["vcpkg_cmake_configure", f"SOURCE_PATH;{ROOT};OPTIONS;-DFASTPOOL_DECODE=OFF"] in called
    assert [name for name, *_ in called].index("vcpkg_cmake_install") == 1
    assert "fastpool::fastpool" in (packages / "share" / "fastpool" / "usage").read_text()
    assert not (packages / "debug" / "include").exists()
