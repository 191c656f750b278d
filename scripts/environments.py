"""Environments with other versions of other packages, and this package as it was built last."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import fast_litellm._core

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".cache" / "compat"
LOCKS = ROOT / "locks" / "compat"


class NotRun(RuntimeError):
    """Something could not be tried; says what to do."""


def environment(name: str, *requirements: str, parent: Path = FOLDER, renew: bool = False) -> str:
    """Returns the interpreter of the environment of this name with these packages from the index: the one that is kept
    under `parent`, or a new one if there is none, if it was made for something else, or to `renew` it. An environment
    of `make compat` has the versions that locks/compat/ names."""
    folder = parent / name
    python, stamp, log = folder / "bin" / "python", folder / "requirements.txt", parent / f"{name}.log"
    lock = LOCKS / f"{name}.txt"
    locked = lock.exists() and parent == FOLDER
    wanted = "\n".join((*requirements, f"# {sys.version.split()[0]}", lock.read_text() if locked else "")) + "\n"
    if renew or not python.exists() or not stamp.exists() or stamp.read_text() != wanted:
        print(f"  installing: {', '.join(requirements)}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        log.unlink(missing_ok=True)
        install(python, log, *requirements, *(["--constraint", str(lock)] if locked else []))
        stamp.write_text(wanted)
    _copy_package(python)
    return str(python)


def install(python: str | Path, log: Path, *arguments: str) -> None:
    """Runs `pip install` with these arguments; its output is added to `log`. Raises `NotRun` if it fails."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    command += ["--no-compile", *arguments]  # what is imported is compiled then; litellm has thousands of modules more
    with log.open("a") as output:
        installed = subprocess.run(command, stdout=output, stderr=output, check=False)
    if installed.returncode:
        last = log.read_text().strip().splitlines()[-1:] or ["pip said nothing"]
        raise NotRun(
            f"pip could not install it: {last[0][:300]}\n  All of its output: {log}. If the network was away, run it "
            f"again; if a version is gone from the index, take another one in scripts/."
        )


def _copy_package(python: Path) -> None:
    """This package, extension and all, as it is now. The environment has the same Python, so the extension fits."""
    query = "import sysconfig; print(sysconfig.get_path('platlib'))"
    packages = subprocess.run([str(python), "-c", query], check=True, capture_output=True, text=True).stdout.strip()
    copy = Path(packages) / "fast_litellm"
    shutil.rmtree(copy, ignore_errors=True)
    source = ROOT / "python" / "fast_litellm"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", "_core*.so"))
    shutil.copy2(str(fast_litellm._core.__file__), copy)
