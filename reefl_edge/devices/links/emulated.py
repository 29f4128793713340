"""Does something fit into a device that nobody has at hand?

This machine, held to the cores and the memory of a device profile: a process that needs more memory
is killed, as it would be there. How long anything takes says nothing of the device.
"""

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from reefl_edge.devices.host import Host
from reefl_edge.devices.links.base import Finished
from reefl_edge.devices.links.local import LocalLink
from reefl_edge.devices.links.memory_group import memory_group
from reefl_edge.devices.links.streams import OnLine
from reefl_edge.devices.profiles import DeviceProfile
from reefl_edge.devices.state import State
from reefl_edge.errors import DeviceError, MeasurementError

EMULATED_PREFIX = "emu:"

# Enters a group and keeps to some cores before it becomes the program, so that all of the program's
# memory counts: the group's file, cores, and the program with its arguments.
_ENTER = """
import os, sys
with open(sys.argv[1], "w") as procs:
    procs.write(str(os.getpid()))
os.sched_setaffinity(0, {int(core) for core in sys.argv[2].split(",")})
os.execvp(sys.argv[3], sys.argv[3:])
"""


class EmulatedLink:
    """This machine, held to another one's limits.

    Args:
        profile: The device.
        memory_mib: Its memory, where the profile does not say.

    Raises:
        DeviceError: The profile does not say, and neither does ``memory_mib``; or this system holds
            no process to a limit.
    """

    is_real_hardware = False
    has_agent = False
    python = LocalLink.python

    def __init__(self, profile: DeviceProfile, *, memory_mib: int | None = None) -> None:
        limit_mib = memory_mib or profile.memory_mib
        if limit_mib is None:
            raise DeviceError(
                f"{profile.title} is sold with several sizes of memory, or nobody could look it "
                "up: 'reefl-edge profile' takes it as --memory-mib"
            )
        self.name = f"{EMULATED_PREFIX}{profile.name}"
        self._memory_mib = limit_mib
        self._local = LocalLink()
        with memory_group(self._limit_bytes):  # refuses where nothing can be held to it
            self._cores = sorted(os.sched_getaffinity(0))[: profile.num_cores]

    @property
    def _limit_bytes(self) -> int:
        return self._memory_mib * 2**20

    def describe(self) -> Host:
        """Describe this machine, with the cores and the memory that it is held to."""
        host = self._local.describe()
        return replace(
            host,
            num_cores=len(self._cores),
            num_usable_cores=len(self._cores),
            memory_total_mib=min(self._memory_mib, host.memory_total_mib),
            clusters=(),
        )

    def state(self) -> State:
        """Tell how hot this machine is; see ``Link.state``."""
        return self._local.state()

    def held(self) -> AbstractContextManager[None]:
        """Do nothing: as for this machine."""
        return self._local.held()

    def push(
        self,
        path: Path,
        *,
        sha256: str,
        into: str | None = None,
        before_sending: Callable[[], None] = lambda: None,
    ) -> str:
        """Return where it lies: it is there already."""
        return self._local.push(path, sha256=sha256, into=into, before_sending=before_sending)

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout_s: float | None = None,
        silence_s: float | None = None,
        on_line: OnLine = lambda _: None,
    ) -> Finished:
        """Run a process within the limits; see ``Link.run``.

        Raises:
            DeviceError: There is no such program, or no process can be held to the limits.
            MeasurementError: It needed more memory than the device has, and was killed.
            TimeoutError: It took longer, and was killed.
        """
        if shutil.which(argv[0]) is None:  # the program that enters the group would be found
            raise DeviceError(f"cannot start {argv[0]}: no such program")
        with memory_group(self._limit_bytes) as group:
            cores = ",".join(map(str, self._cores))
            entering = (sys.executable, "-I", "-S", "-c", _ENTER, os.fspath(group.procs), cores)
            finished = self._local.run(
                [*entering, *argv],
                stdin=stdin,
                timeout_s=timeout_s,
                silence_s=silence_s,
                on_line=on_line,
            )
            if finished.exit_code != 0 and group.has_killed():
                raise MeasurementError(
                    f"it does not fit: the process was killed, since it needs more than the "
                    f"{self._memory_mib} MiB of {self.name}"
                )
        return finished

    def scratch(self) -> AbstractContextManager[str]:
        """Make a folder; see ``Link.scratch``."""
        return self._local.scratch()

    def pull(self, there: str, here: Path) -> None:
        """Copy a file; see ``Link.pull``."""
        self._local.pull(there, here)

    def clean(self) -> None:
        """Do nothing: nothing was put here."""
