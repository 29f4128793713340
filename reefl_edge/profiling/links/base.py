"""What must a link to a device do, and which ones are there?

A *link* runs a job on a device, in a process that does nothing else, and brings back what it found.
"""

from typing import Protocol

from reefl_edge.errors import DeviceError
from reefl_edge.profiling.device_profile import LOCAL_DEVICE, load_profile
from reefl_edge.profiling.host import Host
from reefl_edge.profiling.job import Job, Measurement


class DeviceLink(Protocol):
    """A way to a device."""

    @property
    def name(self) -> str:
        """The device's name, in reports and on the command line."""
        ...

    @property
    def is_real_hardware(self) -> bool:
        """Whether the device itself computes, not an emulation of it."""
        ...

    def is_available(self) -> bool:
        """Tell whether a job could be run now."""
        ...

    def describe_host(self) -> Host:
        """Describe the machine that runs the jobs."""
        ...

    def run(self, job: Job) -> Measurement:
        """Measure in a fresh process.

        Raises:
            MeasurementError: The process died; why, in one line.
            ReeflEdgeError: What the process itself reported, of the same kind.
        """
        ...


def link_for(device: str) -> DeviceLink:
    """Return the link to a device.

    Args:
        device: ``local``, or what ``load_profile`` takes.

    Raises:
        DeviceError: The device is known, but there is no link to it.
        InputError: ``device`` is a path to a profile that is missing or damaged.
        ValueError: No device has this name.
    """
    if device == LOCAL_DEVICE:
        from reefl_edge.profiling.links.local import LocalLink

        return LocalLink()
    profile = load_profile(device)
    raise DeviceError(
        f"{profile.name} ({profile.title}) cannot be reached from here; the only device that can "
        f"be measured is {LOCAL_DEVICE}, this machine"
    )
