"""The options that mean the same in every command, and how their values are checked.

A value that does not fit is a usage error: exit code 2, with the option's name.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from reefl_edge.errors import InputError
from reefl_edge.names import closest

Choice = TypeVar("Choice", bound=str)

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A checkpoint (.safetensors), a bundle, or a named architecture (random weights): "
        "digits, deit_tiny, deit_small, deit_base.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]
Seed = Annotated[int, typer.Option("--seed", help="Of everything random.")]
NumClasses = Annotated[
    int | None,
    typer.Option(
        "--num-classes",
        min=1,
        help="Classes of a named architecture.  [default: 1000; digits: 10]",
    ),
]
MaxExit = Annotated[
    int | None,
    typer.Option("--max-exit", min=0, help="The deepest exit to keep, counted from 0."),
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="Threads to compute with.  [default: one per core]"),
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
