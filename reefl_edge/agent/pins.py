"""Which packages does an agent carry, in which versions?

Those of ``requirements-bare.lock``, which the tests run with: a version for each Python, and the
hashes of its files for every platform. What reads files and talks to users is left out.
"""

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from packaging.requirements import Requirement

from reefl_edge.agent.arch import NAMES, Arch

# What a worker imports, and what these import.
PACKAGES = (
    "annotated-types", "numpy", "onnxruntime", "pillow", "platformdirs", "psutil", "py-cpuinfo",
    "pydantic", "pydantic-core", "safetensors", "typing-extensions", "typing-inspection",
)  # fmt: skip

_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One version of a package.

    Attributes:
        name: The package.
        version: The version.
        hashes: Of the files that are it, each with the name of its algorithm before.
    """

    name: str
    version: str
    hashes: tuple[str, ...]


def pins_for(arch: Arch, python: str) -> tuple[Pin, ...]:
    """Return the packages of an agent.

    Args:
        arch: The instruction set it runs on.
        python: The version of its Python, such as ``3.11``.
    """
    environment = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": NAMES[arch].wheel,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }
    return tuple(
        Pin(name=requirement.name, version=_version(requirement), hashes=hashes)
        for requirement, hashes in _locked(_lock().read_text())
        if requirement.name in PACKAGES
        and (requirement.marker is None or requirement.marker.evaluate(environment))
    )


def lock_sha256() -> str:
    """Return the hash of the file that pins packages."""
    return hashlib.sha256(_lock().read_bytes()).hexdigest()


def requirements(pins: tuple[Pin, ...]) -> str:
    """Write pins as pip and uv read them."""
    return "".join(
        " ".join((f"{pin.name}=={pin.version}", *(f"--hash={each}" for each in pin.hashes))) + "\n"
        for pin in pins
    )


def _lock() -> Traversable:
    packaged = files("reefl_edge.agent") / "requirements.lock"
    return packaged if packaged.is_file() else Path(__file__).parents[2] / "requirements-bare.lock"


def _locked(text: str) -> list[tuple[Requirement, tuple[str, ...]]]:
    lines = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [
        (Requirement(line.partition("--hash=")[0]), tuple(_HASH.findall(line)))
        for line in lines
        if line.strip()
    ]


def _version(requirement: Requirement) -> str:
    (pinned,) = requirement.specifier
    return pinned.version
