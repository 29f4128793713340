"""State: heat and power, from what Linux says of them."""

import pytest

from reefl_edge.devices.state import State, state_in

THERMAL, SUPPLY = "/sys/class/thermal", "/sys/class/power_supply"


def zone(number: int, kind: str, milli_degrees: str) -> dict[str, str]:
    return {
        f"{THERMAL}/thermal_zone{number}/type": kind,
        f"{THERMAL}/thermal_zone{number}/temp": milli_degrees,
    }


def battery(status: str, capacity: str = "54") -> dict[str, str]:
    return {
        f"{SUPPLY}/BAT0/type": "Battery",
        f"{SUPPLY}/BAT0/status": status,
        f"{SUPPLY}/BAT0/capacity": capacity,
    }


def test_each_kind_of_sensor_shows_its_hottest() -> None:
    files = zone(0, "cpu-thermal", "48300") | zone(1, "cpu-thermal", "51000") | zone(2, "pmic", "0")

    assert state_in(files).temperatures_c == {"cpu-thermal": 51.0, "pmic": 0.0}


@pytest.mark.parametrize("reading", ["-274000", "2147483647", "", "n/a"])
def test_a_reading_that_is_no_temperature_is_left_out(reading: str) -> None:
    assert state_in(zone(0, "modem", reading)).temperatures_c == {}


def test_a_battery_that_drains_is_not_plugged_in() -> None:
    state = state_in(battery("Discharging"))

    assert (state.battery_percent, state.is_plugged_in) == (54, False)


@pytest.mark.parametrize("status", ["Charging", "Full"])
def test_a_battery_that_is_charged_is_plugged_in(status: str) -> None:
    assert state_in(battery(status)).is_plugged_in is True


def test_a_battery_that_is_spared_is_plugged_in_where_a_supply_is_on() -> None:
    supply = {f"{SUPPLY}/AC/type": "Mains", f"{SUPPLY}/AC/online": "1"}

    assert state_in(battery("Not charging") | supply).is_plugged_in is True


def test_a_machine_without_a_battery_says_nothing_of_it() -> None:
    assert state_in({}) == State()


def test_a_charge_is_a_percentage() -> None:
    assert state_in(battery("Discharging", capacity="999")).battery_percent is None
    with pytest.raises(ValueError, match="no battery is charged to 130%"):
        State(battery_percent=130)
