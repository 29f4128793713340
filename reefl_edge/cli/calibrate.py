"""``reefl-edge calibrate``: the thresholds that save most time while a promise holds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reefl_edge.cli import options, render

if TYPE_CHECKING:
    from reefl_edge.bundles.thresholds import Promise
    from reefl_edge.tasks.calibrating import CalibratedBundle


def calibrate(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder; its manifest is changed.")
    ],
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            help="Images like those that will come, which training has not seen: a labelled "
            "dataset, or without --max-drop and --temperature any images.",
        ),
    ],
    max_drop: Annotated[
        float | None,
        typer.Option(
            "--max-drop",
            help="Promise: at most so many points of accuracy below the deepest exit, such as 1.",
        ),
    ] = None,
    max_disagreement: Annotated[
        float | None,
        typer.Option(
            "--max-disagreement",
            help="Promise: at most this share of the answers differs from the deepest exit's, such "
            "as 0.02; needs no labels.",
        ),
    ] = None,
    max_mean_ms: Annotated[
        float | None,
        typer.Option(
            "--max-mean-ms",
            help="Promise: at most so many milliseconds an image, on average; the answers are the "
            "best within it.",
        ),
    ] = None,
    confidence: Annotated[
        float, typer.Option("--confidence", help="How sure the promise is to be, in (0, 1).")
    ] = 0.95,
    per_exit: Annotated[
        bool,
        typer.Option(
            "--per-exit",
            help="A threshold for each exit, found on a third of the images and certified on the "
            "rest.  [default: one for all, certified on all images]",
        ),
    ] = False,
    temperature: Annotated[
        bool,
        typer.Option(
            "--temperature",
            help="Fit a temperature for each exit on a third of the images, which takes labels.",
        ),
    ] = False,
    measure: Annotated[
        str,
        typer.Option("--measure", help="How sure an exit is: largest-softmax, margin or entropy."),
    ] = "largest-softmax",
    bound: Annotated[
        str | None,
        typer.Option(
            "--bound",
            help="How the loss is bounded: binomial or betting.  [default: the tighter one]",
        ),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime", help="onnx or executorch.  [default: onnx where the bundle has it]"
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option("--precision", help="Of the artifact.  [default: the bundle's preferred one]"),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            help="How long each exit takes: what 'reefl-edge profile' measured.  "
            "[default: measured here]",
        ),
    ] = None,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Choose where an artifact stops: the thresholds that save most time while a promise holds.

    They go into the bundle's manifest, with a certificate; nothing is exported. Exit code 6 if no
    early stop can be certified.

    Example:  reefl-edge calibrate bundle --data val/ --max-drop 1.0 --confidence 0.95
    """
    from reefl_edge.bundles.artifacts import PRECISIONS
    from reefl_edge.bundles.bundle import Bundle
    from reefl_edge.bundles.thresholds import BOUNDS
    from reefl_edge.confidence import MEASURES
    from reefl_edge.runtimes.base import RUNTIMES
    from reefl_edge.tasks.calibrating import CalibrationRequest, calibrate_bundle
    from reefl_edge.thresholds.calibrate import CalibrationPlan

    promise = _promise(
        {
            "--max-drop": max_drop,
            "--max-disagreement": max_disagreement,
            "--max-mean-ms": max_mean_ms,
        },
        confidence,
    )
    asked_bound = options.parse_optional(bound, BOUNDS, "--bound", kind="bound")
    asked_measure = options.parse_option(measure, MEASURES, "--measure", kind="measure")
    with options.usage_errors("--bound"):
        plan = CalibrationPlan(
            promise=promise,
            measure=asked_measure,
            is_per_exit=per_exit,
            has_temperatures=temperature,
            bound=asked_bound,
        )
    request = CalibrationRequest(
        plan=plan,
        data=data,
        runtime=options.parse_optional(runtime, RUNTIMES, "--runtime", kind="runtime"),
        precision=options.parse_optional(precision, PRECISIONS, "--precision", kind="precision"),
        report=report,
        threads=threads,
    )
    opened = Bundle.open(bundle)
    if opened.manifest.has_random_weights:
        render.warn("the bundle's weights are random: a promise about its answers means nothing")
    with options.usage_errors("--runtime"), render.progress_bar("calibrate") as bar:
        calibrated = calibrate_bundle(opened, request, on_stage=bar.say, on_step=bar.step)
    if json:
        render.print_json(_document(calibrated))
    else:
        _show(calibrated)
    entry = calibrated.entry
    render.next_command(
        *("reefl-edge", "evaluate", bundle, "--data", "TEST"),
        *("--runtime", entry.target, "--precision", entry.precision),
    )


def _promise(limits: dict[str, float | None], confidence: float) -> "Promise":
    """Return the one promise that is made."""
    from reefl_edge.bundles.thresholds import Promise, PromiseKind

    kinds: dict[str, PromiseKind] = {
        "--max-drop": "max-drop",
        "--max-disagreement": "max-disagreement",
        "--max-mean-ms": "max-mean-ms",
    }
    given = {option: limit for option, limit in limits.items() if limit is not None}
    if len(given) != 1:
        options.refuse(
            list(given)[1] if given else "--max-drop",
            f"make one promise: {', '.join(kinds)}",
        )
    ((option, limit),) = given.items()
    if not 0 < confidence < 1:
        options.refuse("--confidence", f"it lies between 0 and 1, got {confidence:g}")
    with options.usage_errors(option):
        return Promise(kind=kinds[option], limit=limit, confidence=confidence)


def _document(calibrated: "CalibratedBundle") -> dict[str, Any]:
    from reefl_edge import schema

    return {
        "bundle": str(calibrated.bundle.directory),
        "entry": schema.to_dict(calibrated.entry),
        "found": schema.to_dict(calibrated.found),
        "exit_ms": list(calibrated.exit_ms),
    }


def _show(calibrated: "CalibratedBundle") -> None:
    entry, found = calibrated.entry, calibrated.found
    assert entry.certificate is not None  # it was just made
    rows = [
        ("promise", str(entry.certificate.promise)),
        ("thresholds", f"{_numbers(entry.thresholds)} ({entry.measure})"),
    ]
    if entry.temperatures:
        rows.append(("temperatures", _numbers(entry.temperatures)))
    rows += [
        (
            "certified on",
            f"{found.num_images} images, {found.bound} bound, p = {found.p_value:.2g}",
        ),
        ("stop at each exit", ", ".join(f"{share:.1%}" for share in found.exit_shares)),
        ("answers that differ", f"{found.disagreement:.2%}"),
    ]
    if found.accuracy is not None:
        rows.append(
            ("accuracy", f"{found.accuracy:.2%}, deepest exit {found.deepest_accuracy:.2%}")
        )
    share = found.mean_ms / found.deepest_ms
    rows.append(("mean time", f"{found.mean_ms:.3g} ms, x {share:.2f} of always the deepest exit"))
    render.out().print(render.table(entry.artifact, ("what", "on these images"), rows))
    render.out().print(f"saved {calibrated.bundle.directory / 'manifest.json'}")


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
