"""What does a Linux, an Android among them, say of itself to whoever only has a shell there?

What stands in small files under ``/proc`` and ``/sys`` (``system_files.py``), and what a few
commands say: their words stand in the same table, under the command.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

from reefl_edge.devices.cores import clusters_in
from reefl_edge.devices.host import Host
from reefl_edge.devices.state import State, state_in
from reefl_edge.devices.system_files import CORE_FILES, STATE_FILES, SystemFiles

# What ``host_in`` reads.
HOST_FILES = (
    *CORE_FILES,
    "/proc/cpuinfo",
    "/proc/device-tree/model",
    "/proc/loadavg",
    "/proc/meminfo",
    "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
)
HOST_COMMANDS = ("uname -s", "uname -r", "uname -m", "nproc", "getprop")

# What ``device_state_in`` reads. Android shows nobody but itself the files of the battery.
DEVICE_STATE_FILES = STATE_FILES
DEVICE_STATE_COMMANDS = ("dumpsys battery",)


def host_in(files: SystemFiles) -> Host:
    """Find what a device says of itself.

    Raises:
        ValueError: It does not say what every Linux does.
    """
    properties = _properties(files.get("getprop", ""))
    usable = int(files["nproc"])
    load = files.get("/proc/loadavg", "").split()
    return Host(
        os=_os(files, properties),
        arch=files["uname -m"],
        cpu_name=_chip(files, properties),
        cpu_features=_features(files.get("/proc/cpuinfo", "")),
        num_cores=max(usable, _num_cores(files.get("/proc/cpuinfo", ""))),
        num_usable_cores=usable,
        memory_total_mib=_total_mib(files.get("/proc/meminfo", "")),
        governor=files.get("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or None,
        load_average=float(load[0]) if load else None,
        clusters=clusters_in(files),
    )


def device_state_in(files: SystemFiles) -> State:
    """Find how hot a device is, and what feeds it; of a battery, Android's word counts."""
    state, said = state_in(files), files.get("dumpsys battery", "")
    battery = dict(re.findall(r"^\s*([\w ]+): (\S+)$", said, re.M))
    if not battery.get("level", "").isdecimal():
        return state
    percent = 100 * int(battery["level"]) / int(battery.get("scale", "100"))
    tenths = battery.get("temperature", "")
    temperatures_c = dict(state.temperatures_c)
    if tenths.lstrip("-").isdecimal():
        temperatures_c["battery"] = int(tenths) / 10
    return replace(
        state,
        battery_percent=min(percent, 100.0),
        temperatures_c=temperatures_c,
        is_plugged_in=any(
            value == "true" for name, value in battery.items() if name.endswith(" powered")
        ),
    )


def model_in(files: SystemFiles) -> str:
    """Return what a device calls itself, as a buyer knows it; empty if it does not say."""
    properties = _properties(files.get("getprop", ""))
    return properties.get("ro.product.model") or files.get("/proc/device-tree/model", "").strip(
        "\0"
    )


def _properties(text: str) -> dict[str, str]:
    """Read what Android's ``getprop`` lists."""
    return dict(re.findall(r"^\[(.+?)\]: \[(.*)\]$", text, re.M))


def _os(files: SystemFiles, properties: Mapping[str, str]) -> str:
    kernel = f"{files['uname -s']} {files['uname -r']}"
    android = properties.get("ro.build.version.release")
    return f"Android {android} ({kernel})" if android else kernel


def _chip(files: SystemFiles, properties: Mapping[str, str]) -> str:
    """Return what the chip is called: by Android, by an x86 processor, or by its board."""
    maker, soc = (properties.get(f"ro.soc.{key}", "") for key in ("manufacturer", "model"))
    if soc:
        return f"{maker} {soc}".strip()
    named = re.search(r"^model name\s*:\s*(.+)$", files.get("/proc/cpuinfo", ""), re.M)
    return named[1] if named else model_in(files) or "unknown"


def _features(cpuinfo: str) -> tuple[str, ...]:
    """Return what all cores can do: Arm lists ``Features`` and x86 ``flags`` of each."""
    lists = re.findall(r"^(?:Features|flags)\s*:(.*)$", cpuinfo, re.M)
    features = [each.split() for each in lists]
    common = set(features[0]).intersection(*features) if features else set()
    return tuple(feature for feature in (features[0] if features else ()) if feature in common)


def _total_mib(meminfo: str) -> int:
    match = re.search(r"^MemTotal:\s*(\d+) kB$", meminfo, re.M)
    if match is None:
        raise ValueError("it does not say how much memory it has")
    return int(match[1]) // 1024


def _num_cores(cpuinfo: str) -> int:
    return len(re.findall(r"^processor\s*:", cpuinfo, re.M))
