"""Which architecture has the arrays of a foreign file?

Everything but the number of heads is in the shapes; DeiT's and ViT's heads are 64 wide.

Letters: C classes, D width, H hidden width of the MLP, N tokens, P patch size.
"""

from math import isqrt, nextafter

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.checkpoints.description import ModelDescription
from reefl_edge.checkpoints.foreign.config import FolderConfig
from reefl_edge.checkpoints.foreign.layout import Layout
from reefl_edge.errors import InputError
from reefl_edge.submodel import Architecture, Shape

_HEAD_WIDTH = 64


class Shapes:
    """The shapes in a foreign file, asked for by our names."""

    def __init__(self, arrays: Arrays, layout: Layout, *, source: str) -> None:
        self.source = source
        self._arrays = arrays
        self._layout = layout

    def of(self, name: str, *, num_axes: int) -> Shape:
        """Return the shape of what is our ``name``.

        Raises:
            InputError: It is missing, or has another number of axes.
        """
        theirs = self._layout.name_of(name)
        if theirs not in self._arrays:
            raise InputError(f"{self.source}: {theirs} is missing")
        shape = self._arrays[theirs].shape
        if len(shape) != num_axes:
            raise InputError(f"{self.source}: {theirs} has {len(shape)} axes, not {num_axes}")
        return shape

    def depth(self) -> int:
        """Return how many blocks there are, counting to the last of which there is anything."""
        indices = range(len(self._arrays))
        names = ((index, f"blocks.{index}.norm1.weight") for index in indices)
        return 1 + max(
            (i for i, name in names if self._layout.name_of(name) in self._arrays), default=-1
        )


def architecture_of(
    shapes: Shapes,
    description: ModelDescription,
    config: FolderConfig,
    *,
    num_blocks: int,
    num_classes: int,
) -> Architecture:
    """Return the architecture of a file's arrays.

    Args:
        shapes: What the file holds.
        description: What the caller says of it.
        config: What the files beside it say.
        num_blocks: Blocks of the whole backbone.
        num_classes: Classes, C.

    Raises:
        InputError: The arrays do not fit together.
        ValueError: The caller says another number of heads than they can have.
    """
    width, _, patch_size, _ = shapes.of("patch_embed.proj.weight", num_axes=4)  # (D, 3, P, P)
    _, num_tokens, _ = shapes.of("pos_embed", num_axes=3)  # (1, N, D)
    hidden_width, _ = shapes.of("blocks.0.mlp.fc1.weight", num_axes=2)  # (H, D)
    if description.num_heads is not None and width % description.num_heads:
        raise ValueError(f"width {width} is not a multiple of {description.num_heads} heads")
    if num_tokens < 2 or min(width, hidden_width) < 1:
        raise InputError(f"{shapes.source}: its arrays are empty")
    grid = isqrt(num_tokens - 1)
    if grid**2 != num_tokens - 1:
        raise InputError(f"{shapes.source}: {num_tokens - 1} patches are no square image")
    mean, std = config.normalisation
    try:
        return Architecture(
            width=width,
            num_heads=_heads(description, config, width),
            num_blocks=num_blocks,
            patch_size=patch_size,
            image_size=grid * patch_size,
            num_classes=num_classes,
            mean=mean if description.mean is None else description.mean,
            std=std if description.std is None else description.std,
            mlp_ratio=_ratio(hidden_width, width),
        )
    except ValueError as error:
        raise InputError(f"{shapes.source}: {error}") from error


def _heads(description: ModelDescription, config: FolderConfig, width: int) -> int:
    for said in (description.num_heads, config.num_heads):
        if said is not None:
            return said
    if width % _HEAD_WIDTH:
        raise ValueError(
            f"a width of {width} is no multiple of {_HEAD_WIDTH}, the width of DeiT's heads; "
            "say how many heads there are: num_heads (--num-heads)"
        )
    return width // _HEAD_WIDTH


def _ratio(hidden_width: int, width: int) -> float:
    """Return the ratio that gives ``hidden_width`` when multiplied out and cut to an integer."""
    ratio = hidden_width / width
    return ratio if int(width * ratio) == hidden_width else nextafter(ratio, float("inf"))
