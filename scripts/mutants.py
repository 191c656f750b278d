"""`make mutants`: breaks the sources in named ways, one at a time, and checks that the named test notices.

    python3 scripts/mutants.py [--list] [NAME]...

Each tests/mutants/NAME.patch breaks one invariant and names the test or model that must fail then. The sources are
copied to build/mutants, and only the copy is patched. The test programs are built and the named tests run once without
any mutant. Then, for each mutant: apply, build the one program, run the one test for a minute at most, restore. Prints
one table, and ends with 1 if a mutant survived, hung, did not apply or did not build. Logs are in build/mutants/logs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from command import CannotRun, only_run

ROOT = Path(__file__).resolve().parents[1]
PATCHES = ROOT / "tests" / "mutants"
FOLDER = ROOT / "build" / "mutants"
SOURCE = FOLDER / "source"
# Where the preset builds, seen from the sources: ccache then finds what an ordinary build of the checkout has compiled.
BUILD = SOURCE / "build" / "dev"
LOGS = FOLDER / "logs"
#: There while a mutant is in the copy. One that an interrupted run left says that objects may be mutated.
UNDER_WAY = FOLDER / ".under-way"

#: What the C++ tests are built from.
COPIED = ("CMakeLists.txt", "CMakePresets.json", "cmake", "include", "src", "tests")
#: How long a test may take. A mutant that is noticed only by its test's not ending counts as a survivor.
LIMIT_SECONDS = 60
#: The same where nothing is mutated: a model that searches every schedule may take a minute beside other work.
LIMIT_SECONDS_WITHOUT = 600
#: Programs that compile the templates of src/sync for themselves: nothing else is built again for a mutant of these.
OF_TEMPLATES = ("fastpool_sync_tests", "fastpool_model_tests")

KILLED, SURVIVED, HUNG = "killed", "SURVIVED", "HUNG"
NOT_APPLIED, NOT_BUILT, BAD_TEST = "DOES NOT APPLY", "DOES NOT BUILD", "TEST UNUSABLE"


@dataclass(frozen=True)
class Mutant:
    name: str
    patch: Path
    #: The sentence that does not hold any more.
    invariant: str
    #: The test program, and the GoogleTest filter of the one test in it that must fail.
    program: str
    test: str
    #: The files that the patch changes, seen from the root of the checkout.
    files: tuple[str, ...]
    #: The sources that are compiled with the mutant; empty: all that include what it changes.
    compiled: tuple[str, ...]

    @property
    def killed_by(self) -> str:
        return f"{self.program} --gtest_filter={self.test}"


@dataclass
class Outcome:
    mutant: Mutant
    result: str
    seconds: float = 0.0


# ---- patches ---------------------------------------------------------------------------------------------------------


def read(patch: Path) -> Mutant:
    """Reads the header lines in front of a patch; a line that begins with a space goes on with the one before."""
    text = patch.read_text()
    head = re.sub(r"\n +", " ", text.partition("\ndiff --git ")[0])
    fields = dict(re.findall(r"^([A-Z][a-z-]+): (.+)$", head, re.MULTILINE))
    killed_by = re.fullmatch(r"(fastpool_\w+_tests) --gtest_filter=([\w./]+)", fields.get("Killed-by", ""))
    files = tuple(re.findall(r"^--- a/(\S+)$", text, re.MULTILINE))
    if "Invariant" not in fields or killed_by is None or not files:
        raise CannotRun(
            f"{patch}: wanted are 'Invariant: <sentence>' and 'Killed-by: fastpool_<layer>_tests --gtest_filter=<test>'"
            ", and behind them the output of git diff"
        )
    compiled = tuple(fields.get("Compiled-in", "").split())
    return Mutant(patch.stem, patch, fields["Invariant"], killed_by[1], killed_by[2], files, compiled)


def chosen(names: list[str]) -> list[Mutant]:
    """The mutants of these names, or all; those of one program one after the other."""
    known = {patch.stem: patch for patch in PATCHES.glob("*.patch")}
    for name in names:
        if name not in known:
            raise CannotRun(f"{name} is none of: {', '.join(sorted(known))}")
    mutants = [read(known[name]) for name in names or known]
    return sorted(mutants, key=lambda mutant: (mutant.program, mutant.files, mutant.name))


def apply(mutant: Mutant, source: Path, *, check_only: bool = False) -> str:
    """Applies the patch to the sources there, whole or not at all. Returns why it does not apply, or nothing."""
    command = ["git", "apply", "--whitespace=nowarn", *(["--check"] if check_only else []), str(mutant.patch)]
    # A checkout around the copy is none of git's business: it would leave out what it does not track.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(source.parent)}
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


def names_a_test(mutant: Mutant) -> bool:
    """Whether the sources of the program have the test that the mutant names. The parameter of a test is looked for by
    the program alone, when the mutant is tried."""
    parts = re.fullmatch(r"(?:(\w+)/)?(\w+)\.(\w+)(?:/\w+)?", mutant.test)
    if parts is None:
        return False
    instance, suite, name = parts.groups()
    text = "\n".join(path.read_text() for path in sources_of(mutant.program))
    wanted = [rf"^{'TEST_P' if instance else 'TEST(?:_F)?'}\(\s*{suite},\s*{name}\)"]
    if instance:
        wanted.append(rf"^INSTANTIATE_TEST_SUITE_P\(\s*{instance},\s*{suite},")
    return all(re.search(pattern, text, re.MULTILINE) for pattern in wanted)


def sources_of(program: str) -> list[Path]:
    layer = program.removeprefix("fastpool_").removesuffix("_tests")
    return sorted((ROOT / "tests" / layer).glob("*.cpp"))


# ---- the copy --------------------------------------------------------------------------------------------------------


def copy_sources() -> None:
    """Makes the copy equal to the checkout. What is equal already keeps its time, so that it is not built again."""
    wanted = {path.relative_to(ROOT) for name in COPIED for path in [ROOT / name, *(ROOT / name).rglob("*")]}
    wanted = {path for path in wanted if (ROOT / path).is_file() and "__pycache__" not in path.parts}
    for name in COPIED:
        for path in list((SOURCE / name).rglob("*")):
            if path.is_file() and path.relative_to(SOURCE) not in wanted:
                path.unlink()
    for path in sorted(wanted):
        copy, content = SOURCE / path, (ROOT / path).read_bytes()
        if not copy.is_file() or copy.read_bytes() != content:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)


def compiled_alone(mutant: Mutant) -> list[Path]:
    """The objects that alone are compiled with the mutant; none: it is left to the build."""
    objects = BUILD / "tests" / "CMakeFiles" / f"{mutant.program}.dir"
    if mutant.compiled:
        library = BUILD / "CMakeFiles" / "fastpool.dir"
        known = [
            objects / name.removeprefix("tests/") if name.startswith("tests/") else library / name
            for name in mutant.compiled
        ]
        return [path.with_name(f"{path.name}.o") for path in known]
    if mutant.program in OF_TEMPLATES and all(re.match(r"src/sync/\w+\.h$", name) for name in mutant.files):
        return list(objects.rglob("*.o"))
    return []


@contextlib.contextmanager
def patched(mutant: Mutant) -> Iterator[str]:
    """The copy with the mutant in it, as long as the context lasts. Gives why the patch does not apply, or nothing."""
    before = {SOURCE / name: (SOURCE / name).read_bytes() for name in mutant.files}
    times = {path: path.stat().st_mtime_ns for path in before}
    alone = compiled_alone(mutant)

    # A header keeps its time, and the objects that are to have the mutant are removed: no others are compiled again. Of
    # the copies of an inline function the linker takes the first, and the program's own come before the library's.
    def hide() -> None:
        for path, time_of in times.items() if alone else ():
            os.utime(path, ns=(time_of, time_of))

    def remove_objects() -> None:
        for path in alone:
            path.unlink(missing_ok=True)

    UNDER_WAY.touch()
    try:
        problem = apply(mutant, SOURCE)
        hide()
        remove_objects()
        yield problem
    finally:
        remove_objects()
        for path, content in before.items():
            if path.read_bytes() != content:
                path.write_bytes(content)
        hide()
    UNDER_WAY.unlink()  # not after an interruption


# ---- building and running --------------------------------------------------------------------------------------------


def configure() -> None:
    with (LOGS / "configure.log").open("w") as log:
        command = ["cmake", "--preset", "dev", "-DFASTPOOL_BENCH=OFF"]
        if subprocess.run(command, cwd=SOURCE, stdout=log, stderr=subprocess.STDOUT, check=False).returncode:
            raise CannotRun(f"cmake failed, see {log.name}")


def finish(command: list[str], log: IO[str], limit: float | None = None) -> int | None:
    """Runs a command in a process group of its own, of which nothing is left afterwards, also after an interruption.
    Returns its exit status, or None after the limit in seconds."""
    with subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=BUILD, start_new_session=True) as process:
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def build(programs: list[str], log: IO[str]) -> bool:
    jobs = os.environ.get("JOBS") or str(os.cpu_count())
    return finish(["cmake", "--build", str(BUILD), "--parallel", jobs, "--target", *programs], log) == 0


def run(mutant: Mutant, log: IO[str], limit: float) -> int | None:
    """The exit status of the test, or None after the limit in seconds."""
    return finish([str(BUILD / "tests" / mutant.program), f"--gtest_filter={mutant.test}"], log, limit)


def problem_without(mutant: Mutant) -> str:
    """What is wrong with the test of a mutant where nothing is mutated, or nothing."""
    path = LOGS / f"{mutant.name}-without.log"
    with path.open("w") as log:
        status = run(mutant, log, LIMIT_SECONDS_WITHOUT)
    said = path.read_text(errors="replace")
    if status is None:
        return f"does not end without the mutant either, see {path}"
    if status != 0:
        return f"fails without the mutant too, see {path}"
    # A filter that selects nothing, or a test that skips itself, succeeds.
    if re.search(r"^\[  PASSED  \] 1 test\.$", said, re.MULTILINE) is None:
        return f"is not one test that passes without the mutant, see {path}"
    return ""


def attempt(mutant: Mutant) -> str:
    """What became of a mutant."""
    path = LOGS / f"{mutant.name}.log"
    with path.open("w") as log:
        # What another mutant has left to be compiled must not meet a header that hides its change.
        if compiled_alone(mutant) and not build([mutant.program], log):
            return NOT_BUILT
        return attempt_patched(mutant, log)


def attempt_patched(mutant: Mutant, log: IO[str]) -> str:
    with patched(mutant) as problem:
        if problem:
            print(f"   {mutant.patch} does not apply:\n{problem}", flush=True)
            return NOT_APPLIED
        if not build([mutant.program], log):
            return NOT_BUILT
        log.flush()
        status = run(mutant, log, LIMIT_SECONDS)
    if status is None:
        return HUNG
    return KILLED if status else SURVIVED


def table(outcomes: list[Outcome]) -> str:
    rows = [["mutant", "result", "s", "test"], ["-", "-", "-", "-"]]
    rows += [[each.mutant.name, each.result, f"{each.seconds:.0f}", each.mutant.killed_by] for each in outcomes]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    rows[1] = ["-" * width for width in widths]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def try_all(mutants: list[Mutant], outcomes: list[Outcome]) -> None:
    LOGS.mkdir(parents=True, exist_ok=True)
    if UNDER_WAY.exists():
        shutil.rmtree(BUILD, ignore_errors=True)
        UNDER_WAY.unlink()
    copy_sources()
    programs = sorted({mutant.program for mutant in mutants})
    print(f"== building {', '.join(programs)}", flush=True)
    configure()
    with (LOGS / "build.log").open("w") as log:
        if not build(programs, log):
            raise CannotRun(f"the sources do not build without any mutant, see {log.name}")
    # All of them first: afterwards the programs are those of the mutants.
    unusable = set()
    for mutant in mutants:
        if problem := problem_without(mutant):
            print(f"   {mutant.name}: {mutant.killed_by} {problem}", flush=True)
            unusable.add(mutant)
    for number, mutant in enumerate(mutants, 1):
        began = time.monotonic()
        result = BAD_TEST if mutant in unusable else attempt(mutant)
        outcome = Outcome(mutant, result, time.monotonic() - began)
        outcomes.append(outcome)
        print(f"[{number}/{len(mutants)}] {mutant.name}: {outcome.result}, {outcome.seconds:.0f} s", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description="Checks that the tests notice named mutants.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these")
    parser.add_argument("--list", action="store_true", help="print each mutant with the invariant that it breaks")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    outcomes: list[Outcome] = []
    try:
        mutants = chosen(arguments.names)
        if arguments.list:
            for mutant in mutants:
                print(f"{mutant.name}\n    {mutant.invariant}\n    {mutant.killed_by}")
            return 0
        with only_run(FOLDER, "make mutants"):
            try_all(mutants, outcomes)
    except CannotRun as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        if outcomes:
            print("\n" + table(outcomes), flush=True)
    return 0 if all(outcome.result == KILLED for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
