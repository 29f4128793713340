"""How hot is a device, and what feeds it?

What changes while it is used, beside ``Host``, which does not.
"""

import re
from collections import defaultdict
from dataclasses import dataclass, field

from reefl_edge.devices.system_files import SystemFiles

# No sensor of a device that works shows less or more: it is another unit, or none at all.
_COLDEST_C, _HOTTEST_C = -40, 150

_STATE_FILE = re.compile(r"/sys/class/(thermal|power_supply)/([^/]+)/(\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a device says of itself now; what it does not say is empty or None.

    Attributes:
        temperatures_c: By sensor, as the device calls it; a battery's is called ``battery``.
        battery_percent: Its charge.
        is_plugged_in: Whether power comes from outside.
    """

    temperatures_c: dict[str, float] = field(default_factory=dict)
    battery_percent: float | None = None
    is_plugged_in: bool | None = None

    def __post_init__(self) -> None:
        if self.battery_percent is not None and not 0 <= self.battery_percent <= 100:
            raise ValueError(f"no battery is charged to {self.battery_percent:g}%")


def state_in(files: SystemFiles) -> State:
    """Find the state in a device's ``STATE_FILES``."""
    zones: dict[str, dict[str, str]] = defaultdict(dict)
    supplies: dict[str, dict[str, str]] = defaultdict(dict)
    for path, content in files.items():
        if match := _STATE_FILE.fullmatch(path):
            (zones if match[1] == "thermal" else supplies)[match[2]][match[3]] = content
    batteries = [facts for facts in supplies.values() if facts.get("type") == "Battery"]
    others = [facts for facts in supplies.values() if facts.get("type") != "Battery"]
    return State(
        temperatures_c=_temperatures_c(zones),
        battery_percent=min(
            (float(facts["capacity"]) for facts in batteries if _is_percent(facts.get("capacity"))),
            default=None,
        ),
        is_plugged_in=_is_plugged_in(batteries, others),
    )


def _temperatures_c(zones: dict[str, dict[str, str]]) -> dict[str, float]:
    """Return what each kind of sensor shows, the hottest of its kind."""
    temperatures: dict[str, float] = {}
    for zone, facts in zones.items():
        if re.fullmatch(r"-?\d+", facts.get("temp", "")):
            kind, degrees = facts.get("type", zone), int(facts["temp"]) / 1000
            if _COLDEST_C < degrees < _HOTTEST_C:
                temperatures[kind] = max(degrees, temperatures.get(kind, degrees))
    return temperatures


def _is_percent(text: str | None) -> bool:
    return text is not None and text.isdecimal() and int(text) <= 100


def _is_plugged_in(batteries: list[dict[str, str]], others: list[dict[str, str]]) -> bool | None:
    """Tell whether power comes from outside: a supply is on, or a battery is being charged."""
    if not batteries:
        return None
    if any(facts.get("online") == "1" for facts in others):
        return True
    return any(facts.get("status") in ("Charging", "Full") for facts in batteries)
