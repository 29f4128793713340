"""Assignments that nobody measured."""

from reefl_edge.profiling.assignment import Assignment, DeviceAssignment
from reefl_edge.profiling.budget import Budget
from reefl_edge.profiling.needs import ExitNeeds, RoundTime
from reefl_edge.submodel import Submodel


def device_at(name: str, max_exit: int | None) -> DeviceAssignment:
    """Return a device that is assigned an exit, whose rounds take 16 s, 26 s and so on."""
    return DeviceAssignment(
        device=name,
        measured_at="2026-01-01T00:00:00Z",
        is_real_hardware=True,
        max_exit=max_exit,
        exits=tuple(
            ExitNeeds(
                exit_index=index,
                needs=(),
                round_time=RoundTime(
                    download_s=1.0, load_s=2.0, train_s=10.0 * (index + 1), upload_s=3.0
                ),
            )
            for index in range(6)
        ),
    )


def assignment_of(submodel: Submodel, *devices: DeviceAssignment) -> Assignment:
    """Return an assignment that was measured with a sub-model."""
    return Assignment(model="tiny", submodel=submodel, budget=Budget(), devices=devices)
