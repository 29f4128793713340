"""What does ``profile`` say of exits and devices that it does not measure?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reefl_edge.cli import options, render

if TYPE_CHECKING:
    from reefl_edge.devices.links.base import Link
    from reefl_edge.profiling.prediction import Basis, Estimate
    from reefl_edge.profiling.report import Report
    from reefl_edge.tasks.models import Model
    from reefl_edge.tasks.profiling import ProfileRequest

_BASES: "dict[Basis, str]" = {
    "model": "its other rows",
    "device": "other models",
    "profile": "the profile",
}


def refuse_unless_estimated(
    device: str, reports: Sequence[Path] | None, memory_mib: int | None
) -> None:
    """Refuse options that say nothing where a device is measured."""
    from reefl_edge.devices.links.emulated import EMULATED_PREFIX

    if reports:
        options.refuse("--calibrate-from", "only a prediction (--estimate) goes by reports")
    if memory_mib is not None and not device.startswith(EMULATED_PREFIX):
        options.refuse(
            "--memory-mib", "a device that is measured says so itself: only for --estimate and emu:"
        )


def threads(wanted: str | None) -> int | None:
    """Read how many threads would compute; None for one per fast core."""
    if wanted is not None and not wanted.isdecimal():
        options.refuse("--threads", f"a prediction takes a number of threads, not {wanted}")
    return None if wanted is None else int(wanted)


def refuse_time_budgets(device: str, given: Mapping[str, float | None]) -> None:
    """Refuse to hold the time of an emulation, which is not the device's, against a budget."""
    from reefl_edge.devices.links.emulated import EMULATED_PREFIX

    for option, value in given.items():
        if value is not None and device.startswith(EMULATED_PREFIX):
            options.refuse(
                option,
                f"how long an emulation takes says nothing of the device: predict it with "
                f"--device {device.removeprefix(EMULATED_PREFIX)} --estimate",
            )


def refuse_emulated_times(link: "Link", given: Mapping[str, float | None]) -> None:
    """Refuse the same of a link that leads to an emulation, such as that of Android's SDK."""
    for option, value in given.items():
        if value is not None and not link.is_real_hardware:
            options.refuse(
                option,
                f"{link.name} is an emulation, and how long one takes says nothing of the device: "
                "limit memory (--budget-mib), or measure a device",
            )


def emulation(device: str, memory_mib: int | None) -> "Link | None":
    """Return the link to an emulated device of so much memory; None for any other device."""
    from reefl_edge.devices.links.emulated import EMULATED_PREFIX, EmulatedLink
    from reefl_edge.devices.profiles import load_profile

    if memory_mib is None or not device.startswith(EMULATED_PREFIX):
        return None
    return EmulatedLink(load_profile(device.removeprefix(EMULATED_PREFIX)), memory_mib=memory_mib)


def estimated(
    model: "Model",
    request: "ProfileRequest",
    *,
    device: str,
    memory_mib: int | None,
    reports: Sequence[Path],
) -> "Report":
    """Predict every exit on a device."""
    from reefl_edge.profiling.report import read_report
    from reefl_edge.tasks.estimating import assumptions_about, estimate_model

    given = [read_report(path) for path in reports]
    with options.usage_errors("--estimate"):
        report = estimate_model(model, request, device=device, memory_mib=memory_mib, reports=given)
    for assumption in assumptions_about(device, given):
        render.warn(assumption)
    return report


def show_predictions(report: "Report") -> None:
    """Show what was predicted, each figure with where it lies nine times out of ten."""
    rows = [
        (
            str(each.exit_index),
            f"{each.kind} ({each.runtime})",
            _figure(each.p50_ms),
            _figure(each.p90_ms),
            _figure(each.memory_mib),
            _BASES[each.basis],
        )
        for each in report.predictions
    ]
    first = report.predictions[0]
    title = (
        f"predicted, not measured: {report.context.model} on {report.context.device} "
        f"({first.precision}, {first.threads} threads); brackets hold 90%"
    )
    columns = ("exit", "what", "p50 ms", "p90 ms", "memory MiB", "from")
    render.out().print(render.table(title, columns, rows))
    memory_mib = report.context.host.memory_total_mib
    for each in report.predictions:
        if each.memory_mib.high > memory_mib:
            render.warn(
                f"exit {each.exit_index}, {each.kind}: may need {each.memory_mib.high:.0f} MiB, "
                f"but {report.context.device} has {memory_mib} MiB in all"
            )


def _figure(estimate: "Estimate") -> str:
    value, low, high = map(_short, (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


def _short(figure: float) -> str:
    """Write three digits, or more before the point.

    >>> [_short(figure) for figure in (0.01234, 12.34, 12345.6)]
    ['0.0123', '12.3', '12346']
    """
    return f"{figure:.3g}" if figure < 1000 else f"{figure:.0f}"
