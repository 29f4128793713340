"""``reefl-edge devices``: what can be measured from here, and what does it say of itself?"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from reefl_edge.cli import options, render
from reefl_edge.errors import DeviceError, MissingToolchainError

if TYPE_CHECKING:
    from reefl_edge.devices.host import Host
    from reefl_edge.devices.links.adb import AdbDevice
    from reefl_edge.devices.profiles import DeviceProfile
    from reefl_edge.devices.state import State

app = typer.Typer(
    name="devices",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Device = Annotated[
    str,
    typer.Argument(metavar="DEVICE", help="local, ssh:USER@HOST, adb:SERIAL or a device profile."),
]


@app.callback(invoke_without_command=True)
def devices(context: typer.Context, json: options.Json = False) -> None:
    """List this machine, what is connected by adb, and the device profiles.

    Example:  reefl-edge devices
    """
    if context.invoked_subcommand is not None:
        return
    from reefl_edge import schema
    from reefl_edge.devices.host import describe_host
    from reefl_edge.devices.profiles import list_profiles

    host, profiles = describe_host(), list_profiles()
    phones, note = _connected()
    if json:
        document: dict[str, Any] = {
            "local": schema.to_dict(host),
            "connected": [_phone_document(phone, profiles) for phone in phones],
            "note": note,
            "profiles": [schema.to_dict(profile) for profile in profiles],
        }
        render.print_json(document)
        return
    _show_connected(phones, profiles, note)
    rows = [
        (
            "local",
            "this machine",
            host.cpu_name,
            str(host.num_cores),
            _gib(host.memory_total_mib),
            "--device local",
        ),
        *(_row(profile, phones) for profile in profiles),
    ]
    columns = ("device", "what", "chip", "cores", "memory", "measured from here")
    render.out().print(render.table("devices", columns, rows))
    render.next_command(
        *("reefl-edge", "profile", "--device", "local"),
        *("--model", "deit_tiny", "-o", "report.json"),
    )


@app.command("show")
def show(device: Device, json: options.Json = False) -> None:
    """Show what a device says of itself, and what its profile says.

    Example:  reefl-edge devices show local
    """
    from reefl_edge import schema
    from reefl_edge.devices.links.opening import link_for
    from reefl_edge.devices.profiles import profile_named

    profile = profile_named(device)
    host, state, reason = None, None, None
    try:
        with options.usage_errors("DEVICE"):
            link = link_for(device)
        host, state = link.describe(), link.state()
    except (DeviceError, MissingToolchainError) as error:
        if profile is None:  # there is nothing else to show
            raise
        reason = str(error)
    if json:
        document: dict[str, Any] = {
            "device": device,
            "profile": profile and schema.to_dict(profile),
            "not_connected": reason,
            "host": host and schema.to_dict(host),
            "state": state and schema.to_dict(state),
        }
        render.print_json(document)
        return
    if profile is not None:
        _show_profile(profile)
    if host is not None and state is not None:
        _show_host(device, host, state)
    if reason is not None:
        render.warn(reason)


@app.command("clean")
def clean(device: Device) -> None:
    """Remove all that was ever put on a device.

    Example:  reefl-edge devices clean ssh:pi@raspberrypi
    """
    from reefl_edge.devices.links.opening import link_for

    with options.usage_errors("DEVICE"):
        link = link_for(device)
    link.clean()
    render.out().print(f"nothing that was sent is left on {link.name}")


def _connected() -> "tuple[tuple[AdbDevice, ...], str | None]":
    """Return what adb sees, or why it sees nothing."""
    from reefl_edge.devices.links.adb import connected

    try:
        return connected(), None
    except (DeviceError, MissingToolchainError) as error:
        return (), str(error)


def _phone_document(phone: "AdbDevice", profiles: "tuple[DeviceProfile, ...]") -> dict[str, Any]:
    return {
        "device": phone.name,
        "state": phone.state,
        "model": phone.model,
        "profiles": _matching(phone, profiles),
    }


def _matching(phone: "AdbDevice", profiles: "tuple[DeviceProfile, ...]") -> list[str]:
    return [profile.name for profile in profiles if phone.matches(profile)]


def _show_connected(
    phones: "tuple[AdbDevice, ...]", profiles: "tuple[DeviceProfile, ...]", note: str | None
) -> None:
    if phones:
        documents = [_phone_document(phone, profiles) for phone in phones]
        rows = [
            (
                each["device"],
                each["model"] or "?",
                each["state"],
                ", ".join(each["profiles"]) or "-",
            )
            for each in documents
        ]
        columns = ("device", "model", "state", "profile")
        render.out().print(render.table("connected by adb", columns, rows))
    else:
        render.out().print(note or "nothing is connected by adb")


def _row(profile: "DeviceProfile", phones: "tuple[AdbDevice, ...]") -> tuple[str, ...]:
    return (
        profile.name,
        profile.title,
        ", ".join((profile.soc, *profile.accelerators)),
        str(profile.num_cores),
        _gib(profile.memory_mib),
        _way(profile, phones),
    )


def _way(profile: "DeviceProfile", phones: "tuple[AdbDevice, ...]") -> str:
    """Say how a device of a profile is measured from here."""
    match profile.link:
        case "adb":
            is_there = any(phone.is_ready and phone.matches(profile) for phone in phones)
            return f"--device {profile.name}" if is_there else "not connected by adb"
        case "ssh":
            return "--device ssh:USER@HOST"
        case "local":
            return "on it: --device local"
        case None:
            return "no link"


def _show_profile(profile: "DeviceProfile") -> None:
    rows = [
        ("chip", ", ".join((profile.soc, *profile.accelerators))),
        *(
            ("cores", f"{cluster.num_cores} x {cluster.name}, {cluster.max_ghz:g} GHz")
            for cluster in profile.cpu_clusters
        ),
        ("memory", _gib(profile.memory_mib)),
        ("system", profile.os),
        ("extensions", ", ".join(profile.isa_features) or "-"),
        ("formats", ", ".join(profile.formats)),
    ]
    title = f"{profile.title}: what was looked up"
    render.out().print(render.table(title, ("fact", "value"), rows))


def _show_host(device: str, host: "Host", state: "State") -> None:
    rows = [
        ("system", f"{host.os}, {host.arch}"),
        ("chip", host.cpu_name),
        *(
            ("cores", f"{len(cluster.cores)}{_clock(cluster.max_mhz)}: {_listed(cluster.cores)}")
            for cluster in host.clusters
        ),
        ("usable cores", f"{host.num_usable_cores} of {host.num_cores}"),
        ("memory", _gib(host.memory_total_mib)),
        ("governor", host.governor or "-"),
        ("load", "-" if host.load_average is None else f"{host.load_average:g}"),
        *((f"heat: {sensor}", f"{heat:.0f} C") for sensor, heat in state.temperatures_c.items()),
    ]
    if state.battery_percent is not None:
        power = "plugged in" if state.is_plugged_in else "on battery"
        rows.append(("battery", f"{state.battery_percent:.0f}%, {power}"))
    render.out().print(render.table(f"{device}: what it says", ("fact", "value"), rows))


def _clock(max_mhz: float | None) -> str:
    return "" if max_mhz is None else f" at {max_mhz / 1000:.2f} GHz"


def _listed(cores: tuple[int, ...]) -> str:
    return ", ".join(map(str, cores))


def _gib(memory_mib: float | None) -> str:
    return "several" if memory_mib is None else f"{memory_mib / 1024:.0f} GiB"
