"""To which exit does each client train?

As an assignment says, which was measured; or by the client's number, as in the paper's simulations.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, assert_never

from reefl_edge.errors import InputError
from reefl_edge.profiling.assignment import Assignment, DeviceAssignment
from reefl_edge.submodel import Submodel

# How clients get their depth where no assignment says so.
Tiers = Literal["round-robin", "maximum", "shallowest", "only-deepest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How deep a client goes.

    Attributes:
        max_exit: The exit that it trains to.
        device_s: How long its device takes for a round; None where nobody measured it.
    """

    max_exit: int
    device_s: float | None = None


class Depths(Protocol):
    """Says how deep each client goes."""

    def of(self, client: str, index: int) -> Depth | None:
        """Return a client's depth; None where it can train none.

        Args:
            client: Its name.
            index: Its number, from 0.

        Raises:
            InputError: Nothing is known of it.
        """
        ...


@dataclass(frozen=True, slots=True)
class TierDepths:
    """Depths by the client's number.

    Attributes:
        tiers: How.
        num_exits: Exits of the model.

    Source: royson/reefl 61b18c1, modes ``multi_tier`` and ``maximum``.
    """

    tiers: Tiers
    num_exits: int

    def of(self, client: str, index: int) -> Depth | None:  # noqa: ARG002
        """Return a client's depth; see ``Depths.of``."""
        match self.tiers:
            case "round-robin":
                return Depth(max_exit=index % self.num_exits)
            case "maximum":
                return Depth(max_exit=self.num_exits - 1)
            case "shallowest":
                return Depth(max_exit=0)
            case "only-deepest":  # what a federation loses that leaves weaker devices out
                deepest = self.num_exits - 1
                return Depth(max_exit=deepest) if index % self.num_exits == deepest else None
            case _:
                assert_never(self.tiers)


class AssignedDepths:
    """Depths as an assignment gives them, by the name of the device.

    Args:
        assignment: The assignment.
        submodel: The model, with all its exits.
        is_shared: Client i is like the device at place i of the assignment, from the start again
            at its end: many clients are simulated of few devices.

    Raises:
        InputError: The assignment names an exit that the model lacks, or is of another network.
    """

    def __init__(self, assignment: Assignment, submodel: Submodel, *, is_shared: bool) -> None:
        _check_fits(assignment, submodel)
        self._devices = assignment.devices
        self._by_name = {device.device: device for device in assignment.devices}
        self._is_shared = is_shared

    def of(self, client: str, index: int) -> Depth | None:
        """Return a client's depth; see ``Depths.of``."""
        if self._is_shared:
            return _depth(self._devices[index % len(self._devices)])
        if client not in self._by_name:
            raise InputError(
                f"the assignment does not name {client}, only {', '.join(self._by_name)}; "
                "profile it, and assign anew with 'reefl-edge assign'"
            )
        return _depth(self._by_name[client])


def missing_exits(depths: list[Depth], submodel: Submodel) -> range:
    """Return the exits that no client is deep enough for."""
    deepest = max((depth.max_exit for depth in depths), default=-1)
    return range(deepest + 1, submodel.num_exits)


def _depth(device: DeviceAssignment) -> Depth | None:
    if device.max_exit is None:
        return None
    needs = next(each for each in device.exits if each.exit_index == device.max_exit)
    time = needs.round_time
    return Depth(max_exit=device.max_exit, device_s=None if time is None else time.total_s)


def _check_fits(assignment: Assignment, submodel: Submodel) -> None:
    for device in assignment.devices:
        if device.max_exit is not None and device.max_exit >= submodel.num_exits:
            raise InputError(
                f"the assignment gives {device.device} exit {device.max_exit}, but the model has "
                f"exits 0 to {submodel.num_exits - 1}; assign anew with reports of this model"
            )
    measured = assignment.submodel
    if (measured.architecture, measured.schedule) != (submodel.architecture, submodel.schedule):
        raise InputError(
            f"the assignment was measured with another network ({assignment.model}) than the "
            "federation's; assign anew with reports of this model"
        )
