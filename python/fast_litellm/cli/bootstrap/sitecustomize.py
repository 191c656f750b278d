"""Python imports this at its start, because `fast-litellm run` put its folder first on PYTHONPATH: it accelerates the
program, and then does what would have happened without it.

PYTHONPATH is inherited, so this holds for every Python that the program starts, too; what is forked has it already.
"""

import os
import sys


def _accelerate() -> None:
    try:
        import fast_litellm  # noqa: F401
    except ImportError as error:
        sys.stderr.write(
            f"fast-litellm run: {sys.executable} runs unaccelerated ({error}); install fast-litellm for it\n"
        )


def _go_on() -> None:
    """Takes this folder off the path, and imports the `sitecustomize` that stands behind it, if there is one. Its
    errors are its own: `site` tells of them as always."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]
    this = sys.modules.pop("sitecustomize")
    try:
        __import__("sitecustomize")
    except ModuleNotFoundError as error:
        if error.name != "sitecustomize":
            raise
        sys.modules["sitecustomize"] = this


_accelerate()
_go_on()
