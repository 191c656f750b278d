"""The command ``fast-litellm``. Needs the ``cli`` extra; ``fast-litellm demo`` also ``litellm`` and ``server``.

What may be known here: the package's public surface. Nothing else imports this folder.
"""

from __future__ import annotations

import sys


def main() -> None:
    """The entry point."""
    try:
        from .app import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit(f"fast-litellm needs {error.name}: pip install 'fast-litellm[cli]'")
    app()
