"""How does this machine run Python and onnxruntime as a Raspberry Pi would?

Debian's arm64 packages and the aarch64 wheels of onnxruntime are unpacked into a folder of the
cache, once, and run there by qemu's user emulation: no root rights to run, no second stage, and
about a hundred times slower than a Pi. Good for "does it run and agree", never for timing.
"""

import os
import shutil
import subprocess
from pathlib import Path

from reefl_export.cache import cache_home

# Newer releases of onnxruntime die under the qemu of Debian 12.
WHEELS = ("onnxruntime==1.22.*", "numpy==2.3.*")
PYTHON_VERSION = "3.11"  # Debian 12's
RELEASE = "bookworm"
TOOLS = {"qemu-aarch64-static": "qemu-user-static", "debootstrap": "debootstrap"}


class Emulator:
    """An arm64 root with Python and onnxruntime; made when first asked for."""

    def __init__(self) -> None:
        home = cache_home() / f"arm64-{RELEASE}"
        self._root = home / "root"
        self._packages = home / "packages"
        if not (home / "complete").is_file():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(parents=True)
            self._unpack_debian()
            self._unpack_wheels()
            (home / "complete").touch()

    def run_python(self, *arguments: str | Path) -> str:
        """Run Python in the emulator; return what it prints."""
        environment = (f"PYTHONPATH={self._packages}", "PYTHONDONTWRITEBYTECODE=1")
        command = [
            "qemu-aarch64-static", "-L", str(self._root), "-E", ",".join(environment),
            str(self._root / "usr" / "bin" / f"python{PYTHON_VERSION}"), *map(str, arguments),
        ]  # fmt: skip
        return _run(command)

    def _unpack_debian(self) -> None:
        privileges = [] if os.geteuid() == 0 else ["fakeroot"]
        _run([
            *privileges, "debootstrap", "--arch=arm64", "--variant=minbase", "--foreign",
            "--include=python3", RELEASE, str(self._root),
        ])  # fmt: skip
        # The first stage unpacks only what the second, which needs a chroot, starts from.
        for package in sorted((self._root / "var/cache/apt/archives").glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(package), str(self._root)])

    def _unpack_wheels(self) -> None:
        _run([
            os.environ.get("UV", "uv"), "pip", "install", "--quiet", "--only-binary", ":all:",
            "--python-platform", "aarch64-manylinux_2_28", "--python-version", PYTHON_VERSION,
            "--target", str(self._packages), *WHEELS,
        ])  # fmt: skip


def missing_tools() -> list[str]:
    """Return the Debian packages that are not installed here and would be needed."""
    return [package for tool, package in TOOLS.items() if shutil.which(tool) is None]


def _run(command: list[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        output = result.stdout + result.stderr
        raise RuntimeError(f"{' '.join(command[:3])} ... exited {result.returncode}: {output}")
    return result.stdout
