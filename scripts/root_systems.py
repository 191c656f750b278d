"""Root file systems of Debian releases, for building and testing where users are.

Each is made once by debootstrap, kept under build/platforms/roots, and entered by chroot in a mount and a process
namespace of its own. Nothing is ever mounted in the machine's namespace: mounts and processes end with the command that
`RootSystem.run` started, however that ends, and `rm -r build` finds plain folders. Needs root.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from command import CannotRun

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "platforms"
SOURCE = FOLDER / "source"
#: Folders of the checkout that are made, not written.
MADE = (".git", ".venv", ".cache", "build", "dist", "__pycache__")

#: The machine's own settings that a root file system borrows, where they exist, and where it sees them: for names,
#: packages, and the certificates that pip trusts. These have a place of their own, since installing ca-certificates
#: replaces the usual one.
BORROWED = {
    "/etc/resolv.conf": "/etc/resolv.conf",
    "/etc/hosts": "/etc/hosts",
    "/etc/pip.conf": "/etc/pip.conf",
    "/etc/ssl/certs/ca-certificates.crt": (PIP_CERTIFICATES := "/etc/pip-certificates.crt"),
}
PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")

APT_SETTINGS = """APT::Install-Recommends "false";
APT::Sandbox::User "root";
// A mirror may be a snapshot, whose index has expired. Signatures are checked all the same.
Acquire::Check-Valid-Until "false";
"""
#: Packages' daemons are not started.
POLICY = "#!/bin/sh\nexit 101\n"


def check_machine() -> None:
    """Raises CannotRun if this machine cannot make root file systems."""
    if os.geteuid() != 0:
        raise CannotRun("debootstrap and chroot need root: run `sudo make platforms`")
    missing = [tool for tool in ("debootstrap", "unshare", "setpriv", "chroot") if shutil.which(tool) is None]
    if missing:
        raise CannotRun(f"missing: {', '.join(missing)} (Debian: apt-get install debootstrap util-linux)")


def debian_mirror() -> str:
    """The mirror of Debian's main archive that apt is configured with, or $MIRROR."""
    if mirror := os.environ.get("MIRROR"):
        return mirror
    for uri in _configured_uris():
        if uri.startswith("http") and uri.rstrip("/").endswith("/debian"):
            return uri
    raise CannotRun("apt is configured with no mirror of Debian here: name one, make platforms MIRROR=http://...")


def _configured_uris() -> Iterator[str]:
    apt = Path("/etc/apt")
    for source in (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))):
        for line in source.read_text().splitlines() if source.is_file() else ():
            kind, _, rest = line.partition(" ")
            if kind == "deb":
                yield from (word for word in rest.split() if "://" in word)
            elif kind == "URIs:":
                yield from rest.split()


def copy_source() -> None:
    """Copies the checkout to where the root file systems see it, so that all build the same, even if it is edited."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(ROOT, SOURCE, ignore=shutil.ignore_patterns(*MADE), symlinks=True)


class RootSystem:
    """One release. `run` sees the copied source, read-only, as /source and the release's build folder as /build."""

    def __init__(self, suite: str) -> None:
        self.suite = suite
        self.path = FOLDER / "roots" / suite
        self.build = FOLDER / suite

    def prepare(self, packages: Sequence[str], log: IO[str], *, upgrade: bool) -> None:
        """Makes the root file system if need be, with these packages and what scripts/setup.sh installs."""
        self.build.mkdir(parents=True, exist_ok=True)
        stamp = self.path.with_name(f"{self.suite}.packages")
        wanted = " ".join(packages)
        if not self.path.exists():
            self._make(log)
        elif not upgrade and stamp.exists() and stamp.read_text() == wanted:
            return
        stamp.unlink(missing_ok=True)
        install = f"apt-get update && apt-get -y dist-upgrade && apt-get -y install {wanted} && apt-get clean"
        self.run(f"export DEBIAN_FRONTEND=noninteractive; {install}", log)
        self.run("cd /source && scripts/setup.sh system && apt-get clean", log)
        stamp.write_text(wanted)

    def _make(self, log: IO[str]) -> None:
        unfinished = self.path.with_name(f"{self.suite}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        # Into namespaces, since debootstrap mounts /proc.
        _run([*_NAMESPACES, "debootstrap", "--variant=minbase", self.suite, str(unfinished), debian_mirror()], log)
        for folder in ("source", "build"):
            (unfinished / folder).mkdir()
        (unfinished / "etc/apt/apt.conf.d/90platforms").write_text(APT_SETTINGS)
        policy = unfinished / "usr/sbin/policy-rc.d"
        policy.write_text(POLICY)
        policy.chmod(0o755)
        unfinished.rename(self.path)

    def run(self, script: str, log: IO[str], **environment: str) -> None:
        """Runs a shell script in the root file system, its output into the log. CalledProcessError if it fails."""
        passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        clean = {
            "HOME": "/build/home",
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "CCACHE_DIR": "/build/ccache",
            "PYTHONDONTWRITEBYTECODE": "1",
            **({"PIP_CERT": PIP_CERTIFICATES} if PIP_CERTIFICATES in self._borrowed() else {}),
            **passed_on,
            **environment,
        }
        variables = [f"{name}={value}" for name, value in clean.items()]
        inner = ["chroot", str(self.path), "env", "-i", *variables, "bash", "-euo", "pipefail", "-c", script]
        log.write(f"\n$ {script}\n")
        log.flush()
        _run([*_NAMESPACES, "sh", "-euc", f"{self._mounts()}\nexec {shlex.join(inner)}"], log)

    def _mounts(self) -> str:
        root = shlex.quote(str(self.path))
        lines = [
            f"mount -t proc proc {root}/proc",
            f"mount --rbind /dev {root}/dev",
            f"mount --bind {shlex.quote(str(SOURCE))} {root}/source",
            f"mount -o remount,bind,ro {root}/source",
            f"mount --bind {shlex.quote(str(self.build))} {root}/build",
        ]
        for place, path in self._borrowed().items():
            lines += [f"mkdir -p {root}{os.path.dirname(place)}", f"touch {root}{place}"]
            lines.append(f"mount --bind {path} {root}{place}")
        return "\n".join(lines)

    @staticmethod
    def _borrowed() -> dict[str, str]:
        return {place: path for path, place in BORROWED.items() if os.path.exists(path)}


#: The command's process namespace ends with it, and it with this process, even if that is killed.
_NAMESPACES = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child")


def _run(command: Sequence[str], log: IO[str]) -> None:
    log.flush()
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=True)
