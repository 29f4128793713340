"""How large is a network, where are its exits, and how large may it be at most?

The sizes of a full network, whatever depth of it a client runs; ``submodel`` cuts it. Bounds hold
for what a file says and for what an option says alike.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Self

# What a file or an option may say: many times the largest vision transformers there are (ViT-22B,
# Dehghani et al. 2023, is 6,144 wide and 48 blocks deep), and little enough to be refused at once.
MAX_WIDTH = 16_384
MAX_BLOCKS = 1_024
MAX_IMAGE_SIZE = 4_096
MAX_CLASSES = 1_000_000
MAX_RATIO = 64.0
# Of a channel's mean, and of its deviation and the inverse of that: far inside of float32.
MAX_CHANNEL = 1e6
# Of the weights together, and of anything computed of one image: 4 GiB in float32, which the
# devices that this is for do not have. DeiT-Base has 0.09 of 1.07 billion.
MAX_ELEMENTS = 2**30

_LARGEST_SIZES = {
    "width": MAX_WIDTH,
    "num_heads": MAX_WIDTH,
    "num_blocks": MAX_BLOCKS,
    "patch_size": MAX_IMAGE_SIZE,
    "image_size": MAX_IMAGE_SIZE,
    "num_classes": MAX_CLASSES,
    "accumulator_width": MAX_WIDTH,
    "accumulator_heads": MAX_WIDTH,
}


def check_within(name: str, *values: float, smallest: float, largest: float) -> None:
    """Hold numbers to a range.

    Raises:
        ValueError: One is outside, or is not a number.
    """
    for value in values:
        if not smallest <= value <= largest:  # also refuses NaN
            raise ValueError(f"{name} must be from {smallest} to {largest}, got {value}")


def check_mean(mean: tuple[float, float, float]) -> None:
    """Hold the mean of each channel to what float32 can work with; ``ValueError`` if it cannot."""
    check_within("mean", *mean, smallest=-MAX_CHANNEL, largest=MAX_CHANNEL)


def check_std(std: tuple[float, float, float]) -> None:
    """Hold the deviation of each channel likewise; pixels are divided by it."""
    check_within("std", *std, smallest=1 / MAX_CHANNEL, largest=MAX_CHANNEL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The sizes of a full network, whatever depth of it a client runs.

    Attributes:
        width: Length of a token, D.
        num_heads: Attention heads of a block.
        num_blocks: Blocks of the whole backbone.
        patch_size: Edge of a square patch, in pixels.
        image_size: Edge of the square image, in pixels.
        num_classes: Classes, C.
        mean: Mean of each channel, of pixels scaled to [0, 1].
        std: Standard deviation of each channel, of pixels scaled to [0, 1].
        mlp_ratio: Hidden width of a block's MLP over ``width``.
        accumulator_width: Inner width of the accumulator's attention.
        accumulator_heads: Heads of the accumulator's attention.
        accumulator_mlp_ratio: Hidden width of the accumulator's MLP over ``width``.
    """

    width: int
    num_heads: int
    num_blocks: int
    patch_size: int
    image_size: int
    num_classes: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    mlp_ratio: float = 4.0
    accumulator_width: int = 16
    accumulator_heads: int = 8
    accumulator_mlp_ratio: float = 1.35

    def __post_init__(self) -> None:
        for name, largest in _LARGEST_SIZES.items():
            check_within(name, getattr(self, name), smallest=1, largest=largest)
        for name in ("mlp_ratio", "accumulator_mlp_ratio"):
            check_within(name, getattr(self, name), smallest=0, largest=MAX_RATIO)
        for name in ("mlp_width", "accumulator_mlp_width"):
            check_within(name, getattr(self, name), smallest=1, largest=MAX_WIDTH * MAX_RATIO)
        check_mean(self.mean)
        check_std(self.std)
        self._check_multiples()
        self._check_activations()

    def _check_multiples(self) -> None:
        if self.width % self.num_heads:
            raise ValueError(f"width {self.width} is not a multiple of {self.num_heads} heads")
        if self.accumulator_width % self.accumulator_heads:
            raise ValueError(
                f"accumulator width {self.accumulator_width} is not a multiple of "
                f"{self.accumulator_heads} heads"
            )
        if self.image_size % self.patch_size:
            raise ValueError(
                f"image size {self.image_size} is not a multiple of patch size {self.patch_size}"
            )

    def _check_activations(self) -> None:
        """Hold what a block computes of one image to what fits into memory."""
        largest = max(self.num_heads * self.num_tokens, self.mlp_width, 3 * self.width)
        if self.num_tokens * largest > MAX_ELEMENTS:
            raise ValueError(
                f"image size {self.image_size} in patches of {self.patch_size} makes "
                f"{self.num_tokens} tokens: a block would compute {self.num_tokens * largest} "
                f"numbers at once, and at most {MAX_ELEMENTS} (4 GiB) are supported"
            )

    @property
    def num_tokens(self) -> int:
        """Tokens of one image: its patches and the class token, N."""
        return (self.image_size // self.patch_size) ** 2 + 1

    @property
    def mlp_width(self) -> int:
        """Hidden width of a block's MLP."""
        return int(self.width * self.mlp_ratio)

    @property
    def accumulator_mlp_width(self) -> int:
        """Hidden width of the accumulator's MLP (518 for a width of 384)."""
        return int(self.width * self.accumulator_mlp_ratio)


@dataclass(frozen=True, slots=True)
class ExitSchedule:
    """The block each exit reads, shallowest exit first."""

    blocks: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.blocks) > MAX_BLOCKS:
            raise ValueError(f"at most {MAX_BLOCKS} exits are supported, got {len(self.blocks)}")
        if not self.blocks or self.blocks[0] < 0:
            raise ValueError(f"exit blocks must be non-negative, got {self.blocks}")
        if any(deeper <= block for block, deeper in pairwise(self.blocks)):
            raise ValueError(f"exit blocks must increase, got {self.blocks}")

    @classmethod
    def evenly_spaced(cls, *, num_blocks: int, num_exits: int) -> Self:
        """Spread exits over the backbone, the last one after the final block.

        >>> ExitSchedule.evenly_spaced(num_blocks=12, num_exits=4).blocks
        (2, 5, 8, 11)

        Raises:
            ValueError: ``num_blocks`` is not a multiple of ``num_exits``, or out of range.
        """
        check_within("num_blocks", num_blocks, smallest=1, largest=MAX_BLOCKS)
        if num_exits < 1 or num_blocks % num_exits:
            raise ValueError(f"cannot spread {num_exits} exits over {num_blocks} blocks")
        step = num_blocks // num_exits
        return cls(tuple(range(step - 1, num_blocks, step)))

    @property
    def num_exits(self) -> int:
        """Exits of the whole network."""
        return len(self.blocks)
