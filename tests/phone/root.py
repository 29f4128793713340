"""What lies on a phone that has just been unpacked: a shell, toybox, and files that say what it is.

As on a Pixel 7: there is no ``/bin``, ``/etc``, ``/lib``, ``/tmp`` or ``/usr``.
"""

import re
import shutil
import subprocess
from pathlib import Path

# Debian's, static; Android's shell is the same program.
MKSH = Path("/usr/lib/klibc/bin/mksh")
TOYBOX = Path("/usr/bin/toybox")

# Source: a Pixel 7's own properties, as its public build fingerprints list them.
_PROPERTIES = {
    "ro.product.manufacturer": "Google",
    "ro.product.model": "Pixel 7",
    "ro.product.device": "panther",
    "ro.build.version.release": "14",
    "ro.build.version.sdk": "34",
    "ro.soc.manufacturer": "Google",
    "ro.soc.model": "GS201",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.product.cpu.abilist64": "arm64-v8a",
}
_BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Max charging current: 500000
  status: 2
  health: 2
  present: true
  level: 87
  scale: 100
  voltage: 4251
  temperature: 284
  technology: Li-ion
"""
# Cores, highest clock in kHz, speed beside 1024.
_CLUSTERS = ((range(4), 1803000, 250), (range(4, 6), 2348000, 620), (range(6, 8), 2850000, 1024))
_ZONES = {"BIG": 41000, "LITTLE": 38000, "quiet_therm": 31500}


def make_root(root: Path) -> None:
    """Fill an empty folder."""
    for name in ("proc", "dev", "system/bin", "system/lib64", "data/local/tmp"):
        (root / name).mkdir(parents=True)
    root.chmod(0o755)
    tools = root / "system" / "bin"
    shutil.copy(MKSH, tools / "sh")
    _copy_toybox(root)
    properties = "\n".join(f"  {name}) echo {value!r} ;;" for name, value in _PROPERTIES.items())
    everything = "\n".join(f"[{name}]: [{value}]" for name, value in _PROPERTIES.items())
    _write_tool(
        tools / "getprop",
        f"case $1 in\n'') cat <<'END'\n{everything}\nEND\n;;\n{properties}\n*) echo ;;\nesac",
    )
    _write_tool(tools / "dumpsys", f"[ \"$1\" = battery ] && cat <<'END'\n{_BATTERY}END")
    for cores, khz, capacity in _CLUSTERS:
        for core in cores:
            cpu = root / f"sys/devices/system/cpu/cpu{core}"
            _write(cpu / "cpu_capacity", capacity)
            _write(cpu / "cpufreq" / "cpuinfo_max_freq", khz)
            _write(cpu / "cpufreq" / "scaling_governor", "sched_pixel")
    for number, (zone, degrees) in enumerate(_ZONES.items()):
        _write(root / f"sys/class/thermal/thermal_zone{number}/type", zone)
        _write(root / f"sys/class/thermal/thermal_zone{number}/temp", degrees)


def _copy_toybox(root: Path) -> None:
    """Let every tool of toybox run without a loader or libraries in the system's places."""
    libraries = root / "system" / "lib64"
    needed = subprocess.run(["ldd", TOYBOX], capture_output=True, text=True, check=True).stdout
    for path in re.findall(r"(/\S+)", needed):
        shutil.copy(path, libraries)
    shutil.copy(TOYBOX, libraries / "toybox")
    start = "exec /system/lib64/ld-linux-x86-64.so.2 --library-path /system/lib64"
    listed = subprocess.run([TOYBOX], capture_output=True, text=True, check=True).stdout
    for tool in listed.split():
        if tool.isalnum():
            _write_tool(root / "system" / "bin" / tool, f'{start} /system/lib64/toybox {tool} "$@"')


def _write_tool(path: Path, script: str) -> None:
    path.write_text(f"#!/system/bin/sh\n{script}\n")
    path.chmod(0o755)


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{content}\n")
