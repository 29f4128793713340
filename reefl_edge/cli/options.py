"""The options that mean the same in every command, and how their values are checked.

A value that does not fit is a usage error: exit code 2, with the option's name.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from reefl_edge.errors import InputError
from reefl_edge.names import Name, parse_name
from reefl_edge.sizes import MAX_BLOCKS, MAX_CLASSES, MAX_IMAGE_SIZE

if TYPE_CHECKING:
    from reefl_edge.checkpoints.description import ModelDescription


ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A checkpoint, a bundle, a named architecture (random weights: digits, deit_tiny, "
        "deit_small, deit_base), or a DeiT, timm, transformers or released ReeFL model: a file "
        "(.safetensors, .npz, .pth), a folder, or a hub id such as owner/name (the hub has 3 s to "
        "answer, or HF_HUB_ETAG_TIMEOUT).",
    ),
]
ArtifactRuntime = Annotated[
    str | None,
    typer.Option(
        "--runtime", help="onnx, executorch or eager.  [default: onnx where the bundle has it]"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]
# What every generator of random numbers here takes as a seed.
_MAX_SEED = 2**32 - 1
# More than any device has memory for.
MAX_BATCH_SIZE = 65_536
_MAX_IMAGES = 1_000_000

NumImages = Annotated[
    int | None,
    typer.Option(
        "--num-images",
        min=1,
        max=_MAX_IMAGES,
        help="How many images to take of --data and --calibration each.  [default: 128]",
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, max=_MAX_SEED, help="Of everything random.")]
NumClasses = Annotated[
    int | None,
    typer.Option(
        "--num-classes",
        min=1,
        max=MAX_CLASSES,
        help="Classes, where MODEL does not say: a backbone needs it.  "
        "[default for a name: 1000; digits: 10]",
    ),
]
NumExits = Annotated[
    int | None,
    typer.Option(
        "--num-exits",
        min=1,
        max=MAX_BLOCKS,
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
        max=MAX_IMAGE_SIZE,
        help="Edge of the image in pixels; the position embedding is interpolated.  "
        "[default: MODEL's own]",
    ),
]
MaxExit = Annotated[
    int | None,
    typer.Option("--max-exit", min=0, help="The deepest exit to keep, counted from 0."),
]


def fitting_threads(threads: int | None) -> int | None:
    """Refuse more threads than this machine has cores."""
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
        callback=fitting_threads,
        help="Threads to compute with.  [default: one per core]",
    ),
]
DeviceThreads = Annotated[
    int | None,
    typer.Option(
        "--threads", min=1, help="Threads to compute with.  [default: one per core there]"
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


def model_description(*, exit_blocks: str | None, **description: Any) -> "ModelDescription":
    """Return what the options say of MODEL, checked against each other."""
    from reefl_edge.checkpoints.description import ModelDescription

    with usage_errors("--exit-blocks"):
        blocks = None if exit_blocks is None else tuple(map(parse_whole, split_list(exit_blocks)))
        return ModelDescription(exit_blocks=blocks, **description)


def check_output(
    output: Path | None,
    *inputs: Path | str | None,
    is_folder: bool = False,
    option: str = "--output",
) -> None:
    """Refuse, before any work, an output that cannot be written or would destroy an input.

    Args:
        output: What ``option`` names; None is never refused.
        inputs: Whatever the command reads, as typed: a path, with a split behind it or not, or a
            name of something else.
        is_folder: The output is a folder.
        option: The option's name.

    Raises:
        BadParameter: It is an input, or no name of a file, or of a folder.
        OSError: The system does not let us write there.
    """
    from reefl_edge.data.reading import split_of
    from reefl_edge.files import check_output_file, check_output_folder

    if output is None:
        return
    paths = [split_of(Path(each))[0] for each in inputs if each]
    check = check_output_folder if is_folder else check_output_file
    with usage_errors(option):
        check(output, inputs=[path for path in paths if path.exists()])


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


def split_list(text: str) -> list[str]:
    """Return the words of a list that is separated by commas.

    >>> split_list("onnx, coreml")
    ['onnx', 'coreml']

    Raises:
        ValueError: One is empty, or all are.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise ValueError(f"{text!r} names nothing, or has a comma too many")
    return words


def parse_whole(text: str) -> int:
    """Return a whole number.

    Raises:
        ValueError: ``text`` is none, or a very long one.
    """
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise ValueError(f"{text[:40]!r} is no whole number")
    return int(text)


def refuse(option: str, message: str) -> NoReturn:
    """Refuse how an option is used.

    Raises:
        BadParameter: Always.
    """
    raise typer.BadParameter(message, param_hint=f"'{option}'")


def parse_option(text: str, known: Iterable[Name], option: str, *, kind: str) -> Name:
    """Return the known name that an option is given.

    Raises:
        BadParameter: It is none of them.
    """
    with usage_errors(option):
        return parse_name(text, known, kind=kind)


def parse_optional(
    text: str | None, known: Iterable[Name], option: str, *, kind: str
) -> Name | None:
    """Return the known name that an option is given; None where it is not given.

    Raises:
        BadParameter: It is none of them.
    """
    return None if text is None else parse_option(text, known, option, kind=kind)


def parse_list(
    text: str | None, known: Iterable[Name], option: str, *, kind: str
) -> tuple[Name, ...]:
    """Return the known names that an option lists, separated by commas; () where it is not given.

    Raises:
        BadParameter: One is none of them, or is empty.
    """
    if text is None:
        return ()
    with usage_errors(option):
        return tuple(parse_name(word, known, kind=kind) for word in split_list(text))


def check_threshold(threshold: float | None) -> None:
    """Refuse a threshold outside (0, 1]."""
    from reefl_edge.adaptive import ConfidencePolicy

    with usage_errors("--threshold"):
        ConfidencePolicy((1.0 if threshold is None else threshold,))


def check_num_images(num_images: int | None, *sources: object) -> None:
    """Refuse a number of images where none are read.

    Raises:
        BadParameter: It is given, and no source.
    """
    if num_images is not None and all(source is None for source in sources):
        refuse("--num-images", "it counts images of --data and --calibration; give one")
