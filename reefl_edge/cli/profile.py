"""``reefl-edge profile``: what does each exit cost on a device, and how deep may it go?"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reefl_edge.cli import budgets, estimating, linking, models, options, render
from reefl_edge.errors import DeviceError, ReeflEdgeError
from reefl_edge.regimes import REGIMES

if TYPE_CHECKING:
    from reefl_edge.devices.links.base import Link
    from reefl_edge.profiling.report import Report
    from reefl_edge.tasks.profiling import ProfileRequest, Threads


def profile(
    device: Annotated[
        str,
        typer.Option(
            "--device",
            help="local, ssh:USER@HOST, adb:SERIAL, the name of a device profile, or emu: before "
            "that for an emulation.",
        ),
    ] = "local",
    model: Annotated[
        str,
        typer.Option("--model", help="MODEL, as export and finetune take it."),
    ] = "deit_small",
    runtime: Annotated[
        str, typer.Option("--runtime", help="What runs inference: onnx, executorch or eager.")
    ] = "onnx",
    precision: Annotated[
        str,
        typer.Option("--precision", help="Of inference, as export makes it; eager: fp32 only."),
    ] = "fp32",
    budget_ms: budgets.InferenceMs = None,
    budget_step_ms: budgets.StepMs = None,
    budget_mib: budgets.MemoryMib = None,
    regime: Annotated[
        str,
        typer.Option(
            "--regime", help=f"What the training step trains: {', '.join(REGIMES)}, or none."
        ),
    ] = "frozen",
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            min=1,
            max=options.MAX_BATCH_SIZE,
            help="Images of a training step.  [default: what it was compiled for, 8 where it is "
            "compiled now; eager: 32]",
        ),
    ] = None,
    step_runtime: Annotated[
        str | None,
        typer.Option(
            "--step-runtime",
            help="What takes the training step: onnx, executorch or eager. Of a bundle, its "
            "compiled step, which is of one depth; else one is compiled for each exit, in seconds "
            "for onnx, in minutes for executorch.  [default: what the bundle has a step for, else "
            "eager; on a device onnx]",
        ),
    ] = None,
    max_exit: options.MaxExit = None,
    num_classes: options.NumClasses = None,
    num_exits: options.NumExits = None,
    exit_blocks: options.ExitBlocks = None,
    image_size: options.ImageSize = None,
    threads: Annotated[
        str | None,
        typer.Option(
            "--threads",
            help="Threads to compute with, or auto: as many as are fastest there."
            "  [default: one per fast core there]",
        ),
    ] = None,
    passes: Annotated[
        int,
        typer.Option(
            "--passes", min=1, max=100, help="How often to measure each exit, in fresh processes."
        ),
    ] = 3,
    accept_noisy: budgets.AcceptNoisy = False,
    device_python: linking.DevicePython = False,
    estimate: Annotated[
        bool,
        typer.Option("--estimate", help="Predict from facts of the device; measure nothing."),
    ] = False,
    calibrate_from: Annotated[
        list[Path] | None,
        typer.Option(
            "--calibrate-from",
            help="With --estimate: a report to go by, beside what comes along. Repeatable.",
        ),
    ] = None,
    memory_mib: Annotated[
        int | None,
        typer.Option(
            "--memory-mib",
            min=1,
            help="Memory of a device whose profile does not say, for --estimate and emu:.",
        ),
    ] = None,
    seed: options.Seed = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the report goes, as JSON.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Measure every exit, and pick the deepest one inside a budget.

    Example:  reefl-edge profile --device local --model deit_tiny --budget-ms 20 -o report.json
    """
    from reefl_edge.profiling.choose import choose_exit
    from reefl_edge.profiling.report import write_report
    from reefl_edge.tasks.profiling import profile_model

    options.check_output(output, model)
    request = _request(
        runtime, precision, regime, step_runtime, batch_size=batch_size, passes=passes
    )
    if request.regime is None:
        _refuse_step_options(
            {
                "--budget-step-ms": budget_step_ms,
                "--batch-size": batch_size,
                "--step-runtime": step_runtime,
            }
        )
    linking.check_device_python(device, is_wanted=device_python, is_estimate=estimate)
    budget = budgets.budget_of(budget_ms, budget_step_ms, budget_mib)
    if not estimate:
        times = {"--budget-ms": budget_ms, "--budget-step-ms": budget_step_ms}
        estimating.refuse_unless_estimated(device, calibrate_from, memory_mib)
        estimating.refuse_time_budgets(device, times)
        with options.usage_errors("--device"):
            emulated = estimating.emulation(device, memory_mib)
        link = emulated or _link(device, device_python=device_python)
        estimating.refuse_emulated_times(link, times)
    description = options.model_description(
        num_classes=num_classes,
        num_exits=num_exits,
        exit_blocks=exit_blocks,
        image_size=image_size,
    )
    if estimate:
        request = replace(request, threads=estimating.threads(threads))
    else:
        with options.usage_errors("--device"):
            request = request.on(link)
        request = replace(request, threads=_threads(link, threads))
    source = models.cut(models.opened(model, description, seed=seed), max_exit)
    if request.regime is not None:
        models.check_regime(request.regime, source)
    if estimate:
        report = estimating.estimated(
            source,
            request,
            device=device,
            memory_mib=memory_mib,
            reports=calibrate_from or (),
        )
    else:
        with options.usage_errors("--batch-size"):
            request.step(source)
        with options.usage_errors("--precision"):
            request.check(source)
        with render.progress_bar("profile") as bar:
            report = profile_model(
                source, request, device=link, on_stage=bar.say, on_process=bar.step
            )
    if output is not None:  # also when no exit meets the budget: the samples are worth keeping
        write_report(report, output)
    if budget is not None:
        try:
            choice = choose_exit(report, budget, accept_noisy=accept_noisy)
        except ReeflEdgeError:  # no choice, but what was measured is worth seeing
            _show(report, output, json=json)
            raise
        report = replace(report, choice=choice)
        if output is not None:
            write_report(report, output)
    _show(report, output, json=json)
    _suggest(
        report,
        output,
        request,
        models.said_again(model, description, source),
        where=_where(device, device_python=device_python, threads=threads),
    )


def _link(device: str, *, device_python: bool) -> "Link":
    """Return the link to a device; where a profile's is not there, offer a prediction.

    Raises:
        DeviceError: It is not connected, or cannot be talked to.
        BadParameter: No device has this name.
    """
    from reefl_edge.devices.profiles import profile_named

    try:
        return linking.link_to(device, device_python=device_python)
    except DeviceError as error:
        if profile_named(device) is None:
            raise
        raise DeviceError(f"{error}; --estimate predicts from its profile") from error


def _request(
    runtime: str,
    precision: str,
    regime: str,
    step_runtime: str | None,
    *,
    batch_size: int | None,
    passes: int,
) -> "ProfileRequest":
    from reefl_edge.bundles.artifacts import PRECISIONS
    from reefl_edge.finetune.compiled import STEPPERS
    from reefl_edge.runtimes.base import RUNTIMES
    from reefl_edge.tasks.profiling import ProfileRequest

    parsed = options.parse_option(runtime, RUNTIMES, "--runtime", kind="runtime")
    trained = None
    if regime != "none":
        trained = options.parse_option(regime, REGIMES, "--regime", kind="regime")
    wanted = options.parse_option(precision, PRECISIONS, "--precision", kind="precision")
    stepper = options.parse_optional(step_runtime, STEPPERS, "--step-runtime", kind="runtime")
    with options.usage_errors("--precision"):
        return ProfileRequest(
            runtime=parsed,
            precision=wanted,
            regime=trained,
            step_runtime=stepper,
            batch_size=batch_size,
            num_passes=passes,
        )


def _threads(link: "Link", wanted: str | None) -> "Threads":
    if wanted == "auto":
        return "auto"
    if wanted is not None and not wanted.isdecimal():
        options.refuse("--threads", f"{wanted!r} is neither a number of threads nor auto")
    with options.usage_errors("--threads"):
        return link.describe().threads(None if wanted is None else int(wanted))


def _refuse_step_options(given: dict[str, float | str | None]) -> None:
    """Refuse what is said of a training step where none is measured."""
    for option, value in given.items():
        if value is not None:
            options.refuse(option, "--regime none measures no training step")


def _show(report: "Report", output: Path | None, *, json: bool) -> None:
    from reefl_edge.profiling.report import report_json

    if json:
        typer.echo(report_json(report), nl=False)
        return
    if report.rows:
        _show_rows(report)
        _show_sweep(report)
        _show_costs(report)
    if report.predictions:
        estimating.show_predictions(report)
    if report.choice is not None:
        for reason in report.choice.reasons:
            render.out().print(reason)
    if output is not None:
        render.out().print(f"saved {output} ({render.size(output.stat().st_size)})")


def _show_rows(report: "Report") -> None:
    """Show what was measured, and what is wrong with it."""
    columns = ("exit", "what", "p50 ms", "p90 ms", "up to ms", "load ms", "MiB", "verdict")
    context = report.context
    how = dict.fromkeys(
        f"{row.kind} on {row.runtime}, threads {row.threads}" for row in report.rows
    )
    title = f"{context.model} on {context.device} ({context.host.cpu_name}); {'; '.join(how)}"
    if not context.is_real_hardware:
        title += ", an emulation: how long it takes says nothing of the device"
    rows = []
    for row in report.rows:
        summary = row.summary
        times_ms = (
            f"{summary.p50_ms:.2f}",
            f"{summary.p90_ms:.2f}",
            f"{summary.p90_high_ms:.2f}",
            f"{row.measurement.load_ms:.0f}",
        )
        rows.append(
            (
                str(row.exit_index),
                row.kind,
                *(times_ms if context.is_real_hardware else "-" * len(times_ms)),
                f"{summary.peak_above_baseline_mib:.0f}",
                summary.verdict if context.is_real_hardware else "emulated",
            )
        )
    render.out().print(render.table(title, columns, rows))
    for row in report.rows:
        if row.summary.reason and context.is_real_hardware:
            render.warn(
                f"exit {row.exit_index}, {row.kind}: {row.summary.verdict}: {row.summary.reason}"
            )


def _show_sweep(report: "Report") -> None:
    """Show the numbers of threads that were tried, if any were."""
    if report.sweep:
        rows = [
            (row.kind, str(row.threads), f"{row.summary.p50_ms:.2f}", row.summary.verdict)
            for row in report.sweep
        ]
        title = f"threads tried on exit {report.sweep[0].exit_index}"
        columns = ("what", "threads", "p50 ms", "verdict")
        render.out().print(render.table(title, columns, rows))


def _show_costs(report: "Report") -> None:
    """Show what a run of each row takes: a table of its own, so that both fit a terminal."""
    rows = []
    for row in report.rows:
        cost = report.cost_of(row)
        if cost is None:
            figures: tuple[str, ...] = ("-", "-", "-")
        else:
            figures = (
                f"{cost.macs / 1e6:.1f}",
                render.size(cost.weight_bytes),
                render.size(cost.activation_bytes),
            )
        what = row.kind if row.batch_size == 1 else f"{row.kind} of {row.batch_size} images"
        rows.append((str(row.exit_index), what, *figures))
    columns = ("exit", "what", "million MACs", "weights", "activations")
    render.out().print(
        render.table("counted, not measured; bytes are those of float32", columns, rows)
    )


def _where(device: str, *, device_python: bool, threads: str | None) -> tuple[str, ...]:
    """Say again where to measure, and how; nothing where that is as it is without being said."""
    from reefl_edge.devices.profiles import LOCAL_DEVICE

    words: tuple[str, ...] = () if device == LOCAL_DEVICE else ("--device", device)
    if device_python:
        words += ("--device-python",)
    return words if threads is None else (*words, "--threads", threads)


def _suggest(
    report: "Report",
    output: Path | None,
    request: "ProfileRequest",
    model: tuple[str, ...],
    *,
    where: tuple[str, ...],
) -> None:
    if report.choice is not None and output is not None:
        steps = report.rows_of("step")
        used = dict.fromkeys((request.runtime, *(row.runtime for row in steps)))
        formats = [name for name in used if name != "eager"]
        what = ["--format", ",".join(formats)] if formats else []
        if steps and steps[0].regime is not None and steps[0].runtime != "eager":
            size = str(steps[0].batch_size)
            what += ["--training", steps[0].regime, "--training-batch-size", size]
        if request.precision != "fp32":
            what += ["--precision", request.precision]
        render.next_command(
            *("reefl-edge", "export", *model, "--report", output, *what),
            *("-o", "new-bundle" if "bundle" in model else "bundle"),
        )
    elif report.context.is_real_hardware and (rows := report.rows_of("inference")):
        p90 = rows[-1].summary.p90_high_ms
        render.next_command(
            *("reefl-edge", "profile", *where, "--model", *model, "--runtime", request.runtime),
            *("--precision", request.precision, "--regime", request.regime or "none"),
            *("--budget-ms", f"{0.8 * p90:.3g}", "-o", "report.json"),
        )
