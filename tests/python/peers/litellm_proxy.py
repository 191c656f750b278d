"""The LiteLLM proxy as a process: started by its own command, inspected, and stopped."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import httpx

from support.interpreter import without_settings

from .ports import free_port

START = 480.0  # it imports for a quarter of a minute, three times over; for much longer on a busy machine
STOP = 60.0

CONFIGURATION = """\
model_list:
  - model_name: chat
    litellm_params:
      model: openai/embedded-model
      api_base: os.environ/UPSTREAM
      api_key: none
litellm_settings:
  callbacks: litellm_probe.handler
general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
"""


class Upstream(Protocol):
    @property
    def base_url(self) -> str: ...
    @property
    def ca_file(self) -> str: ...


class LitellmProxy:
    """`launcher` litellm --config ...; in a session of its own, so that whatever it leaves behind can be found.

    `python`: the interpreter of the environment that has the proxy, if that is not this one."""

    def __init__(
        self,
        folder: Path,
        upstream: Upstream,
        launcher: Sequence[str],
        workers: int,
        environment: dict[str, str],
        python: str = sys.executable,
    ) -> None:
        self.key = f"sk-{secrets.token_hex(32)}"
        self._folder = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._workers = workers
        self._command = [*launcher, *_litellm(python), "--config", str(folder / "config.yaml"), "--host", "127.0.0.1"]
        self._command += ["--port", str(self._port), "--num_workers", str(workers)]
        # On a busy machine a worker imports for longer than the 5 s after which uvicorn would begin another.
        self._command += ["--timeout_worker_healthcheck", str(int(START))]
        self._environment = {
            **without_settings(),
            "LITELLM_MASTER_KEY": self.key,
            "UPSTREAM": upstream.base_url,
            "SSL_CERT_FILE": upstream.ca_file,
            "PROBE_FOLDER": str(folder / "probes"),
            # It looks for nothing on the network, and waits for none of that.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
            "LITELLM_LOCAL_BLOG_POSTS": "True",
            "LITELLM_LOCAL_POLICY_TEMPLATES": "True",
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> LitellmProxy:
        (self._folder / "probes").mkdir(parents=True)
        (self._folder / "config.yaml").write_text(CONFIGURATION)
        shutil.copy(Path(__file__).with_name("litellm_probe.py"), self._folder)
        with open(self._folder / "log", "wb") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_all_workers_answer()
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._kill()

    def stop(self) -> int:
        """SIGTERM, as a service manager does it; the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOP)

    def left_behind(self) -> list[str]:
        """Processes of the proxy's session that still live a while after it has ended."""
        deadline = time.monotonic() + STOP
        while (left := list(self._session())) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left

    def reports(self) -> list[dict[str, Any] | None]:
        """What fast_litellm did in each worker; None for a worker without it."""
        return [_ask(path) for path in sorted((self._folder / "probes").iterdir())]

    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def _wait_until_all_workers_answer(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise AssertionError(f"the proxy ended with {self._process.returncode}:\n{self.log()}")
            if self.log().count("Application startup complete") >= self._workers and self._is_ready():
                return
            time.sleep(0.1)
        raise AssertionError(f"the proxy did not start within {START:g} s:\n{self.log()}")

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/readiness", trust_env=False, timeout=30).status_code == 200
        except httpx.TransportError:
            return False

    def _session(self) -> Iterator[str]:
        assert self._process is not None
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                    if int(session) == self._process.pid and state != "Z":
                        yield (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                except OSError:  # it has just ended
                    continue

    def _kill(self) -> None:
        process = self._process
        assert process is not None
        try:
            os.killpg(process.pid, signal.SIGKILL)  # the group of its own session
        except ProcessLookupError:
            pass
        process.wait(STOP)


def _litellm(python: str) -> list[str]:
    path = os.pathsep.join((os.path.dirname(python), os.environ.get("PATH", "")))
    command = shutil.which("litellm", path=path)
    assert command is not None, "the command litellm is missing: pip install 'fast-litellm[test]'"
    return [command]


def _ask(path: Path) -> dict[str, Any] | None:
    with socket.socket(socket.AF_UNIX) as asked:
        asked.settimeout(30)
        asked.connect(str(path))
        with asked.makefile("rb") as answer:
            report: dict[str, Any] | None = json.load(answer)
            return report
