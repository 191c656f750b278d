"""The command ``fast-litellm``, also ``python -m fast_litellm``.

``fast-litellm run`` needs nothing else; the other commands need the extra ``cli``, and ``fast-litellm demo`` also
``litellm`` and ``server``.

What may be known here: the package's public surface, and its settings. Nothing else imports this folder.
"""

from __future__ import annotations

import sys


def main() -> None:
    """The entry point."""
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
