"""Which link leads to a device?"""

from typing import assert_never

from reefl_edge.devices.links import adb, ssh
from reefl_edge.devices.links.agents import AgentFor, built_agent
from reefl_edge.devices.links.base import Link
from reefl_edge.devices.links.emulated import EMULATED_PREFIX, EmulatedLink
from reefl_edge.devices.links.local import LocalLink
from reefl_edge.devices.profiles import LOCAL_DEVICE, load_profile
from reefl_edge.errors import DeviceError


def link_for(device: str, *, agent_for: AgentFor = built_agent) -> Link:
    """Return the link to a device.

    Args:
        device: ``local``; ``ssh:[user@]host[:port]``; ``adb:SERIAL``; what ``load_profile`` takes,
            for the device of that profile that is connected; or that after ``emu:``, for this
            machine held to the device's cores and memory.
        agent_for: Gives what obeys jobs there.

    Raises:
        DeviceError: The device is known, but not connected, or there is no link to it, or this
            system holds no process to its limits.
        InputError: ``device`` is a path to a profile that is missing or damaged.
        MissingToolchainError: The link's client is not installed.
        ValueError: No device has this name.
    """
    if device == LOCAL_DEVICE:
        return LocalLink()
    if device.startswith(EMULATED_PREFIX):
        return EmulatedLink(load_profile(device.removeprefix(EMULATED_PREFIX)))
    if device.startswith(ssh.PREFIX):
        return ssh.ssh_link(device.removeprefix(ssh.PREFIX), agent_for=agent_for)
    if device.startswith(adb.PREFIX):
        return adb.adb_link(device.removeprefix(adb.PREFIX), agent_for=agent_for)
    profile = load_profile(device)
    match profile.link:
        case "adb":
            return adb.profiled_link(profile, agent_for=agent_for)
        case "ssh":
            raise DeviceError(
                f"{profile.title} is reached by ssh: say where it is, --device ssh:USER@HOST"
            )
        case "local":
            raise DeviceError(
                f"{profile.title} is measured where it stands: --device {LOCAL_DEVICE}, on it"
            )
        case None:
            raise DeviceError(f"there is no link to {profile.title}")
        case _:
            assert_never(profile.link)
