"""How does a user say which device does it, and whose Python runs there?"""

from typing import TYPE_CHECKING, Annotated

import typer

from reefl_edge.cli import options

if TYPE_CHECKING:
    from reefl_edge.devices.links.base import Link

DevicePython = Annotated[
    bool,
    typer.Option(
        "--device-python",
        help="Run on the device's own Python, 3.11 or newer; else one is sent.",
    ),
]


def check_device_python(device: str, *, is_wanted: bool, is_estimate: bool = False) -> None:
    """Refuse to choose a Python where no agent runs.

    Raises:
        BadParameter: It is wanted, and this machine computes, or nobody.
    """
    from reefl_edge.devices.links.emulated import EMULATED_PREFIX
    from reefl_edge.devices.profiles import LOCAL_DEVICE

    if is_wanted and is_estimate:
        options.refuse("--device-python", "--estimate runs nothing there")
    if is_wanted and (device == LOCAL_DEVICE or device.startswith(EMULATED_PREFIX)):
        options.refuse("--device-python", f"for ssh: and adb:; the Python here runs {device}")


def link_to(device: str, *, device_python: bool) -> "Link":
    """Return the link to a device, on whose own Python the agent runs if that is wanted.

    Raises:
        BadParameter: No device has this name.
        DeviceError: It is not connected, or cannot be talked to.
    """
    from reefl_edge.devices.links.agents import device_python_agent
    from reefl_edge.devices.links.opening import link_for

    with options.usage_errors("--device"):
        if device_python:
            return link_for(device, agent_for=device_python_agent)
        return link_for(device)
