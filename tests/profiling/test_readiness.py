"""What is waited for before a device is measured, and for how long."""

import pytest

from reefl_edge.devices.state import State
from reefl_edge.errors import DeviceError
from reefl_edge.profiling.readiness import Limits, Readiness
from tests.fakes.devices import FakeLink


def waiting(*states: State) -> tuple[Readiness, list[str]]:
    """Return what waits for a device that shows these states, and what it will say."""
    link, said = FakeLink(lambda _: pytest.fail("nothing to run")), list[str]()
    link.states = list(states)
    limits = Limits(wait_s=30, cool_down_s=20, poll_s=10)
    return Readiness(link, limits, say=said.append, pause=lambda _: None), said


def test_a_machine_that_says_nothing_is_fit() -> None:
    readiness, said = waiting(State())

    readiness.wait()

    assert said == []


@pytest.mark.parametrize(
    "state",
    [
        State(battery_percent=31, is_plugged_in=False),
        State(battery_percent=5, is_plugged_in=True),
        State(temperatures_c={"cpu-thermal": 60.0, "battery": 35.0}),
    ],
)
def test_a_charged_or_charging_cool_device_is_fit(state: State) -> None:
    readiness, said = waiting(state)

    readiness.wait()

    assert said == []


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (
            State(battery_percent=30, is_plugged_in=False),
            "its battery is at 30%, measured is above 30%; plug it in",
        ),
        (
            State(temperatures_c={"cpu-thermal": 83.4}),
            "its sensor cpu-thermal shows 83 C, measured is up to 75 C",
        ),
        (
            State(temperatures_c={"battery": 44.0}),
            "its sensor battery shows 44 C, measured is up to 42 C",
        ),
    ],
)
def test_a_device_that_stays_unfit_is_given_up_with_the_reason(state: State, reason: str) -> None:
    readiness, said = waiting(state)

    with pytest.raises(DeviceError) as caught:
        readiness.wait()

    assert str(caught.value) == f"fake is not fit to be measured: {reason}; waited 30 s"
    assert said == [f"waiting: {reason}"] * 3


def test_a_battery_is_waited_for_until_it_is_plugged_in() -> None:
    readiness, said = waiting(
        State(battery_percent=20, is_plugged_in=False),
        State(battery_percent=20, is_plugged_in=True),
    )

    readiness.wait()

    assert len(said) == 1


def test_a_device_cools_down_to_what_it_was_at_first() -> None:
    warm, cool = State(temperatures_c={"soc": 55.0}), State(temperatures_c={"soc": 45.0})
    readiness, said = waiting(State(temperatures_c={"soc": 41.0}), warm, cool)

    readiness.wait()
    readiness.wait()

    assert said == ["waiting: its sensor soc cools down from 55 C to 46 C"]


def test_a_device_that_does_not_cool_down_is_measured_as_it_is() -> None:
    readiness, said = waiting(
        State(temperatures_c={"soc": 41.0}), State(temperatures_c={"soc": 55.0})
    )

    readiness.wait()
    readiness.wait()

    assert len(said) == 2
