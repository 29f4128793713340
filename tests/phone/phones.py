"""Phones for tests, and an adb server of their own to reach them by."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.phone.root import MKSH, TOYBOX, make_root

ROOT = Path(__file__).parents[2]


def _missing() -> str:
    tools = {"adb": shutil.which("adb"), "mksh": MKSH.exists(), "toybox": TOYBOX.exists()}
    missing = [tool for tool, there in tools.items() if not there]
    if missing:
        return f"not installed: {', '.join(missing)} (Debian's packages)"
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a phone's root is mounted by root"
    allowed = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    return "" if allowed.returncode == 0 else "nothing may be mounted here"


MISSING = _missing()
needs_adb = pytest.mark.skipif(bool(MISSING), reason=f"no phone here: {MISSING}")

# What this machine's own Python needs in a root of a phone.
OWN_PYTHON = (
    Path("/usr/lib"), Path("/usr/lib64"), Path(sys.base_prefix),
    Path(os.path.realpath(sys.prefix)), ROOT,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Phone:
    """A phone at the end of a cable.

    Attributes:
        root: Its ``/``, as far as it is not mounted.
        port: Where it waits for adb.
        process: The phone itself.
    """

    root: Path
    port: int
    process: "subprocess.Popen[str]"

    @property
    def serial(self) -> str:
        """What adb calls it."""
        return f"127.0.0.1:{self.port}"


@contextmanager
def adb_server(folder: Path) -> Iterator[dict[str, str]]:
    """Run a server of adb's that knows no phone; give the environment to reach it by."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {"ANDROID_ADB_SERVER_PORT": str(port)}
    adb({**environment, "HOME": str(folder)}, "start-server")  # its keys lie there
    try:
        yield environment
    finally:
        adb(environment, "kill-server")


def adb(environment: dict[str, str], *arguments: str) -> None:
    """Run adb's client; what a server that it starts writes goes nowhere."""
    subprocess.run(
        ["adb", *arguments],
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


@contextmanager
def phone_in(folder: Path, *options: str, binds: Sequence[Path] = OWN_PYTHON) -> Iterator[Phone]:
    """Switch a phone on while the block runs."""
    make_root(folder)
    if Path("/usr/lib") in binds:
        for name in ("lib", "lib64"):
            if Path(f"/{name}").is_symlink():
                (folder / name).symlink_to(f"usr/{name}")
    argv = [
        *("unshare", "--mount", "--propagation", "private", sys.executable),
        *("-m", "tests.phone.device", str(folder), *options),
        *(part for path in binds for part in ("--bind", str(path))),
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield Phone(folder, int(process.stdout.readline()), process)
        finally:
            process.kill()
