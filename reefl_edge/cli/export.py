"""``reefl-edge export``: compile a model to a bundle."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reefl_edge.cli import options, render

if TYPE_CHECKING:
    from reefl_edge.cli.models import Model
    from reefl_edge.manifest import Bundle
    from reefl_export.recipe import ExportRecipe


def export(
    model: options.ModelArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The bundle's folder.")],
    formats: Annotated[
        str, typer.Option("--format", help="Artifacts to make, separated by commas.")
    ] = "executorch,onnx,coreml",
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            help="Of each format, separated by commas, the preferred one first: fp32; fp16 (onnx, "
            "coreml); int8-dynamic, int8-static (onnx, executorch); int8-weights, palette4 "
            "(coreml).",
        ),
    ] = "fp32",
    recipe: Annotated[
        list[str] | None,
        typer.Option("--recipe", help="A recipe's TOML file or name, instead of --format."),
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
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Compile a model to ExecuTorch, ONNX and Core ML: one segment per exit, proven equal.

    Example:  reefl-edge export model.safetensors -o bundle --format onnx,executorch --max-exit 2
    """
    from dataclasses import replace

    from reefl_edge.cli.models import read_model
    from reefl_edge.weights import apply_update, read_update
    from reefl_export.bundle import Origin, export_checkpoint

    if max_exit is not None and report is not None:
        raise typer.BadParameter("give --max-exit or --report, not both", param_hint="'--report'")
    recipes = parse_recipes(recipe) if recipe else recipes_for(formats, precision)
    check_threshold(threshold)
    facts = options.model_facts(
        num_classes=num_classes,
        num_exits=num_exits,
        exit_blocks=exit_blocks,
        image_size=image_size,
    )
    source = read_model(model, facts, seed=seed)
    if update is not None:
        updated = apply_update(source.checkpoint, read_update(update))
        source = replace(source, checkpoint=updated, fresh=())
    source = source.cut(_chosen_exit(report) if report is not None else max_exit)
    origin = Origin(
        name=source.name,
        has_random_weights=source.is_untrained,
        threshold=source.threshold if threshold is None else threshold,
    )
    with render.progress_bar("export") as bar:
        bundle = export_checkpoint(source.checkpoint, output, recipes, origin, on_stage=bar.say)
    _show(bundle, source, json=json)


def parse_recipes(texts: list[str]) -> "list[ExportRecipe]":
    """Return the recipes of ``--recipe``."""
    from reefl_export.recipe import read_recipe

    with options.usage_errors("--recipe"):
        return [read_recipe(text) for text in texts]


def recipes_for(formats: str, precisions: str) -> "list[ExportRecipe]":
    """Return the stock recipes of formats in precisions, lists separated by commas."""
    from reefl_edge.manifest import parse_precision, parse_target
    from reefl_export.recipe import stock

    with options.usage_errors("--format"):
        targets = [parse_target(name.strip()) for name in formats.split(",")]
    with options.usage_errors("--precision"):
        return stock(targets, [parse_precision(name.strip()) for name in precisions.split(",")])


def check_threshold(threshold: float | None) -> None:
    """Refuse a threshold outside (0, 1]."""
    from reefl_edge.adaptive import ConfidencePolicy

    with options.usage_errors("--threshold"):
        ConfidencePolicy((1.0 if threshold is None else threshold,))


def _chosen_exit(path: Path) -> int:
    from reefl_edge.errors import InputError
    from reefl_edge.profiling.report import read_report

    choice = read_report(path).choice
    if choice is None:
        raise InputError(f"{path} holds no choice; profile with a budget, such as --budget-ms 10")
    return choice.exit_index


def _show(bundle: "Bundle", source: "Model", *, json: bool) -> None:
    from reefl_edge import schema

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
        render.out().print(f"saved {bundle.directory}")
    if source.is_untrained:
        what = "the weights are" if source.has_random_weights else "the classifier is"
        render.warn(f"{what} random: the bundle is good for measuring, not for answers")
    render.next_command(f"reefl-edge infer {bundle.directory} IMAGE --threshold 0.8")
