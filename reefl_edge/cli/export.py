"""``reefl-edge export``: compile a model to a bundle."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reefl_edge.cli import options, render

if TYPE_CHECKING:
    from reefl_edge.cli.models import Model
    from reefl_edge.cli.recipes import Wanted
    from reefl_edge.profiling.report import Report
    from reefl_export.bundle import Exported
    from reefl_export.sample import Sample


DEFAULT_NUM_IMAGES = 128


def export(
    model: options.ModelArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The bundle's folder.")],
    formats: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="executorch, onnx and coreml, separated by commas.  [default: all three; with "
            "--device: the one it runs best]",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            help="Of each format, separated by commas, the preferred one first: fp32; fp16 (onnx, "
            "coreml); int8-dynamic, int8-static (onnx, executorch); int8-weights, palette4 "
            "(coreml).  [default: fp32; with --device: what suits it]",
        ),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option("--recipe", help="A recipe's TOML file or name, instead; may be repeated."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", help="A device profile, or local: choose what suits it."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Images to compare on: a folder, an .npy or .npz file, or a dataset. Real ones "
            "tell how many decisions differ.  [default: noise]",
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration", help="Typical images for int8-static, other ones than --data."
        ),
    ] = None,
    num_images: Annotated[
        int | None,
        typer.Option(
            "--num-images",
            min=1,
            max=options.MAX_IMAGES,
            help="How many images to take of --data and --calibration each.  [default: 128]",
        ),
    ] = None,
    batch_sizes: Annotated[
        str | None,
        typer.Option(
            "--batch-sizes",
            help="How many images ExecuTorch takes at once, separated by commas; 1 always is one. "
            "ONNX takes any number.  [default: 1]",
        ),
    ] = None,
    adaptive_graph: Annotated[
        bool,
        typer.Option(
            "--adaptive-graph",
            help="ONNX: also write one graph that takes an image and a threshold.",
        ),
    ] = False,
    max_exit: options.MaxExit = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="A report with a choice: its exit is the deepest kept."),
    ] = None,
    update: Annotated[
        Path | None, typer.Option("--update", help="A fine-tuning update to apply first.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="Confidence to store in the bundle, in (0, 1]."),
    ] = None,
    num_classes: options.NumClasses = None,
    num_exits: options.NumExits = None,
    exit_blocks: options.ExitBlocks = None,
    image_size: options.ImageSize = None,
    threads: options.Threads = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Compile a model to ExecuTorch, ONNX and Core ML: one segment per exit, proven equal.

    Example:  reefl-edge export model.safetensors -o bundle --device pixel7 --data images/
    """
    from dataclasses import replace

    from reefl_edge.cli.models import read_model
    from reefl_edge.cli.recipes import wanted_recipes
    from reefl_edge.profiling.report import read_report
    from reefl_edge.weights import apply_update, read_update
    from reefl_export.bundle import Origin, Samples, check_recipes, export_checkpoint

    options.check_output(
        output, model, data, calibration, report, update, *(recipe or []), is_folder=True
    )
    if max_exit is not None and report is not None:
        options.refuse("--report", "give --max-exit or --report, not both")
    wanted = wanted_recipes(
        formats=formats, precisions=precision, recipes=recipe or [], device=device
    )
    if batch_sizes is not None:
        wanted = wanted.with_batch_sizes(batch_sizes)
    if adaptive_graph:
        wanted = wanted.with_adaptive_graph()
    _check_images(wanted, data=data, calibration=calibration, num_images=num_images)
    check_threshold(threshold)
    facts = options.model_facts(
        num_classes=num_classes,
        num_exits=num_exits,
        exit_blocks=exit_blocks,
        image_size=image_size,
    )
    measured = None if report is None else read_report(report)
    source = read_model(model, facts, seed=seed)
    if report is not None and measured is not None:
        max_exit = _chosen_exit(measured, source, report)
    if update is not None:
        updated = apply_update(source.checkpoint, read_update(update))
        source = replace(source, checkpoint=updated)
    source = source.cut(max_exit)
    origin = Origin(
        name=source.name,
        threshold=source.threshold if threshold is None else threshold,
        deployment=wanted.deployment,
    )
    samples = Samples(
        calibration=read_sample(calibration, source, limit=num_images or DEFAULT_NUM_IMAGES),
        parity=read_sample(data, source, limit=num_images or DEFAULT_NUM_IMAGES),
    )
    with options.usage_errors("--calibration" if calibration or not recipe else "--recipe"):
        check_recipes(wanted.recipes, samples, source.checkpoint.submodel)
    with render.progress_bar("export") as bar:
        exported = export_checkpoint(
            source.checkpoint,
            output,
            wanted.recipes,
            origin,
            samples=samples,
            threads=threads,
            on_stage=bar.say,
        )
    _show(exported, source, wanted.reasons, json=json)


def _check_images(
    wanted: "Wanted", *, data: Path | None, calibration: Path | None, num_images: int | None
) -> None:
    """Refuse options on images that nothing would read."""
    if calibration is not None and not wanted.needs_calibration:
        options.refuse("--calibration", "only for int8-static; nothing else needs ranges")
    if num_images is not None and data is None and calibration is None:
        options.refuse("--num-images", "it counts images of --data and --calibration; give one")


def read_sample(path: Path | None, source: "Model", *, limit: int) -> "Sample | None":
    """Read images of the model's size; None for no path."""
    from reefl_edge.data.pictures import read_pictures
    from reefl_export.sample import Sample

    if path is None:
        return None
    images = read_pictures(
        path,
        image_size=source.checkpoint.submodel.architecture.image_size,
        class_names=source.checkpoint.names(),
        limit=limit,
    )
    return Sample(name=path.name, images=images)


def check_threshold(threshold: float | None) -> None:
    """Refuse a threshold outside (0, 1]."""
    from reefl_edge.adaptive import ConfidencePolicy

    with options.usage_errors("--threshold"):
        ConfidencePolicy((1.0 if threshold is None else threshold,))


def _chosen_exit(report: "Report", source: "Model", path: Path) -> int:
    """Return the exit that a report of this model chose."""
    from reefl_edge.errors import InputError
    from reefl_edge.profiling.match import check_model

    if report.choice is None:
        raise InputError(f"{path} holds no choice; profile with a budget, such as --budget-ms 10")
    with options.input_errors(f"{path}: "):
        check_model(report, source.checkpoint)
    return report.choice.exit_index


def _show(exported: "Exported", source: "Model", reasons: Sequence[str], *, json: bool) -> None:
    from reefl_edge import schema
    from reefl_edge.cli.parity import table_of

    bundle = exported.bundle
    if json:
        render.print_json({"bundle": str(bundle.directory), **schema.to_dict(bundle.manifest)})
    else:
        rows = [
            (
                artifact.target,
                artifact.delegate or "-",
                artifact.precision,
                str(len(artifact.files)),
                render.size(artifact.size_bytes),
            )
            for artifact in bundle.manifest.artifacts
        ]
        title = f"{bundle.manifest.name}: exits 0 to {bundle.manifest.submodel.max_exit}"
        columns = ("format", "delegate", "precision", "files", "size")
        render.out().print(render.table(title, columns, rows))
        render.out().print(table_of(exported.parity, failed={}))
        for reason in reasons:
            render.out().print(reason)
        render.out().print(f"saved {bundle.directory}")
    if source.checkpoint.is_untrained:
        whole = source.checkpoint.random == "everything"
        what = "the weights are" if whole else "the accumulator and the classifier are"
        render.warn(f"{what} random: the bundle is good for measuring, not for answers")
    if any(artifact.target != "coreml" for artifact in bundle.manifest.artifacts):
        render.next_command("reefl-edge", "infer", bundle.directory, "IMAGE", "--threshold", 0.8)
    else:
        render.next_command(
            *("reefl-edge", "parity", bundle.directory, "--data", "IMAGES", "--model", "MODEL")
        )
