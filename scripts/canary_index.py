"""What the package index has, asked through pip, and what an environment has of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from environments import NotRun, install


def newest(package: str) -> str:
    """Returns the newest version that pip would install for this Python. Raises `NotRun` if the index has none."""
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
    command += ["--ignore-installed", "--report", "-", package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotRun(f"the index does not say which {package} is the newest: {done.stderr.strip()[-300:]}")
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
    already. Returns what is to be said of it.

    litellm names a distribution that not every index has. What is not there is left out, and the rest installed by
    name; litellm itself has the proxy's code. Raises `NotRun` if that fails too."""
    name, _, version = litellm.partition("==")
    try:
        install(python, log, f"{name}[proxy]=={version}")
        return []
    except NotRun:
        pass
    wanted = _requirements_of_the_proxy(python)
    left_out: list[str] = []
    while True:
        try:
            install(python, log, litellm, *wanted)
            break
        except NotRun:
            missing = re.findall(r"No matching distribution found for ([A-Za-z0-9._-]+)", log.read_text())[-1:]
            if not missing or missing[0] in left_out:
                raise
            left_out += missing
            wanted = [one for one in wanted if re.split(r"[^A-Za-z0-9._-]", one)[0] != missing[0]]
    return [f"the index has no {name}, which litellm[proxy] names" for name in left_out]


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
