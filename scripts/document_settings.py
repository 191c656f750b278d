"""Writes the tables of settings in docs/ from the tables in `fast_litellm.config` and `fast_litellm.pool_settings`.

python scripts/document_settings.py
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from fast_litellm import config
from fast_litellm.pool_settings import POOL_SETTINGS

DOCS = Path(__file__).resolve().parents[1] / "docs"
_BETWEEN = re.compile(r"(?<=<!-- settings: begin -->\n).*?(?=\n<!-- settings: end -->)", re.DOTALL)


def _configuration() -> list[str]:
    lines = ["| variable | in the file | value | default | meaning |", "| --- | --- | --- | --- | --- |"]
    for key, setting in config.SETTINGS.items():
        default = f"`{setting.default_text}`" if " " not in setting.default_text else setting.default_text
        lines.append(f"| `{config.variable(key)}` | `{key}` | {setting.expected} | {default} | {setting.meaning} |")
    return lines


def _pool() -> list[str]:
    lines = ["| keyword | default | least | variable that sets the default |", "| --- | --- | --- | --- |"]
    for row in POOL_SETTINGS:
        name = f"`{config.variable(row.key)}`" if row.key else ""
        lines.append(f"| `{row.name}` | {row.told} | {row.least} | {name} |")
    return lines


#: The pages that have a table between `<!-- settings: begin -->` and its end.
TABLES = {"configuration.md": _configuration, "pool.md": _pool}


def written(page: str) -> str:
    """The text of a page with its table anew."""
    text, count = _BETWEEN.subn(lambda _: "\n".join(TABLES[page]()), (DOCS / page).read_text())
    if count != 1:
        raise ValueError(f"docs/{page} must have one place for its table of settings, not {count}")
    return text


def main() -> int:
    for page in TABLES:
        (DOCS / page).write_text(written(page))
    return 0


if __name__ == "__main__":
    sys.exit(main())
