"""Runs clang-tidy over the C++ sources, and again only over those whose text, headers, flags or checks have changed.

    python scripts/clang_tidy.py [--jobs N] DATABASE_DIRECTORY... --sources SOURCE...

A database directory holds a compile_commands.json; a source is checked with the first that has it. What none has is
built elsewhere (examples, benchmark, fuzzers) and checked with plain flags; the bindings need those of the
extension's build, and the benchmark's peers their libraries: they are reported as left out before there is one. What
passed leaves a stamp in build/lint, named by the digest of all that it depends on.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAMPS = ROOT / "build" / "lint"
CLANG_TIDY = "clang-tidy-19"
INCLUDE = re.compile(rb'^\s*#\s*include\s*["<]([^">]+)[">]', re.MULTILINE)
# Where an #include of the project's own may point to; all others are the system's.
INCLUDE_DIRECTORIES = [ROOT / name for name in ("include", "src", "tests", "python", "bench")]
PLAIN_FLAGS = ["-std=c++20", *(f"-I{directory}" for directory in INCLUDE_DIRECTORIES)]
#: What clang does not know.
FLAGS_OF_GCC = ("-fno-gnu-unique", "-Wno-restrict")
#: What cannot be checked with plain flags, and why a database may lack it.
NEEDS_DATABASE = {
    ROOT / "python" / "bindings": "the extension was not built",
    ROOT / "bench" / "cpp": "the library that it measures is not installed",
}


@cache
def included(path: Path) -> frozenset[Path]:
    found = set()
    for name in INCLUDE.findall(path.read_bytes()):
        for directory in [path.parent, *INCLUDE_DIRECTORIES]:
            candidate = directory / name.decode()
            if candidate.is_file():
                found.add(candidate.resolve())
                break
    return frozenset(found)


def with_headers(source: Path) -> set[Path]:
    seen: set[Path] = set()
    rest = [source]
    while rest:
        path = rest.pop()
        if path not in seen:
            seen.add(path)
            rest.extend(included(path))
    return seen


def digest(source: Path, command: str, checks: bytes) -> str:
    result = hashlib.sha256(checks + command.encode())
    for path in sorted(with_headers(source)):
        result.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return result.hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("databases", nargs="+", type=Path)
    parser.add_argument("--sources", nargs="+", type=Path, required=True)
    options = parser.parse_args()

    commands: dict[Path, tuple[Path, str]] = {}
    for number, given in enumerate(options.databases):
        entries = json.loads((given / "compile_commands.json").read_text())
        database = STAMPS / f"database-{number}"
        database.mkdir(parents=True, exist_ok=True)
        for entry in entries:
            entry["command"] = " ".join(flag for flag in entry["command"].split(" ") if flag not in FLAGS_OF_GCC)
            file = (Path(entry["directory"]) / entry["file"]).resolve()
            commands.setdefault(file, (database, entry["command"]))
        (database / "compile_commands.json").write_text(json.dumps(entries))
    version = subprocess.run([CLANG_TIDY, "--version"], check=True, capture_output=True).stdout
    checks = version + b"".join((ROOT / name).read_bytes() for name in (".clang-tidy", "tests/.clang-tidy"))
    STAMPS.mkdir(parents=True, exist_ok=True)

    def check(source: Path) -> str | None:
        database, command = commands.get(source, (None, " ".join(PLAIN_FLAGS)))
        stamp = STAMPS / digest(source, command, checks)
        if stamp.exists():
            return None
        flags = ["-p", str(database), str(source)] if database else [str(source), "--", *PLAIN_FLAGS]
        run = subprocess.run([CLANG_TIDY, "--quiet", *flags], check=False, capture_output=True, text=True, cwd=ROOT)
        if run.returncode == 0:
            stamp.touch()
            return None
        print(run.stdout, run.stderr, file=sys.stderr, flush=True)
        return str(source.relative_to(ROOT))

    sources = []
    for source in [path.resolve() for path in options.sources]:
        reason = next((why for folder, why in NEEDS_DATABASE.items() if folder in source.parents), None)
        if source in commands or reason is None:
            sources.append(source)
        else:
            print(f"left out, {reason}: {source.relative_to(ROOT)}", file=sys.stderr)
    with ThreadPoolExecutor(options.jobs) as pool:
        failed = [name for name in pool.map(check, sources) if name]
    for name in failed:
        print(f"clang-tidy failed: {name}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
