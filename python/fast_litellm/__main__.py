"""``python -m fast_litellm``: the command ``fast-litellm``."""

from .cli.main import main

if __name__ == "__main__":
    main()
