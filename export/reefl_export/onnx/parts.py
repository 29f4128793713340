"""Of which parts do the segments consist, and how is each kind of part traced once for all?

A segment is a chain of parts: the *stem* once, then for every block the *block* itself and the
accumulator's *step* behind it. Blocks differ in nothing but their arrays, steps in nothing but the
row of the depth embedding that they read: so one of each kind is traced, all in one program, and
``assembly`` puts it in place as often as it occurs.

Letters: B batch, N tokens, D width, A the accumulator's attention width, l blocks so far.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.func import functional_call

from reefl_edge.models.accumulator import Cache
from reefl_edge.models.preprocess import normalise
from reefl_edge.models.reefl import ReeFL
from reefl_edge.submodel import Architecture, Segment
from reefl_export.segments import FORMS, trace

# Sizes to trace with; unlike each other, and unlike one, which would be taken for granted.
_BATCH_SIZE = 3
NUM_SEEN = 5


Sort = Literal["stem", "block", "step"]


@dataclass(frozen=True, slots=True)
class Kind:
    """What parts that are alike have in common.

    Attributes:
        sort: A stem takes images (B, H, W, 3) and gives tokens (B, N, D); a block takes and gives
            tokens; a step takes tokens, two rows of the depth embedding (2, D), and the keys and
            values so far (B, l, A), and gives tokens, keys and values.
        variant: Of blocks: which of the distinct ones, counted from 0.
        is_first: Of steps: there are no keys and values yet.
        is_exit: Of steps: it gives logits, too.
        is_last: Of steps: nothing follows, and it gives logits alone.
    """

    sort: Sort
    variant: int | None = None
    is_first: bool = False
    is_exit: bool = False
    is_last: bool = False

    @property
    def name(self) -> str:
        """A name of its own."""
        words = [word for word in ("first", "exit", "last") if getattr(self, f"is_{word}")]
        number = "" if self.variant is None else str(self.variant)
        return "_".join(filter(None, (self.sort, number, *words)))

    @property
    def num_inputs(self) -> int:
        """How many arrays it takes."""
        if self.sort == "step":
            return 2 if self.is_first else 4
        return 1

    @property
    def num_outputs(self) -> int:
        """How many arrays it gives."""
        return 3 + self.is_exit if self.sort == "step" and not self.is_last else 1


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a segment: its kind, and the block whose arrays, or depth row, it reads."""

    kind: Kind
    block_index: int = 0


STEM = Kind("stem")


def parts_of(network: ReeFL, segment: Segment) -> Iterator[Part]:
    """Give the parts of a segment, in order."""
    if segment.exit_index == 0:
        yield Part(STEM)
    for block_index in segment.blocks:
        yield Part(Kind("block", _variant_of(network, block_index)), block_index)
        is_exit = block_index == network.exit_blocks[segment.exit_index]
        yield Part(Kind("step", is_first=block_index == 0, is_exit=is_exit), block_index)


def _variant_of(network: ReeFL, block_index: int) -> int:
    """Return which of the distinct blocks a block is like, counted from 0."""
    signatures = [_signature(block) for block in network.blocks]
    return list(dict.fromkeys(signatures)).index(signatures[block_index])


def _signature(block: nn.Module) -> tuple[str, tuple[tuple[str, tuple[int, ...]], ...]]:
    arrays = tuple((name, tuple(array.shape)) for name, array in block.state_dict().items())
    return repr(block), arrays


def trace_kinds(network: ReeFL) -> tuple[list[Kind], ExportedProgram]:
    """Trace every kind of part of a network, side by side in one program.

    Returns:
        The kinds, and a program that takes the inputs of each, one kind after the other, and gives
        what each gives: tokens, keys, values, logits, as far as it has them. Its arrays are those
        of a network whose blocks are the first of each kind.
    """
    parts = (part for segment in network.submodel.segments() for part in parts_of(network, segment))
    kinds = list(dict.fromkeys(part.kind for part in parts))
    inputs = {kind.name: example(network.submodel.architecture, kind) for kind in kinds}
    return kinds, trace(_SideBySide(network, kinds), (inputs,), forms=FORMS["onnx"])


class _SideBySide(nn.Module):
    def __init__(self, network: ReeFL, kinds: list[Kind]) -> None:
        super().__init__()
        self.inside = Parts(network)
        self._kinds = kinds

    def forward(self, inputs: dict[str, tuple[Tensor, ...]]) -> dict[str, tuple[Tensor, ...]]:
        return {kind.name: self.inside(kind, *inputs[kind.name]) for kind in self._kinds}


class Parts(nn.Module):
    """A network of which one part is run at a time, of the first of its kind.

    Args:
        network: The whole network.
    """

    def __init__(self, network: ReeFL) -> None:
        super().__init__()
        self.accumulating = _Accumulating(_with_first_blocks(network))

    def forward(self, kind: Kind, entering: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """Run a kind of part on what it takes."""
        network = self.accumulating.network
        match kind.sort:
            case "stem":
                architecture = network.submodel.architecture
                images = normalise(entering, architecture.mean, architecture.std)
                return (network.embed(images),)
            case "block":
                assert kind.variant is not None  # blocks have one
                return (network.blocks[kind.variant](entering),)
            case "step":
                rows, *cache = others
                outputs: tuple[Tensor, ...] = functional_call(
                    self.accumulating,
                    {"network.accumulator.depth_embedding": rows},
                    (entering, *cache),
                    {"is_exit": kind.is_exit},
                )
                return outputs[-1:] if kind.is_last else outputs


class _Accumulating(nn.Module):
    """A network of which only what follows a block is run.

    As after the first block: that reads the second row of a depth embedding, which whoever calls
    this brings along.
    """

    def __init__(self, network: ReeFL) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor, *cache: Tensor, is_exit: bool) -> tuple[Tensor, ...]:
        seen = Cache(*cache) if cache else None
        tokens, seen, logits = self.network.accumulate(tokens, seen, 0, is_exit=is_exit)
        return (tokens, *seen) if logits is None else (tokens, *seen, logits)


def _with_first_blocks(network: ReeFL) -> ReeFL:
    """Return a network of the same modules, with the first block of each kind: less to trace."""
    architecture = network.submodel.architecture
    signatures = [_signature(block) for block in network.blocks]
    indices = [signatures.index(signature) for signature in dict.fromkeys(signatures)]
    first = ReeFL(
        width=architecture.width,
        num_tokens=architecture.num_tokens,
        patch_embed=network.patch_embed,
        blocks=[network.blocks[index] for index in indices],
        accumulator=network.accumulator,
        classifier=network.classifier,
        exit_blocks=network.exit_blocks,
        submodel=network.submodel,
    )
    first.cls_token, first.pos_embed = network.cls_token, network.pos_embed
    return first.eval()


def example(
    architecture: Architecture, kind: Kind, *, batch_size: int = _BATCH_SIZE
) -> tuple[Tensor, ...]:
    """Return what a kind of part takes."""
    edge, width = architecture.image_size, architecture.width
    if kind.sort == "stem":
        return (torch.zeros(batch_size, edge, edge, 3, dtype=torch.uint8),)
    tokens = torch.zeros(batch_size, architecture.num_tokens, width)
    # Not one array twice: the tracer would take them for the same.
    keys, values = torch.zeros(2, batch_size, NUM_SEEN, architecture.accumulator_width).unbind()
    return (tokens, torch.zeros(2, width), keys, values)[: kind.num_inputs]
