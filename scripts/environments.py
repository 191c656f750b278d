"""Environments with other versions of other packages, and this package as it was built last."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import fast_litellm._core

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".cache" / "compat"


class NotRun(RuntimeError):
    """Something could not be tried; says what to do."""


def environment(name: str, *requirements: str) -> str:
    """The interpreter of the environment of this name with these packages from PyPI, made if need be, and kept."""
    folder = FOLDER / name
    python, stamp, log = folder / "bin" / "python", folder / "requirements.txt", FOLDER / f"{name}.log"
    wanted = "\n".join((*requirements, f"# {sys.version.split()[0]}")) + "\n"
    if not python.exists() or not stamp.exists() or stamp.read_text() != wanted:
        print(f"  installing: {', '.join(requirements)}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        with log.open("w") as output:
            installed = subprocess.run([*pip, *requirements], stdout=output, stderr=output, check=False)
        if installed.returncode:
            last = log.read_text().strip().splitlines()[-1:] or ["pip said nothing"]
            raise NotRun(
                f"pip could not install it: {last[0][:300]}\n  All of its output: {log}. If the network was away, run "
                f"`make compat` again; if the version is gone from PyPI, take another one in scripts/."
            )
        stamp.write_text(wanted)
    _copy_package(python)
    return str(python)


def _copy_package(python: Path) -> None:
    """This package, extension and all, as it is now. The environment has the same Python, so the extension fits."""
    query = "import sysconfig; print(sysconfig.get_path('platlib'))"
    packages = subprocess.run([str(python), "-c", query], check=True, capture_output=True, text=True).stdout.strip()
    copy = Path(packages) / "fast_litellm"
    shutil.rmtree(copy, ignore_errors=True)
    source = ROOT / "python" / "fast_litellm"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", "_core*.so"))
    shutil.copy2(str(fast_litellm._core.__file__), copy)
