"""Which link leads to a device?"""

from reefl_edge.devices.links.base import Link
from reefl_edge.devices.profiles import LOCAL_DEVICE, load_profile
from reefl_edge.errors import DeviceError


def link_for(device: str) -> Link:
    """Return the link to a device.

    Args:
        device: ``local``, or what ``load_profile`` takes.

    Raises:
        DeviceError: The device is known, but there is no link to it.
        InputError: ``device`` is a path to a profile that is missing or damaged.
        ValueError: No device has this name.
    """
    if device == LOCAL_DEVICE:
        from reefl_edge.devices.links.local import LocalLink

        return LocalLink()
    profile = load_profile(device)
    raise DeviceError(
        f"{profile.name} ({profile.title}) cannot be reached from here; the only device that can "
        f"be measured is {LOCAL_DEVICE}, this machine"
    )
