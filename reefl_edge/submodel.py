"""What is the part of a ReeFL network that one client trains and runs?

A *sub-model* is a backbone cut after an exit block, with the accumulator and the classifier that
all exits share. This torch-free description is the one source from which the network, the exported
chain of segments, the training step, the cost per depth and the arrays that travel are derived.

Shape letters: B batch, H and W image size, N tokens, D width, C classes.
Source: ReeFL, Lee et al. 2024, and its released code (royson/reefl, commit 61b18c1).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, Self

from reefl_edge.regimes import REGIMES as REGIMES
from reefl_edge.regimes import Regime as Regime
from reefl_edge.regimes import block_adapters, folds, has_adapters, is_trained, stem_adapters

DType = Literal["uint8", "float32", "int64", "bool"]
Shape = tuple[int, ...]
BatchShape = tuple[Literal["batch"] | int, ...]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ArraySpec:
    """One named array of a sub-model.

    Attributes:
        name: The same in checkpoints, updates, federation and ONNX initialisers.
        shape: Its shape.
        is_trained: The regime trains it, and it travels.
        is_row_wise: Row r belongs to depth r: a client trains only the rows up to its own depth.
    """

    name: str
    shape: Shape
    is_trained: bool
    is_row_wise: bool

    @property
    def num_elements(self) -> int:
        """How many numbers the array holds."""
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor that enters or leaves a segment, or a step; ``batch`` stands for the batch axis."""

    name: str
    shape: BatchShape
    dtype: DType


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """What runs between two exits: the unit of export."""

    exit_index: int
    blocks: range
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def name(self) -> str:
        """The segment's name in every artifact, such as ``segment_2``."""
        return f"segment_{self.exit_index}"


@dataclass(frozen=True, slots=True)
class StepSignature:
    """What enters and leaves a training step that is compiled."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submodel:
    """A backbone cut after the block of ``max_exit``, with the shared accumulator and classifier.

    Attributes:
        architecture: Sizes of the full network.
        schedule: The full network's exits.
        max_exit: The deepest exit this sub-model has, 0-based.
        regime: Which of its arrays are trained.
    """

    architecture: Architecture
    schedule: ExitSchedule
    max_exit: int
    regime: Regime = "full"

    def __post_init__(self) -> None:
        if self.schedule.blocks[-1] >= self.architecture.num_blocks:
            raise ValueError(
                f"exit after block {self.schedule.blocks[-1]}, but the backbone has "
                f"{self.architecture.num_blocks} blocks"
            )
        _check_exit(self.max_exit, num_exits=self.schedule.num_exits)
        num_elements = sum(spec.num_elements for spec in self.arrays())
        if num_elements > MAX_ELEMENTS:
            raise ValueError(
                f"{num_elements} weights are too many: at most {MAX_ELEMENTS} (4 GiB) are supported"
            )

    @property
    def num_exits(self) -> int:
        """Exits this sub-model has."""
        return self.max_exit + 1

    @property
    def exit_blocks(self) -> tuple[int, ...]:
        """The block each of its exits reads."""
        return self.schedule.blocks[: self.num_exits]

    @property
    def depth(self) -> int:
        """How many blocks it has."""
        return self.exit_blocks[-1] + 1

    def cut(self, max_exit: int) -> "Submodel":
        """Return the same sub-model, cut at a shallower (or the same) exit.

        Raises:
            ValueError: ``max_exit`` is not an exit of this sub-model.
        """
        _check_exit(max_exit, num_exits=self.num_exits)
        return replace(self, max_exit=max_exit)

    def folded(self) -> "Submodel":
        """Return what is deployed: LoRA and SSF vanish in the plain arrays, other adapters stay."""
        return replace(self, regime="full") if folds(self.regime) else self

    def with_regime(self, regime: Regime) -> "Submodel":
        """Return the same sub-model under another regime, its adapters folded before.

        Raises:
            ValueError: It has adapters that do not fold, and ``regime`` has no place for them.
        """
        if regime != self.regime and has_adapters(self.folded().regime):
            raise ValueError(
                f"the model has adapters of regime {self.regime!r}, which do not fold into its "
                f"weights: it cannot be trained as {regime!r}"
            )
        return replace(self, regime=regime)

    def segments(self) -> tuple[Segment, ...]:
        """Return the chain of segments, one per exit, in the order they run."""
        starts = (0, *(block + 1 for block in self.exit_blocks[:-1]))
        return tuple(
            self._segment(exit_index, range(start, block + 1))
            for exit_index, (start, block) in enumerate(zip(starts, self.exit_blocks, strict=True))
        )

    def _segment(self, exit_index: int, blocks: range) -> Segment:
        architecture = self.architecture
        edge = architecture.image_size
        images = TensorSpec("images", ("batch", edge, edge, 3), "uint8")
        logits = TensorSpec("logits", ("batch", architecture.num_classes), "float32")
        # Only the architecture's last segment ends the chain: segment k is the same in every
        # bundle, so that a bundle can be cut at an exit without tracing anew.
        is_last = exit_index == self.schedule.num_exits - 1
        return Segment(
            exit_index=exit_index,
            blocks=blocks,
            inputs=(images,) if exit_index == 0 else self._carried(depth=blocks.start),
            outputs=(
                (logits,) if is_last else (*self._carried("next_", depth=blocks.stop), logits)
            ),
        )

    def _carried(self, prefix: str = "", *, depth: int) -> tuple[TensorSpec, ...]:
        """What one segment hands to the next, once ``depth`` blocks have run.

        No format lets an output of a graph bear the name of an input, hence the prefix.
        """
        architecture = self.architecture
        tokens: BatchShape = ("batch", architecture.num_tokens, architecture.width)
        cache: BatchShape = ("batch", depth, architecture.accumulator_width)
        return (
            TensorSpec(f"{prefix}tokens", tokens, "float32"),
            TensorSpec(f"{prefix}keys", cache, "float32"),
            TensorSpec(f"{prefix}values", cache, "float32"),
        )

    def arrays(self) -> tuple[ArraySpec, ...]:
        """Return every array of the sub-model: a name, a shape, and whether it is trained."""
        return tuple(
            ArraySpec(
                name=name,
                shape=shape,
                is_trained=is_trained(name, self.regime),
                is_row_wise=name == "accumulator.depth_embedding",
            )
            for name, shape in _array_shapes(self.architecture, self.depth, self.regime)
        )

    def trained_arrays(self) -> tuple[ArraySpec, ...]:
        """Return the arrays that the regime trains; they are what travels."""
        return tuple(spec for spec in self.arrays() if spec.is_trained)

    def step_signature(self) -> StepSignature:
        """Return what enters and leaves one training step, E exits at once.

        ``mask`` is 1 where the batch holds an example and 0 where it was filled up.
        Who teaches whom is said by ``teaches``, (E, E), unless ``best_teaches``: then the exit with
        the lowest running loss teaches all others.
        """
        num_exits, edge = self.num_exits, self.architecture.image_size
        running = TensorSpec("running_losses", (num_exits,), "float32")
        arrays = tuple(
            TensorSpec(spec.name, spec.shape, "float32") for spec in self.trained_arrays()
        )
        return StepSignature(
            inputs=(
                TensorSpec("images", ("batch", edge, edge, 3), "uint8"),
                TensorSpec("labels", ("batch",), "int64"),
                TensorSpec("mask", ("batch",), "float32"),
                running,
                TensorSpec("learning_rate", (), "float32"),
                TensorSpec("distill_weight", (), "float32"),
                TensorSpec("teaches", (num_exits, num_exits), "float32"),
                TensorSpec("best_teaches", (), "bool"),
                *arrays,
            ),
            outputs=(
                _next(running),
                TensorSpec("loss", (), "float32"),
                TensorSpec("exit_losses", (num_exits,), "float32"),
                TensorSpec("teacher_index", (), "int64"),
                *map(_next, arrays),
            ),
        )


def _next(spec: TensorSpec) -> TensorSpec:
    """Return what a tensor becomes: no format lets an output bear the name of an input."""
    return replace(spec, name=f"next_{spec.name}")


def _check_exit(exit_index: int, *, num_exits: int) -> None:
    if not 0 <= exit_index < num_exits:
        raise ValueError(
            f"no exit {exit_index}: choose one of 0 to {num_exits - 1}, the network's exits"
            if num_exits > 1
            else f"no exit {exit_index}: the network has only exit 0"
        )


def _array_shapes(
    architecture: Architecture, depth: int, regime: Regime
) -> Iterator[tuple[str, Shape]]:
    width = architecture.width
    yield "cls_token", (1, 1, width)
    yield "pos_embed", (1, architecture.num_tokens, width)
    yield (
        "patch_embed.proj.weight",
        (width, 3, architecture.patch_size, architecture.patch_size),
    )
    yield "patch_embed.proj.bias", (width,)
    for block_index in range(depth):
        block = f"blocks.{block_index}"
        yield from _norm(f"{block}.norm1", width)
        yield from _linear(f"{block}.attn.qkv", width, 3 * width)
        yield from _linear(f"{block}.attn.proj", width, width)
        yield from _norm(f"{block}.norm2", width)
        yield from _mlp(f"{block}.mlp", width, architecture.mlp_width)
        yield from block_adapters(regime, block, width=width, mlp_width=architecture.mlp_width)
    yield "accumulator.meta_token", (width,)
    # All rows at every depth: row 0 is the meta token's, row r that of block r - 1.
    yield "accumulator.depth_embedding", (architecture.num_blocks + 1, width)
    yield from _norm("accumulator.norm1", width)
    yield from _linear("accumulator.qkv", width, 3 * architecture.accumulator_width)
    yield from _linear("accumulator.proj", architecture.accumulator_width, width)
    yield from _norm("accumulator.norm2", width)
    yield from _mlp("accumulator.mlp", width, architecture.accumulator_mlp_width)
    yield from _norm("classifier.norm", width)
    yield from _linear("classifier.linear", width, architecture.num_classes)
    yield from stem_adapters(regime, width=width)


def _norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def _linear(name: str, in_width: int, out_width: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (out_width, in_width)
    yield f"{name}.bias", (out_width,)


def _mlp(name: str, width: int, hidden_width: int) -> Iterator[tuple[str, Shape]]:
    yield from _linear(f"{name}.fc1", width, hidden_width)
    yield from _linear(f"{name}.fc2", hidden_width, width)
