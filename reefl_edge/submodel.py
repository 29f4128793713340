"""What is the part of a ReeFL network that one client trains and runs?

A *sub-model* is a backbone cut after an exit block, with the accumulator and the classifier that
all exits share. This torch-free description is the one source from which the network, the exported
chain of segments, the training step, the cost per depth and the arrays that travel are derived.

Shape letters: B batch, H and W image size, N tokens, D width, C classes.
Source: ReeFL, Lee et al. 2024, and its released code (royson/reefl, commit 61b18c1).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from reefl_edge.regimes import REGIMES as REGIMES
from reefl_edge.regimes import Regime as Regime
from reefl_edge.regimes import block_adapters, folds, has_adapters, is_trained, stem_adapters
from reefl_edge.sizes import MAX_ELEMENTS
from reefl_edge.sizes import Architecture as Architecture
from reefl_edge.sizes import ExitSchedule as ExitSchedule

DType = Literal["uint8", "float32", "int64", "bool"]
Shape = tuple[int, ...]
BatchShape = tuple[Literal["batch"] | int, ...]


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
