"""When is a device fit to be measured, and how long is that waited for?

Before each process: its battery is charged or being charged, it is not hot, and it has cooled down
to about what it was at first, so that each exit finds the same conditions. The first two are
conditions: what does not meet them in time is not measured. To cool down is worth a while, not
more: what a warm device then loses shows in its samples (``verdict.py``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import sleep

from reefl_edge.devices.links.base import Link
from reefl_edge.devices.state import State
from reefl_edge.errors import DeviceError

# Boards throttle from 80 degrees (Raspberry Pi documentation, "Frequency management and thermal
# control"), phones when what is held in the hand passes 40 or so.
_MAX_CHIP_C = 75.0
_MAX_HELD_C = 42.0
_HELD = ("battery", "skin")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a device must meet to be measured.

    Attributes:
        min_battery_percent: On battery it is measured only above this.
        warmer_c: It has cooled down when it is at most so much warmer than at first.
        wait_s: How long to wait for battery and heat, before it is given up.
        cool_down_s: How long to let it cool down, before it is measured as it is.
        poll_s: How often to look.
    """

    min_battery_percent: float = 30.0
    warmer_c: float = 5.0
    wait_s: float = 300.0
    cool_down_s: float = 60.0
    poll_s: float = 5.0


USUAL_LIMITS = Limits()


class Readiness:
    """Waits, before every process, until a device is fit to be measured.

    Args:
        link: The way to the device.
        limits: What it must meet.
        say: Called with what is waited for, whenever that is looked at.
        pause: Lets so many seconds pass.
    """

    def __init__(
        self,
        link: Link,
        limits: Limits = USUAL_LIMITS,
        *,
        say: Say = lambda _: None,
        pause: Callable[[float], None] = sleep,
    ) -> None:
        self._link, self._limits, self._say, self._pause = link, limits, say, pause
        self._at_first: dict[str, float] | None = None

    def wait(self) -> None:
        """Wait until the device is fit.

        Raises:
            DeviceError: It was not in time, or cannot be reached.
        """
        waited_s = 0.0
        while True:
            state = self._link.state()
            obstacle = self._obstacle(state)
            warmth = None if obstacle else self._warmth(state)
            if obstacle is None and (warmth is None or waited_s >= self._limits.cool_down_s):
                return
            if obstacle is not None and waited_s >= self._limits.wait_s:
                raise DeviceError(
                    f"{self._link.name} is not fit to be measured: {obstacle}; waited "
                    f"{waited_s:.0f} s"
                )
            self._say(f"waiting: {obstacle or warmth}")
            self._pause(self._limits.poll_s)
            waited_s += self._limits.poll_s

    def _obstacle(self, state: State) -> str | None:
        """Say what forbids to measure; None if nothing does."""
        charge, least = state.battery_percent, self._limits.min_battery_percent
        if charge is not None and charge <= least and state.is_plugged_in is not True:
            return f"its battery is at {charge:.0f}%, measured is above {least:.0f}%; plug it in"
        for sensor, degrees in state.temperatures_c.items():
            is_held = any(name in sensor.lower() for name in _HELD)
            limit = _MAX_HELD_C if is_held else _MAX_CHIP_C
            if degrees > limit:
                return f"its sensor {sensor} shows {degrees:.0f} C, measured is up to {limit:.0f} C"
        return None

    def _warmth(self, state: State) -> str | None:
        """Say what is warmer than at first; None if nothing is."""
        if self._at_first is None:
            self._at_first = dict(state.temperatures_c)
        for sensor, degrees in state.temperatures_c.items():
            goal = self._at_first.get(sensor, degrees) + self._limits.warmer_c
            if degrees > goal:
                return f"its sensor {sensor} cools down from {degrees:.0f} C to {goal:.0f} C"
        return None
