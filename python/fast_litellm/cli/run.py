"""``fast-litellm run <command...>``: any Python program, unchanged, with fast_litellm imported at its start.

The command takes this process's place (`exec`), so signals, exit code, input and output are the program's own. That
fast_litellm is imported is the doing of `bootstrap/sitecustomize.py`, whose folder stands first on the program's
PYTHONPATH. Needs nothing but the standard library, so that it is there without the extra ``cli``.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from .. import config

USAGE = """\
Usage: fast-litellm run COMMAND [ARGUMENTS]...

  Runs any Python program with its litellm accelerated: the workers that it
  spawns or forks too.

    fast-litellm run litellm --config config.yaml --num_workers 4
    fast-litellm run uvicorn app:app --workers 4
    fast-litellm run python program.py

  FAST_LITELLM_ENABLED=false runs it as it would run without this.
"""

BOOTSTRAP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bootstrap")

# As shells say it.
_USAGE_ERROR, _CANNOT_RUN, _NOT_FOUND = 2, 126, 127


def run(arguments: Sequence[str]) -> NoReturn:
    """Becomes the program. Returns never; SystemExit if it cannot be started."""
    if arguments and arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        sys.exit(0)
    command = list(arguments[1:] if arguments[:1] == ["--"] else arguments)
    if not command:
        _end(_USAGE_ERROR, "which command? For example: fast-litellm run python program.py", usage=True)
    if arguments[0] != "--" and command[0].startswith("-"):
        _end(_USAGE_ERROR, f"no such option: {command[0]}; options of the program come after its name", usage=True)
    program = find_program(command[0])
    environment = accelerating(os.environ) if config.enabled() else dict(os.environ)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(program, [program, *command[1:]], environment)
    except OSError as error:
        # For example a file without the permission or without a #! line.
        _end(
            _CANNOT_RUN, f"{program} cannot be run ({error.strerror}); if it is a Python file: {_as_script(command[0])}"
        )


def find_program(name: str) -> str:
    """The path of the program that a shell would run, or, if PATH has none of this name, of the one beside this Python
    (its environment need not be activated). SystemExit if there is neither."""
    found = shutil.which(name)
    if found is None and os.path.dirname(name) == "":
        found = shutil.which(name, path=os.path.dirname(sys.executable))
    if found is not None:
        return os.path.abspath(found)
    if os.path.isfile(name):
        _end(_CANNOT_RUN, f"{name} is no executable file; if it is a Python file: {_as_script(name)}")
    hint = "" if os.path.dirname(name) else f" on PATH, nor beside {sys.executable}"
    _end(_NOT_FOUND, f"{name}: no such command{hint}; is its package installed, and its environment activated?")


def accelerating(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with the bootstrap first on its PYTHONPATH, once."""
    path = environment.get("PYTHONPATH", "")
    if path.split(os.pathsep)[0] != BOOTSTRAP:
        # An empty PYTHONPATH must not become an empty entry, which would mean the current folder.
        path = f"{BOOTSTRAP}{os.pathsep}{path}" if path else BOOTSTRAP
    return {**environment, "PYTHONPATH": path}


def _as_script(name: str) -> str:
    return f"fast-litellm run python {name}"


def _end(status: int, message: str, *, usage: bool = False) -> NoReturn:
    sys.stderr.write(f"fast-litellm run: {message}\n")
    if usage:
        sys.stderr.write(f"\n{USAGE}")
    sys.exit(status)
