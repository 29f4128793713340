"""``reefl-edge devices``: what can be measured from here?"""

from typing import TYPE_CHECKING, Any

from reefl_edge.cli import options, render

if TYPE_CHECKING:
    from reefl_edge.devices.profiles import DeviceProfile


def devices(json: options.Json = False) -> None:
    """List this machine, which can be measured, and the device profiles.

    Example:  reefl-edge devices
    """
    from reefl_edge import schema
    from reefl_edge.devices.host import describe_host
    from reefl_edge.devices.profiles import list_profiles

    host, profiles = describe_host(), list_profiles()
    if json:
        document: dict[str, Any] = {
            "local": schema.to_dict(host),
            "profiles": [schema.to_dict(profile) for profile in profiles],
        }
        render.print_json(document)
        return
    rows = [
        (
            "local",
            "this machine",
            host.cpu_name,
            str(host.num_cores),
            _gib(host.memory_total_mib),
            "yes",
        ),
        *(_row(profile) for profile in profiles),
    ]
    columns = ("device", "what", "chip", "cores", "memory", "measured from here")
    render.out().print(render.table("devices", columns, rows))
    render.next_command(
        *("reefl-edge", "profile", "--device", "local"),
        *("--model", "deit_tiny", "-o", "report.json"),
    )


def _row(profile: "DeviceProfile") -> tuple[str, ...]:
    return (
        profile.name,
        profile.title,
        ", ".join((profile.soc, *profile.accelerators)),
        str(profile.num_cores),
        _gib(profile.memory_mib),
        f"no: {profile.link or 'no'} link to come",
    )


def _gib(memory_mib: float | None) -> str:
    return "several" if memory_mib is None else f"{memory_mib / 1024:.0f} GiB"
