"""What the package index has, asked through pip, and what an environment has of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from environments import NotRun, install


def newest(requirement: str) -> str:
    """Returns the newest version of a package that pip would install for this Python, and that satisfies a requirement
    such as "trio" or "trio>=0.30". Raises `NotRun` if the index has none."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
        "--dry-run",
        "--no-deps",
    ]
    command += ["--ignore-installed", "--report", "-", requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotRun(f"the index does not say which {requirement} is the newest: {done.stderr.strip()[-300:]}")
    return str(json.loads(done.stdout)["install"][0]["metadata"]["version"])


def installed(python: str, names: Iterable[str]) -> dict[str, str]:
    """The versions of these packages in the environment of an interpreter; "" for what is not there."""
    code = (
        "import json, sys\n"
        "from importlib.metadata import distributions\n"
        "print(json.dumps({d.metadata['Name'].lower(): d.version for d in distributions()}))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return {name: found.get(name, "") for name in names}


def install_proxy(python: str, log: Path, litellm: str) -> list[str]:
    """Installs what the LiteLLM proxy requires, for `litellm`, a requirement such as "litellm==1.110.2", which is there
    already. Returns what is to be said of it. Raises `NotRun` if it cannot be installed.

    litellm pins distributions that not every index has. Of such a one its newest version is taken, or it is left out,
    and the rest installed by name; litellm itself has the proxy's code."""
    wanted, notes = [], []
    for requirement in _requirements_of_the_proxy(python):
        name, pinned, _ = requirement.partition("==")
        if not pinned or _is_there(requirement):
            wanted.append(requirement)
            continue
        notes.append(f"the index has no {requirement}, which litellm[proxy] names")
        if _is_there(name):
            wanted.append(name)
    if not notes:
        name, _, version = litellm.partition("==")
        wanted = [f"{name}[proxy]=={version}"]
    install(python, log, litellm, *wanted)
    return notes


def _is_there(requirement: str) -> bool:
    try:
        return bool(newest(requirement))
    except NotRun:
        return False


def _requirements_of_the_proxy(python: str) -> list[str]:
    """What the installed litellm says that its proxy requires beyond itself, for that interpreter."""
    code = (
        "from importlib.metadata import requires\n"
        "from pip._vendor.packaging.requirements import Requirement\n"
        "for each in map(Requirement, requires('litellm') or ()):\n"
        "    if each.marker and each.marker.evaluate({'extra': 'proxy'}) and not each.marker.evaluate({'extra': ''}):\n"
        "        each.marker = None\n"
        "        print(each)\n"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()
