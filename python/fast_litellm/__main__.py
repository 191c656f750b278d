"""``python -m fast_litellm``: the command ``fast-litellm``."""

from .cli import main

main()
