"""`make compat`: the matrix of compatibility for versions of litellm, of the SDKs by themselves, and of the LiteLLM
proxy, each in an environment of its own.

    .venv/bin/python scripts/compat.py [--only 1.80.17 sdks-httpx2 ...] [--table docs/compatibility.md]

The environments are made under .cache/compat by this interpreter, with packages from PyPI, and kept; they get a copy of
this package with the extension as it was built last. The versions installed here are the last column, if they are not
among the others. Ends with status 1 if a cell differs, or a version could not be run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from environments import FOLDER, ROOT, NotRun, environment

sys.path.insert(0, str(ROOT / "tests" / "python"))

from compat_run import judged, proxied
from compat_sdks import PROXIES, SDKS, Tried, proxy, sdks
from compat_table import Result, table

from compat import comparing, matrix

#: litellm, and what of its time goes with it. Pillow: for pictures to Ollama.
VERSIONS = {
    "1.60.8": ("openai==1.61.1", "httpx==0.27.2", "pillow"),
    "1.70.4": ("openai==1.79.0", "httpx==0.28.1", "pillow"),
    "1.80.17": ("openai==2.15.0", "httpx==0.28.1", "pillow"),
    "1.90.7": ("openai>=2.20,<3", "httpx==0.28.1", "pillow"),
    "1.100.5": ("openai>=2.20,<3", "httpx==0.28.1", "pillow"),
    "1.106.2": ("openai>=2.20,<3", "httpx==0.28.1", "pillow"),
    "1.108.7": ("openai==3.57.0", "httpx==0.28.1", "pillow"),
    "1.110.2": ("openai==3.57.0", "httpx==0.28.1", "pillow"),
}
HERE = "here"


def run(python: str, name: str) -> Result:
    def progress(text: str) -> None:
        if sys.stdout.isatty():
            print(f"\r\033[K  {text}", end="", flush=True)

    started = time.monotonic()
    try:
        report = matrix.run(python, progress=progress)
        progress("")
        verdicts = judged(python, report)
        through = proxied(python, progress)
        progress("")
    except matrix.WorkerFailed as error:
        raise NotRun(f"{error}\n  To see it by itself: {python} -c 'import fast_litellm, litellm'") from None
    (FOLDER / f"litellm-{name}.json").write_text(json.dumps(report, indent=1))
    points = report["patch"]["points"]
    result = Result(report["versions"], sorted(name for name in points if points[name] == "missing"), verdicts, through)
    print(f"  {time.monotonic() - started:.0f} s", flush=True)
    say(verdicts, "cells")
    say(through, "cells with a proxy")
    return result


def say(verdicts: Mapping[str, comparing.Verdict], what: str) -> None:
    counts = Counter(verdict.state for verdict in verdicts.values())
    print(f"  {len(verdicts)} {what}: " + ", ".join(f"{n} {state}" for state, n in counts.most_common()), flush=True)
    for name, verdict in verdicts.items():
        if verdict.state == comparing.DIFFERS:
            print(f"  {name} {str(verdict)[:1000]}", flush=True)


def main() -> int:
    installed_here = f"{HERE}: litellm {version('litellm')}"
    columns = [*VERSIONS, *([] if version("litellm") in VERSIONS else [HERE])]
    beside = {**dict.fromkeys(SDKS, sdks), **{f"proxy-{each}": proxy for each in PROXIES}}
    parser = argparse.ArgumentParser(prog="make compat", description="The matrix of compatibility.")
    everything = [*VERSIONS, HERE, *beside]
    parser.add_argument("--only", nargs="+", choices=everything, help="these versions alone; writes no table")
    parser.add_argument("--table", type=Path, default=ROOT / "docs" / "compatibility.md", help="where to write it")
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    results: dict[str, Result] = {}
    tried: dict[str, Tried] = {}
    failed: dict[str, str] = {}
    names = arguments.only or [*columns, *beside]
    for number, name in enumerate(names, 1):
        title = {HERE: installed_here}.get(name, name if name in beside else f"litellm {name}")
        print(f"[{number}/{len(names)}] {title}", flush=True)
        try:
            if name in beside:
                tried[name] = beside[name](name.removeprefix("proxy-"))
                print(f"  {tried[name]._replace(proxied={})}", flush=True)
                say(tried[name].proxied, "cells with a proxy")
            elif name == HERE:
                results[name] = run(sys.executable, name)
            else:
                results[name] = run(environment(f"litellm-{name}", f"litellm=={name}", *VERSIONS[name]), name)
        except (NotRun, matrix.WorkerFailed, AssertionError) as error:
            failed[name] = str(error)
            print(f"  could not be run: {error}", flush=True)
    if not arguments.only:
        arguments.table.write_text(table(columns, results, tried, failed), encoding="utf-8")
        print(f"written: {arguments.table}")
    differ = any(result.count(comparing.DIFFERS) for result in results.values())
    differ |= any(
        verdict.state == comparing.DIFFERS
        for one in (*results.values(), *tried.values())
        for verdict in one.proxied.values()
    )
    return 1 if failed or differ or any(one.outcome.is_loss for one in tried.values()) else 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit("stopped; no table was written, and what is installed is kept") from None
