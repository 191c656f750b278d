"""`make compat`: the matrix of compatibility for older versions of litellm, each in an environment of its own.

    .venv/bin/python scripts/compat.py [--only 1.80.17 ...] [--table docs/compatibility.md]

The environments are made under .cache/compat by this interpreter, with packages from PyPI, and kept; they get a copy of
this package with the extension as it was built last. The versions installed here are the last column. Ends with status
1 if a cell differs, or a version could not be run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

from environments import FOLDER, ROOT, NotRun, environment

sys.path.insert(0, str(ROOT / "tests" / "python"))

from compat_table import Result, table

from compat import comparing, matrix
from compat.cells import CELLS, Cell

#: litellm, and what of its time goes with it. Pillow: for pictures to Ollama.
VERSIONS = {
    "1.60.8": ("openai==1.61.1", "httpx==0.27.2", "pillow"),
    "1.70.4": ("openai==1.79.0", "httpx==0.28.1", "pillow"),
    "1.80.17": ("openai==2.15.0", "httpx==0.28.1", "pillow"),
    "1.90.7": ("openai>=2.20,<3", "httpx==0.28.1", "pillow"),
    "1.100.5": ("openai>=2.20,<3", "httpx==0.28.1", "pillow"),
    "1.106.2": ("openai>=2.20,<3", "httpx==0.28.1", "pillow"),
    "1.108.14": ("openai==3.57.0", "httpx==0.28.1", "pillow"),
    "1.110.2": ("openai==3.57.0", "httpx==0.28.1", "pillow"),
}
HERE = "here"


def run(python: str, version: str) -> Result:
    def progress(text: str) -> None:
        if sys.stdout.isatty():
            print(f"\r\033[K  {text}", end="", flush=True)

    started = time.monotonic()
    try:
        report = matrix.run(python, progress=progress)
        progress("")
        verdicts = {cell.name: comparing.judge(cell, report["cells"][cell.name]) for cell in CELLS}
        for cell in CELLS:
            if comparing.stock_fails(cell, report["cells"][cell.name]):
                verdicts[cell.name] = alone(python, cell, verdicts[cell.name])
    except matrix.WorkerFailed as error:
        raise NotRun(f"{error}\n  To see it by itself: {python} -c 'import fast_litellm, litellm'") from None
    (FOLDER / f"litellm-{version}.json").write_text(json.dumps(report, indent=1))
    points = report["patch"]["points"]
    result = Result(report["versions"], sorted(name for name in points if points[name] == "missing"), verdicts)
    counts = Counter(verdict.state for verdict in verdicts.values())
    print(
        f"  {len(CELLS)} cells in {time.monotonic() - started:.0f} s: "
        + ", ".join(f"{count} {state}" for state, count in counts.most_common()),
        flush=True,
    )
    for name, verdict in verdicts.items():
        if verdict.state == comparing.DIFFERS:
            print(f"  {name} {str(verdict)[:1000]}", flush=True)
    return result


def alone(python: str, cell: Cell, before: comparing.Verdict) -> comparing.Verdict:
    """litellm as it comes fails in this cell; perhaps only after what was called before it in the same process."""
    verdict = comparing.judge(cell, matrix.run(python, [cell])["cells"][cell.name])
    if verdict.state not in (comparing.POOL, comparing.STOCK):
        return before
    return verdict._replace(notes=(*verdict.notes, f"in a process of its own; after other calls {before.notes[0]}"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="make compat", description="The matrix of compatibility.")
    parser.add_argument("--only", nargs="+", choices=[*VERSIONS, HERE], help="these versions alone; writes no table")
    parser.add_argument("--table", type=Path, default=ROOT / "docs" / "compatibility.md", help="where to write it")
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    results: dict[str, Result] = {}
    failed: dict[str, str] = {}
    names = arguments.only or [*VERSIONS, HERE]
    for number, name in enumerate(names, 1):
        title = "the versions installed here" if name == HERE else f"litellm {name}"
        print(f"[{number}/{len(names)}] {title}", flush=True)
        try:
            results[name] = run(
                sys.executable if name == HERE else environment(f"litellm-{name}", f"litellm=={name}", *VERSIONS[name]),
                name,
            )
        except NotRun as error:
            failed[name] = str(error)
            print(f"  could not be run: {error}", flush=True)
    if not arguments.only:
        arguments.table.write_text(table([*VERSIONS, HERE], results, failed), encoding="utf-8")
        print(f"written: {arguments.table}")
    return 1 if failed or any(result.count(comparing.DIFFERS) for result in results.values()) else 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit("stopped; no table was written, and what is installed is kept") from None
