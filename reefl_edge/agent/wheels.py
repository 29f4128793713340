"""How do the packages for another machine get here?

By the installer that the user has, pip or uv, from the index that the user has configured for it;
wheels only, since nothing can be built for another machine, each held to the hash in our lock.
"""

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from reefl_edge.agent.arch import NAMES, Arch
from reefl_edge.agent.commands import run
from reefl_edge.agent.pins import Pin, requirements
from reefl_edge.errors import MissingToolchainError

# The C library that onnxruntime's wheels need is 2.28; pip takes no older ones by itself.
# Source: PEP 600.
GLIBC_MINOR = 28
_GLIBC_MINORS = range(17, GLIBC_MINOR + 1)


def install_wheels(pins: tuple[Pin, ...], arch: Arch, python: str, site: Path) -> None:
    """Unpack packages for another machine into a folder.

    Args:
        pins: Which.
        arch: The machine's instruction set.
        python: Its version of Python, such as ``3.11``.
        site: The folder, which is made.

    Raises:
        MissingToolchainError: There is neither pip nor uv, or the index cannot be reached or has no
            such wheels.
        OSError: The disk is full.
    """
    listed = site.with_suffix(".txt")
    listed.write_text(requirements(pins))
    argv = [
        *_installer(arch),
        *("--no-deps", "--only-binary", ":all:", "--require-hashes", "--python-version", python),
        *("--target", str(site), "--requirement", str(listed)),
    ]
    try:
        run(argv, purpose=f"fetching wheels for {arch} and Python {python}", folder=site.parent)
    finally:
        listed.unlink()


def _installer(arch: Arch) -> list[str]:
    """Return the head of a command that installs for a platform."""
    if uv := os.environ.get("UV"):  # uv tells the programs that it runs where it lies
        return _uv(uv, arch)
    if find_spec("pip") is not None:
        return [sys.executable, "-m", *_pip("pip", arch)]
    if uv := shutil.which("uv"):
        return _uv(uv, arch)
    if pip := shutil.which("pip3") or shutil.which("pip"):
        return _pip(pip, arch)
    raise MissingToolchainError("fetching wheels for an agent needs pip or uv; install one of them")


def _uv(uv: str, arch: Arch) -> list[str]:
    platform = f"{NAMES[arch].wheel}-manylinux_2_{GLIBC_MINOR}"
    return [uv, "pip", "install", "--quiet", "--python-platform", platform]


def _pip(pip: str, arch: Arch) -> list[str]:
    machine = NAMES[arch].wheel
    tags = [f"manylinux2014_{machine}", *(f"manylinux_2_{n}_{machine}" for n in _GLIBC_MINORS)]
    return [
        *(pip, "install", "--quiet", "--disable-pip-version-check", "--no-compile"),
        *("--root-user-action", "ignore", "--implementation", "cp"),
        *(f"--platform={tag}" for tag in tags),
    ]
