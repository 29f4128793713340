"""Which machine is this, in the words that make two reports comparable?"""

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import cpuinfo
import psutil

from reefl_edge.devices.cores import CoreCluster, clusters_in, fast_cores
from reefl_edge.devices.system_files import CORE_FILES, read_system_files
from reefl_edge.runtimes.base import default_threads

SCHEMA_VERSION = 1

# What computes, or decides how fast it is computed.
MEASURED_PACKAGES = ("reefl-edge", "numpy", "onnxruntime", "torch", "executorch")
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
        python_version: Of the interpreter; None where no Python runs.
        device_python: Where the interpreter lies, if it is one that the device has by itself; None
            for one that was sent there, and on this machine.
        packages: Version of each package that matters, as far as installed.
        clusters: The cores a process may use, by their speed, fastest first; empty if the system
            does not say.
        schema_version: Of this document.

    Raises:
        ValueError: No machine has such cores or such memory, or the version is unknown.
    """

    os: str
    arch: str
    cpu_name: str
    cpu_features: tuple[str, ...]
    num_cores: int
    num_usable_cores: int
    memory_total_mib: int
    governor: str | None = None
    load_average: float | None = None
    python_version: str | None = None
    device_python: str | None = None
    packages: dict[str, str] = field(default_factory=dict)
    clusters: tuple[CoreCluster, ...] = ()
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if not 1 <= self.schema_version <= SCHEMA_VERSION:
            raise ValueError(f"no host has schema version {self.schema_version}")
        if not 1 <= self.num_usable_cores <= self.num_cores:
            raise ValueError(
                f"no machine lets {self.num_usable_cores} of its {self.num_cores} cores be used"
            )
        if self.memory_total_mib < 1:
            raise ValueError(f"no machine has {self.memory_total_mib} MiB of memory")

    @property
    def fast_cores(self) -> tuple[int, ...]:
        """The cores to compute on, fastest first; empty if the system does not say."""
        return fast_cores(self.clusters)

    def cores_for(self, threads: int) -> tuple[int, ...] | None:
        """Return the cores for so many threads; None where the system does not say which are."""
        cores = tuple(core for cluster in self.clusters for core in cluster.cores)
        return cores[:threads] or None

    def threads(self, wanted: int | None) -> int:
        """Return how many threads to compute with there: as many as wanted, or one per fast core.

        Raises:
            ValueError: ``wanted`` is below 1 or above the number of its cores.
        """
        if wanted is None:
            return len(self.fast_cores) or self.num_usable_cores
        if not 1 <= wanted <= self.num_cores:
            raise ValueError(
                f"threads must be from 1 to {self.num_cores}, the cores there, got {wanted}"
            )
        return wanted


def describe_host() -> Host:
    """Describe the machine this process runs on; the first time takes about a second."""
    cpu = _cpu()
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
        clusters=clusters_in(read_system_files(CORE_FILES)),
    )


@cache
def _cpu() -> dict[str, Any]:
    facts: dict[str, Any] = cpuinfo.get_cpu_info()
    return facts


def _versions() -> Iterator[tuple[str, str]]:
    for package in MEASURED_PACKAGES:
        try:
            yield package, metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
