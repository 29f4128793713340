"""``reefl-edge convert``: somebody else's model into a checkpoint of ours, and back."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from reefl_edge.cli import models, options, render
from reefl_edge.sizes import MAX_WIDTH, check_mean, check_std

if TYPE_CHECKING:
    from reefl_edge.checkpoints.description import Channels
    from reefl_edge.tasks.models import Model

_MOST_NAMED = 5

Destination = Literal["reefl-edge", "released"]


def convert(
    model: options.ModelArgument,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The file, .safetensors; for released also .pth."),
    ],
    to: Annotated[
        str, typer.Option("--to", help="Whose layout to write: reefl-edge or released.")
    ] = "reefl-edge",
    num_classes: options.NumClasses = None,
    num_exits: options.NumExits = None,
    exit_blocks: options.ExitBlocks = None,
    image_size: options.ImageSize = None,
    max_exit: options.MaxExit = None,
    regime: Annotated[
        str | None,
        typer.Option("--regime", help="What is trained, where MODEL does not say."),
    ] = None,
    num_heads: Annotated[
        int | None,
        typer.Option(
            "--num-heads", min=1, max=MAX_WIDTH, help="Heads of a block.  [default: width / 64]"
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            "--mean",
            help="Of each channel of the pixels, scaled to [0, 1], that the model was trained on, "
            "such as 0.507,0.487,0.441.  [default: ImageNet's]",
        ),
    ] = None,
    std: Annotated[
        str | None, typer.Option("--std", help="Standard deviation, like --mean.")
    ] = None,
    class_names: Annotated[
        str | None,
        typer.Option(
            "--class-names",
            help="One name per class, in the order of the model's logits, such as cat,dog,owl.  "
            "[default: MODEL's own, or numbers]",
        ),
    ] = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Turn a DeiT, timm, transformers or released ReeFL model into a checkpoint, or one back.

    Example:  reefl-edge convert state_dict.pth --num-exits 4 -o model.safetensors
    """
    from reefl_edge.regimes import REGIMES

    destination = _destination(to)
    _check_suffix(output, destination)
    options.check_output(output, model)
    names = _class_names(class_names, destination)
    description = options.model_description(
        num_classes=num_classes,
        num_exits=num_exits,
        exit_blocks=exit_blocks,
        image_size=image_size,
        max_exit=max_exit,
        regime=options.parse_optional(regime, REGIMES, "--regime", kind="regime"),
        num_heads=num_heads,
        mean=_channels(mean, "--mean", check_mean),
        std=_channels(std, "--std", check_std),
    )
    source = _named(models.opened(model, description, seed=seed), names)
    _write(source, output, destination)
    document = _document(source, output, destination)
    if json:
        render.print_json(document)
    else:
        _show(document)
    if source.checkpoint.is_untrained:
        render.warn(f"{', '.join(_parts(source))}: random, to be trained{_unsaid(destination)}")
    _suggest(source, output, destination)


def _destination(text: str) -> Destination:
    match text:
        case "reefl-edge" | "released":
            return text
    raise typer.BadParameter(f"{text!r}; choose reefl-edge or released", param_hint="'--to'")


def _check_suffix(output: Path, destination: Destination) -> None:
    from reefl_edge.checkpoints.foreign.files import PICKLE_SUFFIXES

    allowed = (".safetensors", *(PICKLE_SUFFIXES if destination == "released" else ()))
    if output.suffix not in allowed:
        raise typer.BadParameter(
            f"{output} is no {' or '.join(allowed)} file", param_hint="'--output'"
        )


def _channels(
    text: str | None, option: str, check: Callable[["Channels"], None]
) -> "Channels | None":
    with options.usage_errors(option):
        if text is None:
            return None
        values = [_number(part) for part in text.split(",")]
        if len(values) != 3:
            numbers = "1 number" if len(values) == 1 else f"{len(values)} numbers"
            raise ValueError(f"{text!r} has {numbers}; give one for each of red, green and blue")
        red, green, blue = values
        check((red, green, blue))
        return red, green, blue


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number") from None


def _class_names(text: str | None, destination: Destination) -> tuple[str, ...] | None:
    """Return the names in a text, each of which must be another."""
    if text is None:
        return None
    if destination == "released":
        options.refuse("--class-names", "a file of the released code holds no names")
    with options.usage_errors("--class-names"):
        names = options.split_list(text)
        repeated = [name for name, count in Counter(names).items() if count > 1]
        if repeated:
            raise ValueError(f"several classes are called {repeated[0]!r}")
    return tuple(names)


def _named(source: "Model", names: tuple[str, ...] | None) -> "Model":
    """Give a model's classes their names; None keeps those it has."""
    if names is None:
        return source
    num_classes = source.checkpoint.submodel.architecture.num_classes
    if len(names) != num_classes:
        problem = f"{len(names)} names for the {num_classes} classes of MODEL"
        options.refuse("--class-names", problem)
    return replace(source, checkpoint=replace(source.checkpoint, class_names=names))


def _write(source: "Model", output: Path, destination: Destination) -> None:
    from reefl_edge.checkpoints.checkpoint import write_checkpoint
    from reefl_edge.checkpoints.foreign.writing import write_released

    match destination:
        case "reefl-edge":
            write_checkpoint(source.checkpoint, output)
        case "released":
            write_released(source.checkpoint, output)


def _document(source: "Model", output: Path, destination: Destination) -> dict[str, Any]:
    from reefl_edge import schema
    from reefl_edge.checkpoints.hashes import weights_sha256

    return {
        "model": str(output),
        "layout": destination,
        "size_bytes": output.stat().st_size,
        "weights_sha256": weights_sha256(source.checkpoint.arrays),
        "class_names": list(source.checkpoint.names()),
        "random": _parts(source),
        "submodel": schema.to_dict(source.checkpoint.submodel),
    }


def _parts(source: "Model") -> list[str]:
    """Return which parts of the model are random."""
    match source.checkpoint.random:
        case "nothing":
            return []
        case "shared":
            return ["accumulator", "classifier"]
        case "everything":
            return list(dict.fromkeys(name.split(".")[0] for name in source.checkpoint.arrays))


def _unsaid(destination: Destination) -> str:
    return ", which a file of the released code cannot say" if destination == "released" else ""


def _show(document: dict[str, Any]) -> None:
    submodel = document["submodel"]
    architecture = submodel["architecture"]
    rows = [
        ("width, heads", f"{architecture['width']}, {architecture['num_heads']}"),
        ("image, patch", f"{architecture['image_size']}, {architecture['patch_size']}"),
        ("classes", f"{architecture['num_classes']}: {_listed(document['class_names'])}"),
        ("mean", ", ".join(f"{value:.3g}" for value in architecture["mean"])),
        ("std", ", ".join(f"{value:.3g}" for value in architecture["std"])),
        ("blocks", str(architecture["num_blocks"])),
        ("exits after blocks", ", ".join(map(str, submodel["schedule"]["blocks"]))),
        ("deepest exit", str(submodel["max_exit"])),
        ("regime", submodel["regime"]),
    ]
    title = f"{document['model']}: {document['layout']}"
    render.out().print(render.table(title, ("what", "value"), rows))
    render.out().print(f"saved {document['model']} ({render.size(document['size_bytes'])})")


def _listed(names: list[str]) -> str:
    """Name the classes, or the first and the last of many.

    >>> _listed(list("abcdefg"))
    'a, b, c, ..., g'
    """
    return ", ".join(names if len(names) <= _MOST_NAMED else [*names[:3], "...", names[-1]])


def _suggest(source: "Model", output: Path, destination: Destination) -> None:
    if destination == "released":
        words = models.restated(source.checkpoint.submodel)
        render.next_command("reefl-edge", "convert", output, *words, "-o", "model.safetensors")
    elif source.checkpoint.random == "everything":
        render.next_command(
            *("reefl-edge", "profile", "--device", "local", "--model", output),
            *("-o", "report.json"),
        )
    elif source.checkpoint.is_untrained:
        render.next_command(
            *("reefl-edge", "finetune", output, "--data", "DATA", "-o", "update.safetensors")
        )
    else:
        render.next_command("reefl-edge", "export", output, "-o", "bundle")
