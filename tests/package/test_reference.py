"""The reference of the public headers is built without a warning."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from building import ROOT, run


def test_doxygen_has_no_warning_about_the_public_headers(tmp_path: Path) -> None:
    if shutil.which("doxygen") is None:
        pytest.skip("elsewhere: `make docs` installs Doxygen and builds the reference")
    (tmp_path / "Doxyfile").write_text(f"@INCLUDE = {ROOT}/docs/Doxyfile\nOUTPUT_DIRECTORY = {tmp_path}\n")
    said = run("env", f"--chdir={ROOT}", "doxygen", tmp_path / "Doxyfile")
    assert "warning" not in said
    assert "error" not in said
    page = (tmp_path / "cpp" / "classfastpool_1_1Client.html").read_text()
    assert "FASTPOOL_EXPORT" not in page
