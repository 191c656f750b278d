"""Makes the blocking half of code that is written once, asynchronously.

    python scripts/twins.py

Renames what differs, drops `async` and `await`, and writes each file of `TWINS`. A test compares what is in the tree
with what this makes.
"""

from __future__ import annotations

import io
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_SHORTCUTS = ROOT / "python" / "fast_litellm" / "acceleration" / "shortcuts"

#: Written by hand -> made of it.
TWINS = {_SHORTCUTS / "asynchronous.py": _SHORTCUTS / "blocking.py"}

NAMES = {
    "AsyncGenerator": "Generator",
    "aclose": "close",
    "aclosing": "closing",
    "aread": "read",
    "handle_async_request": "handle_request",
    "__aiter__": "__iter__",
}
TEXTS = {
    "an asynchronous client's": "a blocking client's",
    "`blocking.py` is made of this file: after a change run `make twins`.": (
        "Made of `asynchronous.py` by `make twins`: change that."
    ),
    "aiter_": "iter_",
}


def blocking(source: str) -> str:
    """The blocking twin of asynchronous code. Formats nothing."""
    tokens = [token[:2] for token in tokenize.generate_tokens(io.StringIO(source).readline)]
    kept = [(kind, _renamed(kind, text)) for kind, text in tokens if text not in ("async", "await")]
    return tokenize.untokenize(kept)


def _renamed(kind: int, text: str) -> str:
    if kind == tokenize.NAME:
        return NAMES.get(text, text)
    if kind in (tokenize.STRING, tokenize.COMMENT):
        for old, new in TEXTS.items():
            text = text.replace(old, new)
    return text


def main() -> None:
    for source, twin in TWINS.items():
        twin.write_text(blocking(source.read_text()))


if __name__ == "__main__":
    main()
