"""How is a process, and all that it starts, held to so much memory?

By a control group of the Linux kernel, version 2 or 1, made below the group that this process is in
and removed afterwards; more than the limit, and the kernel kills the process. A limit on addresses
(``RLIMIT_AS``) is no substitute: it counts what is reserved, not what is used.
Sources: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst (Linux).
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from reefl_edge.errors import DeviceError

_PREFIX = "reefl-edge-"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    """Where a version of the kernel's interface keeps what is needed here.

    Attributes:
        filesystem: The type of its mount.
        line: What the line of /proc/self/cgroup begins with that names this process's group.
        limit: The file with the limit, in bytes.
        limit_with_swap: The file that keeps memory from moving to a swap, and what to write to it:
            nothing for the limit itself.
        kills: The file that counts processes killed for memory.
    """

    filesystem: str
    line: re.Pattern[str]
    limit: str
    limit_with_swap: tuple[str, str]
    kills: str


_VERSIONS = (
    _Version(
        filesystem="cgroup2",
        line=re.compile(r"^0::(/.*)$", re.M),
        limit="memory.max",
        limit_with_swap=("memory.swap.max", "0"),
        kills="memory.events",
    ),
    _Version(
        filesystem="cgroup",
        line=re.compile(r"^\d+:(?:[\w=]+,)*memory(?:,[\w=]+)*:(/.*)$", re.M),
        limit="memory.limit_in_bytes",
        limit_with_swap=("memory.memsw.limit_in_bytes", ""),
        kills="memory.oom_control",
    ),
)


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """A control group with a limit.

    Attributes:
        path: Its folder. A process enters by writing its number to ``cgroup.procs``.
    """

    path: Path
    _version: _Version

    @property
    def procs(self) -> Path:
        """The file through which a process enters."""
        return self.path / "cgroup.procs"

    def has_killed(self) -> bool:
        """Tell whether a process in it was killed for memory."""
        counted = re.search(
            r"^oom_kill (\d+)$", (self.path / self._version.kills).read_text(), re.M
        )
        return counted is not None and int(counted[1]) > 0


@contextmanager
def memory_group(limit_bytes: int) -> Iterator[MemoryGroup]:
    """Make a group with a limit, while the block runs; what runs in it must have ended by then.

    Raises:
        DeviceError: This system has no such groups, or lets us make none.
    """
    group = _made(limit_bytes)
    try:
        yield group
    finally:
        with suppress(OSError):  # left behind only if something still runs in it
            group.path.rmdir()


def _made(limit_bytes: int) -> MemoryGroup:
    """Make a group at the nearest place that allows it: below our own, or below one above that."""
    refusals = []
    for version, place in _places():
        try:
            path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        except OSError as error:
            refusals.append(f"{place}: {str(error.strerror).lower()}")
            continue
        try:
            _limit(path, version, limit_bytes)
        except OSError as error:
            path.rmdir()
            refusals.append(f"{place}: {str(error.strerror).lower()}")
            continue
        return MemoryGroup(path, version)
    why = refusals[0] if refusals else "no control groups for memory"
    raise DeviceError(
        f"cannot hold a process to another device's memory here ({why}); it takes Linux, and root "
        "or a control group delegated to you"
    )


def _places() -> Iterator[tuple[_Version, Path]]:
    """Yield where a group might be made: our own group and those above it, version 2 first."""
    with suppress(OSError):  # no Linux
        mounts = Path("/proc/self/mounts").read_text()
        own = Path("/proc/self/cgroup").read_text()
        for version in _VERSIONS:
            mount = _mount_of(version, mounts)
            group = version.line.search(own)
            if mount is not None and group is not None:
                place = mount / group[1].lstrip("/")
                while place != mount.parent:
                    yield version, place
                    place = place.parent


def _mount_of(version: _Version, mounts: str) -> Path | None:
    for line in mounts.splitlines():
        _, point, filesystem, options, *_ = line.split()
        if filesystem == version.filesystem == "cgroup2":
            return Path(point)
        if filesystem == version.filesystem and "memory" in options.split(","):
            return Path(point)
    return None


def _limit(path: Path, version: _Version, limit_bytes: int) -> None:
    """Set the limit; ``OSError`` where the group has none, or it may not be set."""
    # Not created: in a group without the controller for memory there is no such file.
    with (path / version.limit).open("r+") as limit:
        limit.write(str(limit_bytes))
    name, value = version.limit_with_swap
    with suppress(OSError), (path / name).open("r+") as swap:  # a kernel may not count swap
        swap.write(value or str(limit_bytes))
