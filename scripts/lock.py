"""`make lock`: renews the lock files in locks/ (see the README there).

    python scripts/lock.py [--upgrade PACKAGE ...]

Everything is upgraded unless packages are named. uv resolves, at the version in locks/tools.txt. The files are replaced
only after all of them were resolved.
"""

from __future__ import annotations

import argparse
import ast
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "locks"
FOLDER = ROOT / "build" / "lock"
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")

#: Packages without a wheel on one of these, which pip builds from source; their backends are in locks/build.in.
FROM_SOURCE: tuple[str, ...] = ()

TEST_EXTRAS = ("litellm", "cli", "server", "picture", "test")
#: Installed on top of the test environment, so they hold only what it lacks.
LAYERS = ("lint", "docs", "bench")
PROJECT = "pyproject.toml"
#: Combinations of `make compat` that no older Python can install.
COMPAT_FROM = {"sdks-httpx2": "3.11"}


def tool() -> Path:
    """uv, at its locked version, in an environment of its own."""
    folder = FOLDER / "tool"
    python = folder / "bin" / "python"
    stamp, wanted = folder / "tools.txt", (LOCKS / "tools.txt").read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        venv.create(folder, clear=True, with_pip=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(LOCKS / "tools.txt")], check=True)
        stamp.write_text(wanted)
    return folder / "bin" / "uv"


class Resolver:
    def __init__(self, upgrade: list[str]) -> None:
        self._uv = [str(tool()), "--quiet", "--no-python-downloads"]
        self._upgrade = [f"--upgrade-package={name}" for name in upgrade] if upgrade else ["--upgrade"]

    def lock(self, name: str, *arguments: str) -> Path:
        """Resolves into build/lock/NAME.txt; what is not upgraded keeps the version that locks/NAME.txt has."""
        return self._compile(name, PYTHONS[0], *arguments, "--generate-hashes")

    def constrain(self, name: str, requirements: list[str], python: str) -> Path:
        """Resolves a combination of `make compat`, from this Python on: versions alone, since pip gets them as
        constraints."""
        source = FOLDER / f"{name}.in"
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text("".join(f"{one}\n" for one in requirements))
        return self._compile(name, python, str(source), "--no-annotate")

    def _compile(self, name: str, python: str, *arguments: str) -> Path:
        output, present = FOLDER / f"{name}.txt", LOCKS / f"{name}.txt"
        output.unlink(missing_ok=True)
        if present.exists():
            shutil.copyfile(present, output)
        print(f"== {name}", flush=True)
        self._run(
            *("pip", "compile", *arguments, *self._upgrade, "--output-file", str(output)),
            *("--universal", "--python-version", python, "--custom-compile-command", "make lock"),
        )
        return output

    def check_wheels(self, lock: Path) -> None:
        """Fails where a pinned version would have to be built and is not known to be."""
        for python in PYTHONS:
            for platform in PLATFORMS:
                self._run(
                    *("pip", "compile", "--no-deps", "--only-binary", ":all:", str(lock)),
                    *(f"--no-binary={name}" for name in FROM_SOURCE),
                    *("--python-version", python, "--python-platform", platform, "--output-file", "/dev/null"),
                )

    def _run(self, *arguments: str) -> None:
        if subprocess.run([*self._uv, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode:
            raise SystemExit("the lock files were left as they were")


def entries(lock: Path) -> list[str]:
    """The packages of a lock file, each with its hashes and annotations."""
    return re.findall(r"^\w.*\n(?:[ \t].*\n)*", lock.read_text(), flags=re.MULTILINE)


def subtract(lock: Path, below: Path) -> None:
    """Leaves only what the lock below does not install."""
    installed = {entry.split()[0] for entry in entries(below)}
    header = "".join(line for line in lock.read_text().splitlines(keepends=True) if line.startswith("# "))
    lock.write_text(header + "".join(entry for entry in entries(lock) if entry.split()[0] not in installed))


def constants(script: str) -> dict[str, Any]:
    """The literals that a script assigns to names, read without running it: it needs the built package."""
    found = {}
    for node in ast.parse((ROOT / "scripts" / script).read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


def combinations() -> dict[str, list[str]]:
    """The environments of `make compat`, by name."""
    litellm, sdks = constants("compat.py")["VERSIONS"], constants("compat_sdks.py")
    return {f"litellm-{version}": [f"litellm=={version}", *others] for version, others in litellm.items()} | {
        name: [*requirements, *sdks["TESTING"]] for name, requirements in sdks["SDKS"].items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="make lock", description="Renews the lock files.")
    parser.add_argument("--upgrade", nargs="*", default=[], metavar="PACKAGE", help="these alone; otherwise all")
    FOLDER.mkdir(parents=True, exist_ok=True)
    resolver = Resolver(parser.parse_args().upgrade)
    changes = [f"--{name}={LOCKS / name}.txt" for name in ("constraints", "overrides", "excludes")]
    test = resolver.lock("test", PROJECT, *changes, *(f"--extra={name}" for name in TEST_EXTRAS))
    build = resolver.lock("build", "locks/build.in", f"--constraints={test}")
    pool = resolver.lock("pool", PROJECT, "locks/pool.in", f"--constraints={test}", "--extra=server")
    package = resolver.lock("package", "locks/package.in")
    locks = [test, build, pool, package, resolver.lock("tools", "locks/tools.in")]
    for name in LAYERS:
        layer = resolver.lock(name, PROJECT, *changes, f"--constraints={test}", f"--extra={name}")
        subtract(layer, test)
        locks.append(layer)
    for lock in locks:
        resolver.check_wheels(lock)
    compat = [
        resolver.constrain(f"compat/{name}", requirements, COMPAT_FROM.get(name, PYTHONS[0]))
        for name, requirements in combinations().items()
    ]
    shutil.rmtree(LOCKS / "compat", ignore_errors=True)
    (LOCKS / "compat").mkdir()
    for lock in (*locks, *compat):
        shutil.copyfile(lock, LOCKS / lock.relative_to(FOLDER))
    print(f"renewed: {', '.join(str(lock.relative_to(FOLDER)) for lock in (*locks, *compat))}")


if __name__ == "__main__":
    sys.exit(main())
