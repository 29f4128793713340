"""Which link leads to a device?"""

from reefl_edge.devices.links.base import Link
from reefl_edge.devices.links.emulated import EMULATED_PREFIX, EmulatedLink
from reefl_edge.devices.profiles import LOCAL_DEVICE, load_profile
from reefl_edge.errors import DeviceError


def link_for(device: str) -> Link:
    """Return the link to a device.

    Args:
        device: ``local``, what ``load_profile`` takes, or that after ``emu:`` for this machine held
            to the device's cores and memory.

    Raises:
        DeviceError: The device is known, but there is no link to it, or this system holds no
            process to its limits.
        InputError: ``device`` is a path to a profile that is missing or damaged.
        ValueError: No device has this name.
    """
    if device == LOCAL_DEVICE:
        from reefl_edge.devices.links.local import LocalLink

        return LocalLink()
    if device.startswith(EMULATED_PREFIX):
        return EmulatedLink(load_profile(device.removeprefix(EMULATED_PREFIX)))
    profile = load_profile(device)
    raise DeviceError(
        f"{profile.name} ({profile.title}) cannot be reached from here; the only device that can "
        f"be measured is {LOCAL_DEVICE}, this machine"
    )
