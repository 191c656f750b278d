"""Where a build of the library finds nghttp2, and what a library with its dependencies inside shows of them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from building import CONSUMERS, EXAMPLE, ROOT, archive, compile_all, configure, install_library, run
from test_symbols import INTERFACE, symbols

#: The package file of an nghttp2 that CMake built without the shared library.
CONFIG = """
add_library(nghttp2::nghttp2_static UNKNOWN IMPORTED)
set_target_properties(nghttp2::nghttp2_static PROPERTIES
  IMPORTED_LOCATION "{prefix}/lib/libnghttp2.so" INTERFACE_INCLUDE_DIRECTORIES "{prefix}/include")
"""
CONFIG_VERSION = """
set(PACKAGE_VERSION 1.60.0)
set(PACKAGE_VERSION_COMPATIBLE TRUE)
"""


def of_nghttp2(variable: str) -> Path:
    """A folder of the machine's nghttp2."""
    if shutil.which("pkg-config") is None:
        pytest.skip("machine: no pkg-config")
    return Path(run("pkg-config", f"--variable={variable}", "libnghttp2").strip())


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """The machine's nghttp2 where no search looks by itself."""
    made = tmp_path / "nghttp2"
    (made / "lib").mkdir(parents=True)
    shutil.copytree(of_nghttp2("includedir") / "nghttp2", made / "include" / "nghttp2")
    (made / "lib" / "libnghttp2.so").symlink_to(of_nghttp2("libdir") / "libnghttp2.so")
    return made


def test_nghttp2_is_found_by_its_own_package_file(prefix: Path, tmp_path: Path) -> None:
    config = prefix / "lib" / "cmake" / "nghttp2" / "nghttp2Config.cmake"
    config.parent.mkdir(parents=True)
    config.write_text(CONFIG.format(prefix=prefix))
    config.with_name("nghttp2ConfigVersion.cmake").write_text(CONFIG_VERSION)
    said = configure(ROOT, tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    assert f"Found nghttp2: {config} (found suitable version" in said


def test_nghttp2_is_found_where_pkg_config_says(prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ("Name: libnghttp2", "Description: HTTP/2", "Version: 1.60.0", f"Libs: -L{prefix}/lib -lnghttp2")
    (prefix / "libnghttp2.pc").write_text("\n".join((*lines, f"Cflags: -I{prefix}/include", "")))
    monkeypatch.setenv("PKG_CONFIG_PATH", str(prefix))
    assert f"Found nghttp2: {prefix}/lib/libnghttp2.so (" in configure(ROOT, tmp_path / "build")


def test_an_nghttp2_that_is_too_old_is_refused_and_the_package_is_named(prefix: Path, tmp_path: Path) -> None:
    (prefix / "include" / "nghttp2" / "nghttp2ver.h").write_text('#define NGHTTP2_VERSION "1.51.0"\n')
    said = configure(ROOT, tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}", fails=True)
    assert 'Found unsuitable version "1.51.0"' in said
    assert "Debian: libnghttp2-dev" in said


def archives(*names: str) -> None:
    for name in names:
        if run("g++", f"-print-file-name={name}").strip() == name:
            pytest.skip(f"machine: no {name}")


def needed(binary: Path) -> set[str]:
    """The libraries that the dynamic linker loads for it."""
    return set(re.findall(r"\(NEEDED\).*\[lib(.+)\.so", run("readelf", "--dynamic", "--wide", binary)))


def test_a_program_with_static_dependencies_loads_none_of_them(tmp_path: Path) -> None:
    archives("libnghttp2.a", "libssl.a")
    fetched = [f"-DARCHIVE={archive(tmp_path)}", f"-DEXAMPLE={EXAMPLE}"]
    configure(CONSUMERS / "fetch_content", tmp_path / "build", *fetched, "-DFASTPOOL_STATIC_DEPS=ON")
    compile_all(tmp_path / "build")
    run(tmp_path / "build" / "get", "--self-test")
    loaded = needed(tmp_path / "build" / "get")
    assert "stdc++" in loaded
    assert not loaded & {"nghttp2", "ssl", "crypto"}


def test_a_shared_library_exports_nothing_of_a_library_that_is_linked_into_it(tmp_path: Path) -> None:
    # OpenSSL: Debian's libnghttp2.a is no position-independent code.
    archives("libssl.a")
    library = install_library(tmp_path, "shared", "-DOPENSSL_USE_STATIC_LIBS=ON").library
    assert "nghttp2" in needed(library)
    assert "ssl" not in needed(library)
    assert "SSL_new" in [name for _, name in symbols(library)]
    assert [name for _, name in symbols(library, "--dynamic") if not INTERFACE.match(name)] == []
