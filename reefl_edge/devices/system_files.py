"""Where does a Linux, an Android among them, say what its cores, its heat and its battery are?

In small files under ``/proc`` and ``/sys``. They are read as text, one table from path to content,
and understood elsewhere (``cores.py``, ``state.py``): the table of another device can come over a
link, from a shell that prints the same files.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

# Content of each file that is there and can be read, without white space around it, by its path.
SystemFiles = Mapping[str, str]

# What does not change: which cores there are, and which of them a process may use.
CORE_FILES = (
    "/proc/self/status",
    "/sys/devices/system/cpu/cpu[0-9]*/cpu_capacity",
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq",
    "/sys/devices/system/cpu/cpu[0-9]*/topology/thread_siblings_list",
)
# What changes while the device is used.
STATE_FILES = (
    "/sys/class/thermal/thermal_zone*/type",
    "/sys/class/thermal/thermal_zone*/temp",
    "/sys/class/power_supply/*/type",
    "/sys/class/power_supply/*/status",
    "/sys/class/power_supply/*/capacity",
    "/sys/class/power_supply/*/online",
)


def read_system_files(patterns: Sequence[str], *, root: Path = Path("/")) -> SystemFiles:
    """Read the files of this machine that shell patterns name.

    Args:
        patterns: Absolute paths with the wildcards of a shell.
        root: What stands for the machine's ``/``.
    """
    content: dict[str, str] = {}
    for pattern in patterns:
        for path in sorted(root.glob(pattern.removeprefix("/"))):
            with suppress(OSError):  # some sensors cannot be read, or only by root
                content[f"/{path.relative_to(root)}"] = path.read_text(errors="replace").strip()
    return content
