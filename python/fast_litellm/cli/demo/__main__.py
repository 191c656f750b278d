"""``python -m fast_litellm.cli.demo``: the command ``fast-litellm demo``."""

import sys

from ..main import main

if __name__ == "__main__":
    sys.argv.insert(1, "demo")
    main()
