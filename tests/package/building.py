"""Builds of the library and of its consumers.

The library's sources lie two folders above its build, as Conan lays them out, and all builds of one kind have the same
flags: what one has compiled ccache has for the others.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONSUMERS = Path(__file__).resolve().parent / "consumers"
EXAMPLE = ROOT / "examples" / "cpp"
#: What a release archive needs for a build of the library.
SOURCES = ("CMakeLists.txt", "LICENSE", "cmake", "include", "src")
#: Unoptimised: the tests are about names, files and flags.
DEBUG_FLAGS = "-O0"
#: A build of all sources without ccache, on a busy machine.
LIMIT_SECONDS = 900


@dataclass(frozen=True)
class Tree:
    """An installed library."""

    kind: str
    build: Path
    prefix: Path

    @property
    def library(self) -> Path:
        return self.libraries / ("libfastpool.so" if self.kind == "shared" else "libfastpool.a")

    @property
    def libraries(self) -> Path:
        return next(self.prefix.glob("lib*/**/libfastpool.*")).parent


def run(*command: object, fails: bool = False, **variables: str) -> str:
    """Runs a command, with these variables besides, and returns all that it printed. Fails the test if the command
    fails, or, with `fails`, if it does not."""
    words = [str(one) for one in command]
    if variables:
        words = ["env", *(f"{name}={value}" for name, value in variables.items()), *words]
    done = subprocess.run(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert (done.returncode != 0) == fails, f"{' '.join(words)}\n{done.stdout}"
    return done.stdout


def version_of_the_headers() -> list[str]:
    """Major, minor and patch."""
    lines = (ROOT / "include" / "fastpool" / "version.h").read_text().splitlines()
    return [line.split()[-1] for line in lines if line.startswith("#define FASTPOOL_VERSION_")]


def copy_sources(folder: Path) -> None:
    """Copies what a release archive has into the folder."""
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name)
        else:
            shutil.copy(ROOT / name, folder / name)


def archive(folder: Path) -> Path:
    """Packs what a release archive has."""
    path = folder / "fastpool.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        for name in SOURCES:
            packed.add(ROOT / name, f"fastpool/{name}")
    return path


def configure(source: Path, build: Path, *arguments: str, cmake: object = "cmake", fails: bool = False) -> str:
    flags = ["-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug", f"-DCMAKE_CXX_FLAGS_DEBUG={DEBUG_FLAGS}"]
    if platform.machine() == "x86_64":
        flags.append("-DCMAKE_CXX_FLAGS=-m64")  # as Conan does
    return run(cmake, "-S", source, "-B", build, *flags, *arguments, fails=fails)


def compile_all(build: Path) -> str:
    return run("cmake", "--build", build)


def install_library(folder: Path, kind: str, *arguments: str) -> Tree:
    tree = Tree(kind, folder / "build" / "Debug", folder / "installed")
    copy_sources(folder)
    shared = "ON" if kind == "shared" else "OFF"
    configure(folder, tree.build, f"-DBUILD_SHARED_LIBS={shared}", "-DFASTPOOL_DECODE=ON", *arguments)
    compile_all(tree.build)
    # Not the prefix that was configured: what is installed finds itself.
    run("cmake", "--install", tree.build, "--prefix", tree.prefix)
    return tree
