"""Part of `make compat`: the openai and anthropic SDKs by themselves, the newest over httpx2 and older ones over httpx,
each in an environment of its own. Ends with status 1 if a test fails."""

from __future__ import annotations

import subprocess

from environments import ROOT, NotRun, environment

#: What the tests need besides; litellm is not there.
TESTING = ("pytest", "httpx<1", "certifi", "uvicorn", "httptools", "trustme")
SDKS = {
    "sdks-httpx2": ("openai>=3", "anthropic>=1"),
    "sdks-httpx": ("openai<3", "anthropic<1"),
    "sdks-older": ("openai==1.61.1", "anthropic==0.45.2", "httpx==0.27.2"),
}
TESTS = [f"tests/python/litellm_patch/test_{name}.py" for name in ("sdks_alone", "httpx2_transports", "decision")]


def main() -> int:
    failed = []
    for number, (name, requirements) in enumerate(SDKS.items(), 1):
        print(f"[{number}/{len(SDKS)}] {', '.join(requirements)}", flush=True)
        try:
            python = environment(name, *requirements, *TESTING)
        except NotRun as error:
            print(f"  could not be run: {error}", flush=True)
            failed.append(name)
            continue
        if subprocess.run([python, "-m", "pytest", "-q", *TESTS], cwd=ROOT, check=False).returncode:
            failed.append(name)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
