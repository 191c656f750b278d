"""``python -m fast_litellm``: the command ``fast-litellm``."""

from .cli import main

if __name__ == "__main__":
    main()
