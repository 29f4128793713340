"""Which machine is this, in the words that make two reports comparable?"""

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import cpuinfo
import psutil

from reefl_edge.runtimes.base import default_threads

# What computes, or decides how fast it is computed.
_PACKAGES = ("reefl-edge", "numpy", "onnxruntime", "torch", "executorch")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The machine and the software that measure.

    Attributes:
        os: Name and release of the system.
        arch: Instruction set architecture, such as ``x86_64``.
        cpu_name: What the processor calls itself.
        cpu_features: Its instruction set extensions, as the system names them.
        num_cores: Cores the system has, hardware threads counted.
        num_usable_cores: Cores this process may use.
        memory_total_mib: Memory of the machine.
        governor: How the system sets the clock (Linux); None if it does not say.
        load_average: Runnable processes over the last minute; None if the system does not say.
        python_version: Of the interpreter.
        packages: Version of each package that matters, as far as installed.
    """

    os: str
    arch: str
    cpu_name: str
    cpu_features: tuple[str, ...]
    num_cores: int
    num_usable_cores: int
    memory_total_mib: int
    governor: str | None
    load_average: float | None
    python_version: str
    packages: dict[str, str]


def describe_host() -> Host:
    """Describe the machine this process runs on; takes about a second."""
    cpu = cpuinfo.get_cpu_info()
    return Host(
        os=f"{platform.system()} {platform.release()}",
        arch=platform.machine(),
        cpu_name=cpu.get("brand_raw", "unknown"),
        cpu_features=tuple(cpu.get("flags", ())),
        num_cores=os.cpu_count() or 1,
        num_usable_cores=default_threads(),
        memory_total_mib=psutil.virtual_memory().total // 2**20,
        governor=_GOVERNOR.read_text().strip() if _GOVERNOR.is_file() else None,
        load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        python_version=platform.python_version(),
        packages=dict(_versions()),
    )


def _versions() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        try:
            yield package, metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
