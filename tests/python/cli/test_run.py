"""`fast-litellm run`: the program is what it would be, with fast_litellm in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fast_litellm.cli.run import BOOTSTRAP, accelerating
from support.interpreter import without_settings

Run = Callable[..., "subprocess.CompletedProcess[str]"]

IS_THERE = "import sys; print('fast_litellm' in sys.modules)"


def environment() -> dict[str, str]:
    kept = without_settings()
    kept.pop("PYTHONPATH", None)
    return kept


@pytest.fixture
def launch(tmp_path: Path) -> Run:
    """launch("python", "-c", ...) runs that command under `fast-litellm run`."""

    def run(*command: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            # -E: the launcher itself does without what PYTHONPATH offers the program.
            [sys.executable, "-E", "-m", "fast_litellm", "run", *command],
            env={**environment(), **more},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def stock(*command: str, cwd: Path, **more: str) -> str:
    return subprocess.run(
        command, env={**environment(), **more}, cwd=cwd, capture_output=True, text=True, timeout=60, check=True
    ).stdout


def test_a_program_has_fast_litellm_before_its_first_line(launch: Run) -> None:
    done = launch(sys.executable, "-c", IS_THERE)
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


def test_a_console_script_is_found_on_path_and_gets_its_arguments(launch: Run, tmp_path: Path) -> None:
    script = tmp_path / "a-script"
    script.write_text(f"#!{sys.executable}\nimport sys; print('fast_litellm' in sys.modules, *sys.argv[1:])\n")
    script.chmod(0o755)
    for first in ((), ("--",)):
        done = launch(*first, "a-script", "--help", "-x", "run", PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        assert done.stdout == "True --help -x run\n", done.stderr


def test_python_is_the_one_beside_when_path_has_none(launch: Run) -> None:
    done = launch(Path(sys.executable).name, "-c", "import sys; print(sys.executable)", PATH="/nowhere")
    assert done.stdout.strip() == sys.executable


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_workers_are_accelerated_too(method: str, launch: Run, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing, sys\n"
        "def look(_): return 'fast_litellm' in sys.modules\n"
        "if __name__ == '__main__':\n"
        f"    with multiprocessing.get_context({method!r}).Pool(2) as pool: print(pool.map(look, range(4)))\n"
    )
    done = launch(sys.executable, str(program))
    assert done.stdout == "[True, True, True, True]\n", done.stderr


def test_a_child_program_is_accelerated_too(launch: Run) -> None:
    outer = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {IS_THERE!r}]))"
    assert launch(sys.executable, "-c", outer).stdout == "True\n"


def test_the_exit_code_is_the_programs_own(launch: Run) -> None:
    assert launch(sys.executable, "-c", "import sys; sys.exit(7)").returncode == 7


def test_a_signal_reaches_the_program_and_ends_it_as_it_would() -> None:
    program = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-m", "fast_litellm", "run", sys.executable, "-c", program],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"{process.pid}\n"  # it has taken the launcher's place
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == -signal.SIGTERM
        finally:
            process.kill()


# What the program sees of it.


def test_the_path_and_the_modules_are_what_they_would_be(launch: Run, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    program = "import json, sys; print(json.dumps([sys.path, sorted(sys.modules)]))"
    for path in ("", str(tmp_path / "own"), f"{tmp_path / 'own'}{os.pathsep}"):
        more = {"PYTHONPATH": path} if path else {}
        path_under_run, modules_under_run = json.loads(launch(sys.executable, "-c", program, **more).stdout)
        path_of_stock, modules_of_stock = json.loads(stock(sys.executable, "-c", program, cwd=tmp_path, **more))
        assert path_under_run == path_of_stock
        assert set(modules_of_stock) <= set(modules_under_run)


def test_another_sitecustomize_is_imported_as_always(launch: Run, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    file = other / "sitecustomize.py"
    file.write_text("import sys; print('other', 'fast_litellm' in sys.modules)\n")
    program = "import sitecustomize; print(sitecustomize.__file__)"
    done = launch(sys.executable, "-c", program, PYTHONPATH=str(other))
    assert done.stdout == f"other True\n{file}\n", done.stderr


@pytest.mark.parametrize("error", ["1 / 0", "import no_such_module_anywhere"])
def test_errors_of_another_sitecustomize_are_what_they_would_be(error: str, launch: Run, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "sitecustomize.py").write_text(f"{error}\n")
    more = {"PYTHONPATH": str(other)}
    command = (sys.executable, "-c", IS_THERE)
    plain = subprocess.run(
        command, env={**environment(), **more}, capture_output=True, text=True, timeout=60, check=False
    )
    done = launch(*command, **more)
    assert (done.returncode, done.stderr) == (plain.returncode, plain.stderr)
    assert plain.stdout == done.stdout.replace("True", "False")


def test_turned_off_the_program_is_exactly_what_it_would_be(launch: Run, tmp_path: Path) -> None:
    program = "import json, os, sys; print(json.dumps([sys.path, sorted(sys.modules), sorted(os.environ.items())]))"
    off = {"FAST_LITELLM_ENABLED": "false"}
    under_run = launch(sys.executable, "-c", program, **off)
    assert under_run.stdout == stock(sys.executable, "-c", program, cwd=tmp_path, **off)


def test_nested_runs_act_as_one(launch: Run) -> None:
    program = "import os; print(os.environ['PYTHONPATH'])"
    nested = launch(sys.executable, "-m", "fast_litellm", "run", sys.executable, "-c", program)
    assert nested.stdout.strip() == BOOTSTRAP


def test_an_empty_python_path_does_not_become_the_current_folder() -> None:
    assert accelerating({})["PYTHONPATH"] == BOOTSTRAP
    assert accelerating({"PYTHONPATH": ""})["PYTHONPATH"] == BOOTSTRAP
    assert accelerating({"PYTHONPATH": "/a"})["PYTHONPATH"] == f"{BOOTSTRAP}{os.pathsep}/a"


def test_it_needs_neither_typer_nor_rich() -> None:
    without = "import sys; sys.modules['typer'] = sys.modules['rich'] = None; "
    start = f"sys.argv = ['fast-litellm', 'run', {sys.executable!r}, '-c', {IS_THERE!r}]; "
    program = without + start + "from fast_litellm.cli.main import main; main()"
    assert stock(sys.executable, "-c", program, cwd=Path.cwd()) == "True\n"


# What cannot be run.


def test_without_a_command_it_says_how_to_give_one(launch: Run) -> None:
    done = launch()
    assert done.returncode == 2
    assert "fast-litellm run python program.py" in done.stderr


def test_the_launcher_has_no_options_of_its_own(launch: Run) -> None:
    done = launch("--fast", "python")
    assert done.returncode == 2
    assert "no such option: --fast" in done.stderr


def test_its_help_is_its_own(launch: Run) -> None:
    done = launch("--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: fast-litellm run COMMAND")


def test_a_missing_command_is_named_with_a_remedy(launch: Run) -> None:
    done = launch("no-such-program", "-x")
    assert done.returncode == 127
    assert "no-such-program: no such command on PATH, nor beside" in done.stderr
    assert "installed" in done.stderr


def test_a_python_file_that_is_no_program_says_how_to_run_it(launch: Run, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("print('here')\n")
    done = launch("./program.py")
    assert done.returncode == 126
    assert "fast-litellm run python ./program.py" in done.stderr


def test_a_file_that_the_system_cannot_run_is_an_error_that_says_so(launch: Run, tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text("print('no line that says what runs it')\n")
    file.chmod(0o755)
    done = launch(str(file))
    assert done.returncode == 126
    assert "fast-litellm run python" in done.stderr


@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="only a virtual environment has a Python without the package")
def test_a_python_without_the_package_runs_all_the_same_and_says_so(launch: Run) -> None:
    done = launch(os.path.realpath(sys.executable), "-c", IS_THERE)
    assert done.stdout == "False\n"
    assert "runs unaccelerated (No module named 'fast_litellm')" in done.stderr
