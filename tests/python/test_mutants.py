"""`make mutants`: each patch still applies to the sources, and the test that it names still exists. No build."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from support.scripts import script

ROOT = Path(__file__).resolve().parents[2]
PATCHES = sorted((ROOT / "tests" / "mutants").glob("*.patch"))


@pytest.fixture
def mutants() -> ModuleType:
    return script("mutants")


def test_there_are_as_many_as_are_promised() -> None:
    assert len(PATCHES) >= 30


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_mutant_applies_and_names_a_test(mutants: ModuleType, patch: Path) -> None:
    mutant = mutants.read(patch)
    assert mutants.apply(mutant, ROOT, check_only=True) == ""
    assert mutants.names_a_test(mutant), f"no such test: {mutant.killed_by}"
    assert [name for name in mutant.compiled if not (ROOT / name).is_file()] == []


def test_a_conversation_that_is_named_is_in_the_files(mutants: ModuleType) -> None:
    known = {
        f"{path.stem}__" + re.sub("[^0-9A-Za-z]", "_", title)
        for path in (ROOT / "tests" / "h1" / "conversations").glob("*.txt")
        for title in re.findall(r"^=== (.*)$", path.read_text(), re.MULTILINE)
    }
    tests = [mutants.read(patch).test for patch in PATCHES]
    named = {test.rpartition("/")[2] for test in tests if test.startswith("Files/Conversations.")}
    assert named
    assert named <= known


@pytest.fixture
def broken(mutants: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A mutant of which the test may change the text."""
    shutil.copy(PATCHES[0], tmp_path / "broken.patch")
    monkeypatch.setattr(mutants, "PATCHES", tmp_path)
    return tmp_path / "broken.patch"


def test_a_patch_of_lines_that_are_gone_is_refused_with_their_place(mutants: ModuleType, broken: Path) -> None:
    broken.write_text(re.sub(r"^-(?!-)", "-// gone: ", broken.read_text(), flags=re.MULTILINE))
    mutant = mutants.read(broken)
    assert re.search(rf"{mutant.files[0]}:\d+", mutants.apply(mutant, ROOT, check_only=True))


def test_a_test_that_is_gone_is_noticed(mutants: ModuleType, broken: Path) -> None:
    broken.write_text(broken.read_text().replace("--gtest_filter=", "--gtest_filter=Gone"))
    assert not mutants.names_a_test(mutants.read(broken))


def test_a_patch_without_its_header_lines_is_refused(mutants: ModuleType, broken: Path) -> None:
    broken.write_text(broken.read_text().replace("Killed-by:", "By:"))
    with pytest.raises(mutants.CannotRun, match="Killed-by"):
        mutants.read(broken)


def test_an_unknown_name_is_refused_with_the_known_ones(mutants: ModuleType, broken: Path) -> None:
    with pytest.raises(mutants.CannotRun, match="none of: broken"):
        mutants.chosen(["absent"])
