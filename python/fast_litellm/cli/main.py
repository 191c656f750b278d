"""The entry point of the command ``fast-litellm``."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command that `sys.argv` names."""
    if sys.argv[1:2] == ["run"]:
        from .run import run

        run(sys.argv[2:])
    try:
        from .app import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit(f"fast-litellm needs {error.name}: pip install 'fast-litellm[cli]'")
    app()
