"""The options that mean the same in every command, and how their values are checked.

A value that does not fit is a usage error: exit code 2, with the option's name.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from reefl_edge.errors import InputError
from reefl_edge.names import closest

if TYPE_CHECKING:
    from reefl_edge.foreign.facts import ModelFacts

Choice = TypeVar("Choice", bound=str)

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A checkpoint, a bundle, a named architecture (random weights: digits, deit_tiny, "
        "deit_small, deit_base), or a DeiT, timm, transformers or released ReeFL model: a file "
        "(.safetensors, .npz, .pth), a folder, or a hub id such as owner/name.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]
Seed = Annotated[int, typer.Option("--seed", help="Of everything random.")]
NumClasses = Annotated[
    int | None,
    typer.Option(
        "--num-classes",
        min=1,
        help="Classes, where MODEL does not say: a backbone needs it.  "
        "[default for a name: 1000; digits: 10]",
    ),
]
NumExits = Annotated[
    int | None,
    typer.Option(
        "--num-exits",
        min=1,
        help="Exits of the whole network, evenly spaced, where MODEL does not say.  "
        "[default: 4; a released ReeFL model needs it]",
    ),
]
ExitBlocks = Annotated[
    str | None,
    typer.Option(
        "--exit-blocks",
        help="The block each exit reads, counted from 0, such as 2,5,8,11: instead of --num-exits.",
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        "--image-size",
        min=1,
        help="Edge of the image in pixels; the position embedding is interpolated.  "
        "[default: MODEL's own]",
    ),
]
MaxExit = Annotated[
    int | None,
    typer.Option("--max-exit", min=0, help="The deepest exit to keep, counted from 0."),
]


def _fitting_threads(threads: int | None) -> int | None:
    if threads is not None:
        from reefl_edge.runtimes.base import check_threads

        with usage_errors("--threads"):
            check_threads(threads)
    return threads


Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        callback=_fitting_threads,
        help="Threads to compute with.  [default: one per core]",
    ),
]
Data = Annotated[
    Path,
    typer.Option(
        "--data",
        help="A labelled dataset: an .npz file (images, labels), a folder of images with one "
        "sub-folder per class, or CIFAR, LEAF's FEMNIST or Speech Commands as published. A split "
        "follows the name: cifar100.npz#train.",
    ),
]


def model_facts(*, exit_blocks: str | None, **facts: Any) -> "ModelFacts":
    """Return what the options say of MODEL, checked against each other."""
    from reefl_edge.foreign.facts import ModelFacts

    with usage_errors("--exit-blocks"):
        blocks = None if exit_blocks is None else tuple(map(int, exit_blocks.split(",")))
        return ModelFacts(exit_blocks=blocks, **facts)


@contextmanager
def usage_errors(option: str) -> Iterator[None]:
    """Report a ``ValueError`` of the block as a bad value of ``option``."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=f"'{option}'") from error


@contextmanager
def input_errors(where: str = "") -> Iterator[None]:
    """Report a ``ValueError`` of the block as data that does not fit."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"{where}{error}") from error


def parse_choice(text: str, choices: Sequence[Choice], option: str) -> Choice:
    """Return the choice called ``text``.

    Raises:
        BadParameter: There is none.
    """
    for choice in choices:
        if choice == text:
            return choice
    raise typer.BadParameter(
        f"there is no {text!r}{closest(text, choices)}", param_hint=f"'{option}'"
    )
