"""``reefl-edge export``: compile a model to a bundle."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reefl_edge.cli import models, options, render
from reefl_edge.cli.bundle_table import bundle_table
from reefl_edge.regimes import REGIMES

if TYPE_CHECKING:
    from reefl_edge.bundles.bundle import Bundle
    from reefl_edge.tasks.exporting import ExportRequest
    from reefl_edge.tasks.models import Model
    from reefl_export.bundle import Exported


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
    num_images: options.NumImages = None,
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
            help="ONNX: also write one graph that takes an image, thresholds and temperatures.",
        ),
    ] = False,
    training: Annotated[
        str | None,
        typer.Option(
            "--training",
            help="Regimes to compile a training step for, separated by commas: "
            f"{', '.join(REGIMES)}. For onnx and executorch, where --format or --recipe names "
            "them; else for onnx.",
        ),
    ] = None,
    training_batch_size: Annotated[
        int | None,
        typer.Option(
            "--training-batch-size",
            min=1,
            help="Images of a compiled step; it takes fewer, too.  [default: 8]",
        ),
    ] = None,
    training_recompute: Annotated[
        bool,
        typer.Option(
            "--training-recompute",
            help="Compile onnx steps that take less memory, and up to half as much time again.",
        ),
    ] = False,
    budget_mib: Annotated[
        float | None,
        typer.Option(
            "--budget-mib",
            help="Memory for a training step: pick a batch size, unless one is given, and "
            "whether to compute blocks again, so that it fits.",
        ),
    ] = None,
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
    from reefl_edge import schema
    from reefl_edge.cli.recipes import plan_of
    from reefl_edge.tasks.exporting import DEFAULT_NUM_IMAGES, ExportRequest, prepare_export
    from reefl_export.training import DEFAULT_BATCH_SIZE, DEFAULT_STEP_TARGETS

    options.check_output(
        output, model, data, calibration, report, update, *(recipe or []), is_folder=True
    )
    if max_exit is not None and report is not None:
        options.refuse("--report", "give --max-exit or --report, not both")
    options.check_threshold(threshold)
    plan = plan_of(
        formats=formats,
        precisions=precision,
        recipes=recipe or [],
        device=device,
        batch_sizes=batch_sizes,
        adaptive_graph=adaptive_graph,
    )
    if training is not None:
        with options.usage_errors("--training"):
            plan = plan.with_training(
                options.parse_list(training, REGIMES, "--training", kind="regime"),
                formats=plan.formats if formats or recipe else DEFAULT_STEP_TARGETS,
                batch_size=training_batch_size or DEFAULT_BATCH_SIZE,
                recompute=training_recompute,
                seed=seed,
            )
    elif training_batch_size is not None or training_recompute or budget_mib is not None:
        options.refuse("--training", "say which regimes to compile a training step for")
    request = ExportRequest(
        plan=plan,
        update=update,
        report=report,
        max_exit=max_exit,
        threshold=threshold,
        data=data,
        calibration=calibration,
        num_images=num_images or DEFAULT_NUM_IMAGES,
    )
    _check_images(request, num_images=num_images)
    description = options.model_description(
        num_classes=num_classes,
        num_exits=num_exits,
        exit_blocks=exit_blocks,
        image_size=image_size,
    )
    source = models.opened(model, description, seed=seed)
    models.check_max_exit(max_exit, source)
    for regime in () if plan.training is None else plan.training.regimes:
        models.check_regime(regime, source, option="--training")
    with options.usage_errors("--recipe" if recipe else "--calibration"):
        prepared = prepare_export(source, request)
    if budget_mib is not None:
        with options.usage_errors("--budget-mib"):
            prepared = prepared.within(budget_mib, batch_size=training_batch_size)
    with render.progress_bar("export") as bar:
        exported = prepared.write(output, threads=threads, on_stage=bar.say, on_artifact=bar.step)
    bundle = exported.bundle
    if json:
        render.print_json({"bundle": str(output), **schema.to_dict(bundle.manifest)})
    else:
        _show(exported, prepared.plan.reasons)
    _suggest(bundle, prepared.model)


def _check_images(request: "ExportRequest", *, num_images: int | None) -> None:
    """Refuse options on images that nothing would read."""
    if request.calibration is not None and not request.plan.needs_calibration:
        options.refuse("--calibration", "only for int8-static; nothing else needs ranges")
    options.check_num_images(num_images, request.data, request.calibration)


def _show(exported: "Exported", reasons: Sequence[str]) -> None:
    from reefl_edge.cli.parity_table import steps_table_of, table_of

    bundle = exported.bundle
    render.out().print(bundle_table(bundle.manifest))
    render.out().print(table_of(exported.parity, failed={}))
    if exported.parity.steps:
        render.out().print(steps_table_of(exported.parity))
    for reason in reasons:
        render.out().print(reason)
    render.out().print(f"saved {bundle.directory}")


def _suggest(bundle: "Bundle", model: "Model") -> None:
    if model.checkpoint.is_untrained:
        whole = model.checkpoint.random == "everything"
        what = "the weights are" if whole else "the accumulator and the classifier are"
        render.warn(f"{what} random: the bundle is good for measuring, not for answers")
    if any(artifact.target != "coreml" for artifact in bundle.manifest.artifacts):
        render.next_command("reefl-edge", "infer", bundle.directory, "IMAGE", "--threshold", 0.8)
    else:
        render.next_command(
            *("reefl-edge", "parity", bundle.directory, "--data", "IMAGES", "--model", "MODEL")
        )
