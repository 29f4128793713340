"""``reefl-edge evaluate``: how good is each exit, what does stopping cost, which is better?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reefl_edge.cli import options, render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reefl_edge.tasks.evaluating import Comparison, Evaluated, Evaluation


def evaluate(
    bundles: Annotated[
        list[Path],
        typer.Argument(metavar="BUNDLE...", help="A bundle's folder, or several to compare."),
    ],
    data: Annotated[
        Path,
        typer.Option(
            "--data", help="A labelled dataset that neither training nor calibration has seen."
        ),
    ],
    runtime: options.ArtifactRuntime = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            help="Of the artifact, or several of each bundle to compare, separated by commas.  "
            "[default: the bundle's preferred one]",
        ),
    ] = None,
    num_timed: Annotated[
        int,
        typer.Option("--num-timed", min=1, max=100_000, help="Images to time, one by one."),
    ] = 200,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Where a picture of it goes, as PNG.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the figures go, as JSON.")
    ] = None,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Judge artifacts on labelled images: each exit, where they stop, and against each other.

    Example:  reefl-edge evaluate bundle --data test/ --picture evaluation.png
    """
    from reefl_edge.bundles.artifacts import PRECISIONS
    from reefl_edge.bundles.bundle import Bundle
    from reefl_edge.files import write_text
    from reefl_edge.runtimes.base import RUNTIMES
    from reefl_edge.tasks.evaluating import compare, evaluate_bundle

    for option, path in (("--output", output), ("--picture", picture)):
        options.check_output(path, *bundles, data, option=option)
    name = options.parse_optional(runtime, RUNTIMES, "--runtime", kind="runtime")
    precisions = options.parse_list(precision, PRECISIONS, "--precision", kind="precision")
    opened = [Bundle.open(each) for each in bundles]
    evaluated = []
    with options.usage_errors("--precision"), render.progress_bar("evaluate") as bar:
        for bundle in opened:
            for each in precisions or (None,):
                bar.say(f"evaluate {bundle.directory}")
                evaluated.append(
                    evaluate_bundle(
                        bundle,
                        data,
                        runtime=name,
                        precision=each,
                        threads=threads,
                        num_timed=num_timed,
                        on_step=bar.step,
                    )
                )
    comparisons = compare(evaluated)
    _warn(evaluated)
    document = _document(evaluated, comparisons)
    if json:
        render.print_json(document)
    else:
        _show(evaluated, comparisons)
    if output is not None:
        import json as json_text

        write_text(output, json_text.dumps(document, indent=2) + "\n")
        render.tell(f"saved {output}")
    if picture is not None:
        from reefl_edge.pictures.evaluation import draw_evaluation

        draw_evaluation(evaluated, picture)
        render.tell(f"saved {picture}")


def _warn(evaluated: "Sequence[Evaluated]") -> None:
    for each in evaluated:
        if each.evaluation.are_calibration_images:
            render.warn(
                f"{each.evaluation.artifact} was calibrated on these very images: what it promises "
                "is about others; evaluate it on images that calibration has not seen"
            )


def _document(
    evaluated: "Sequence[Evaluated]", comparisons: "Sequence[Comparison]"
) -> dict[str, Any]:
    from reefl_edge import schema

    return {
        "schema_version": 1,
        "evaluations": [schema.to_dict(each.evaluation) for each in evaluated],
        "comparisons": [schema.to_dict(each) for each in comparisons],
    }


def _show(evaluated: "Sequence[Evaluated]", comparisons: "Sequence[Comparison]") -> None:
    for each in evaluated:
        _show_one(each.evaluation)
    if not comparisons:
        return
    rows = [
        (
            f"{each.bundle} {each.artifact}",
            _change(each.accuracy_change, each.accuracy_change_interval),
            _verdict(each.accuracy_change_interval),
        )
        for each in comparisons
    ]
    title = f"against {evaluated[0].evaluation.bundle} {evaluated[0].evaluation.artifact}"
    render.out().print(render.table(title, ("artifact", "points of accuracy", ""), rows))


def _show_one(evaluation: "Evaluation") -> None:
    rows = [
        (
            str(index),
            f"{each.accuracy:.2%}",
            f"{evaluation.exit_shares[index]:.1%}",
            f"{each.mean_ms:.2f}",
            f"{each.calibration_error:.3f}",
            "-"
            if each.tempered_calibration_error is None
            else f"{each.tempered_calibration_error:.3f}",
        )
        for index, each in enumerate(evaluation.exits)
    ]
    title = f"{evaluation.bundle} {evaluation.artifact} on {evaluation.num_images} images"
    columns = ("exit", "accuracy", "stop here", "mean ms", "calibration error", "tempered")
    render.out().print(render.table(title, columns, rows))
    promise = "nothing" if evaluation.promise is None else str(evaluation.promise)
    thresholds = ", ".join(f"{value:g}" for value in evaluation.thresholds)
    lines = [
        ("stops at", f"{thresholds} ({evaluation.measure}); promised: {promise}"),
        ("accuracy", f"{evaluation.accuracy:.2%}"),
        (
            "against the deepest exit",
            f"{_change(evaluation.accuracy_change, evaluation.accuracy_change_interval)} points, "
            f"{evaluation.disagreement:.2%} of the answers differ",
        ),
        ("mean ms", f"{evaluation.mean_ms:.2f}, to the end {evaluation.deepest_mean_ms:.2f}"),
        ("p90 ms", f"{evaluation.p90_ms:.2f}, to the end {evaluation.deepest_p90_ms:.2f}"),
        ("worst classes", _worst(evaluation)),
        (
            "worst confusions",
            ", ".join(
                f"{each.truth} as {each.answer} ({each.num_images})"
                for each in evaluation.confusions[:3]
            )
            or "none",
        ),
    ]
    render.out().print(render.table("where it stops", ("what", "found"), lines))


def _worst(evaluation: "Evaluation") -> str:
    known = [
        (share, name) for name, share in evaluation.class_accuracy.items() if share is not None
    ]
    return ", ".join(f"{name} {share:.0%}" for share, name in sorted(known)[:3])


def _change(change: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{100 * change:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"


def _verdict(interval: tuple[float, float]) -> str:
    low, high = interval
    if low > 0:
        return "better"
    return "worse" if high < 0 else "these images do not tell them apart"
