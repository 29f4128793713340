"""What does an exit cost before anything is measured?

Counted from the sub-model alone, without torch: multiply-accumulates (MACs) of the matrix products
(norms, softmax and GELU are left out, as is usual), bytes of weights, bytes of activations.

What the figures for activations leave out, on purpose: workspace of a runtime, the few rows of the
accumulator, and, for a step, what the backward pass itself allocates. They are lower bounds, for
comparing depths and regimes; what memory it takes is what ``measure`` finds.

Inference is of what is deployed: LoRA and SSF are folded into the weights and cost nothing there.

Letters: B batch, N tokens, D width, A accumulator width, R rows asked of the accumulator.
Source of the reference figures for DeiT-S: royson/reefl 61b18c1, counted in the tests.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import assert_never

from reefl_edge.regimes import ADAPTER_RANK
from reefl_edge.submodel import Architecture, Segment, Submodel

_FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one run takes.

    Attributes:
        macs: Multiply-accumulates.
        weight_bytes: Weights held; in a step also the copy of the trained arrays that learns. No
            gradient outlives the moment it is used.
        activation_bytes: For inference the most that one operation and what it still needs hold;
            for a step what the forward pass keeps for the backward pass.
        written_bytes: What all operations write, one after the other; it passes through the caches.
    """

    macs: int
    weight_bytes: int
    activation_bytes: int
    written_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitCost:
    """The cost of one segment, or of all segments up to an exit.

    Attributes:
        exit_index: The exit reached.
        inference: One image.
        step: One fine-tuning step on a batch.
    """

    exit_index: int
    inference: Cost
    step: Cost


def segment_costs(submodel: Submodel, *, batch_size: int = 1) -> tuple[ExitCost, ...]:
    """Return the cost of each segment by itself.

    The arrays that all exits share count for the first segment.

    Args:
        submodel: Its regime decides what a step computes.
        batch_size: Images of a step; inference is one image.
    """
    return tuple(
        ExitCost(
            exit_index=segment.exit_index,
            inference=_inference_cost(submodel, segment),
            step=_step_cost(submodel, segment, batch_size),
        )
        for segment in submodel.segments()
    )


def exit_costs(submodel: Submodel, *, batch_size: int = 1) -> tuple[ExitCost, ...]:
    """Return the cost of running, and of training, everything up to each exit.

    Args:
        submodel: Its regime decides what a step computes.
        batch_size: Images of a step; inference is one image.
    """
    return tuple(accumulate(segment_costs(submodel, batch_size=batch_size), _continued))


def _continued(before: ExitCost, segment: ExitCost) -> ExitCost:
    """Add a segment behind those before it: activations of inference are freed, a step's kept."""
    return ExitCost(
        exit_index=segment.exit_index,
        inference=Cost(
            macs=before.inference.macs + segment.inference.macs,
            weight_bytes=before.inference.weight_bytes + segment.inference.weight_bytes,
            activation_bytes=max(
                before.inference.activation_bytes, segment.inference.activation_bytes
            ),
            written_bytes=before.inference.written_bytes + segment.inference.written_bytes,
        ),
        step=Cost(
            macs=before.step.macs + segment.step.macs,
            weight_bytes=before.step.weight_bytes + segment.step.weight_bytes,
            activation_bytes=before.step.activation_bytes + segment.step.activation_bytes,
            written_bytes=before.step.written_bytes + segment.step.written_bytes,
        ),
    )


def _inference_cost(submodel: Submodel, segment: Segment) -> Cost:
    architecture, deployed = submodel.architecture, submodel.folded()
    is_first = segment.exit_index == 0
    patches = _patch_macs(architecture) if is_first else 0
    blocks = len(segment.blocks) * (
        _block_linear_macs(architecture)
        + _block_attention_macs(architecture)
        + _adapter_macs(deployed)
    )
    shared = _shared_macs(architecture, segment)
    return Cost(
        macs=patches + blocks + shared,
        weight_bytes=_FLOAT_BYTES * sum(count for count, _ in _arrays_of(deployed, segment)),
        activation_bytes=_FLOAT_BYTES * _live_floats(architecture, is_first=is_first),
        written_bytes=_FLOAT_BYTES * _written_floats(architecture, segment),
    )


def _step_cost(submodel: Submodel, segment: Segment, batch_size: int) -> Cost:
    architecture = submodel.architecture
    patches = 0
    if segment.exit_index == 0:
        # Images need no gradient: backward is the weights' alone, if they are trained.
        patches = _patch_macs(architecture) * (2 if submodel.regime == "full" else 1)
    blocks = sum(_block_step_macs(submodel, block_index) for block_index in segment.blocks)
    # Every regime trains the accumulator and the classifier: inputs' and weights' gradients.
    shared = 3 * _shared_macs(architecture, segment)
    kept = sum(_block_kept_floats(submodel, block_index) for block_index in segment.blocks)
    return Cost(
        macs=batch_size * (patches + blocks + shared),
        weight_bytes=_FLOAT_BYTES
        * sum(2 * count if trained else count for count, trained in _arrays_of(submodel, segment)),
        activation_bytes=_FLOAT_BYTES * batch_size * kept,
        # Forward, backward to the tokens, and what is computed again or kept for it on the way.
        written_bytes=3 * _FLOAT_BYTES * batch_size * _written_floats(architecture, segment),
    )


def _arrays_of(submodel: Submodel, segment: Segment) -> Iterator[tuple[int, bool]]:
    """Yield the size of each array that this segment is the first to need, and if it is trained."""
    for spec in submodel.arrays():
        parts = spec.name.split(".")
        if parts[0] == "blocks":
            belongs = int(parts[1]) in segment.blocks
        else:
            belongs = segment.exit_index == 0
        if belongs:
            yield spec.num_elements, spec.is_trained


def _patch_macs(architecture: Architecture) -> int:
    return (architecture.num_tokens - 1) * 3 * architecture.patch_size**2 * architecture.width


def _block_linear_macs(architecture: Architecture) -> int:
    """Products of tokens with weights: qkv and proj, fc1 and fc2."""
    per_token = 4 * architecture.width**2 + 2 * architecture.width * architecture.mlp_width
    return architecture.num_tokens * per_token


def _block_attention_macs(architecture: Architecture) -> int:
    """Products of tokens with tokens: queries with keys, weights with values."""
    return 2 * architecture.num_tokens**2 * architecture.width


def _shared_macs(architecture: Architecture, segment: Segment) -> int:
    """The accumulator after every block of a segment, and the classifier at its end."""
    exit_block = segment.blocks[-1]
    return architecture.width * architecture.num_classes + sum(
        _accumulator_macs(architecture, block_index, is_exit=block_index == exit_block)
        for block_index in segment.blocks
    )


def _accumulator_macs(architecture: Architecture, block_index: int, *, is_exit: bool) -> int:
    """One call of the accumulator, in its incremental form.

    qkv of three rows (meta token, class token, modulated class token); attention from R rows to
    those of the meta token, the earlier blocks and this block; the MLP on R rows. R is 2 at an
    exit, else 1.
    """
    width, inner = architecture.width, architecture.accumulator_width
    num_rows = 2 if is_exit else 1
    num_seen = block_index + 2
    qkv = 3 * 3 * width * inner
    attention = 2 * num_rows * num_seen * inner
    per_row = width * inner + 2 * width * architecture.accumulator_mlp_width
    return qkv + attention + num_rows * per_row


def _adapter_macs(submodel: Submodel) -> int:
    """Products of tokens with the two adapters of a block, down to the rank and up again."""
    architecture = submodel.architecture
    match submodel.regime:
        case "full" | "frozen" | "ssf":  # SSF has no products
            return 0
        case "lora" | "parallel-adapter" | "serial-adapter":
            return 4 * architecture.num_tokens * architecture.width * ADAPTER_RANK
        case _:
            assert_never(submodel.regime)


def _block_step_macs(submodel: Submodel, block_index: int) -> int:
    """Forward and backward of one block, one image.

    The gradient of a product costs one product for each factor that needs one: the tokens, because
    something trained lies before this block, and the weights, if they are trained.
    """
    linear = _block_linear_macs(submodel.architecture)
    attention = _block_attention_macs(submodel.architecture)
    if submodel.regime == "full":
        return 3 * (linear + attention)
    if block_index == 0 and submodel.regime != "ssf":  # nothing trained lies before it
        return _first_block_step_macs(submodel)
    return 2 * linear + 3 * attention + 3 * _adapter_macs(submodel)


def _first_block_step_macs(submodel: Submodel) -> int:
    """Forward and backward of the first block, whose tokens need no gradient, one image.

    The backward pass ends at the first trained arrays: behind the block (frozen), at the queries
    and values but not at the keys (LoRA), behind attention (bottleneck adapters). Of an adapter
    there, the input needs no gradient.
    """
    architecture = submodel.architecture
    linear = _block_linear_macs(architecture)
    attention = _block_attention_macs(architecture)
    forward = linear + attention + _adapter_macs(submodel)
    one_product = _adapter_macs(submodel) // 4
    per_token = architecture.num_tokens * architecture.width
    mlp = 2 * per_token * architecture.mlp_width
    match submodel.regime:
        case "full" | "ssf":
            raise ValueError(f"regime {submodel.regime!r} trains something before the first block")
        case "frozen":
            return forward
        case "lora":
            proj = per_token * architecture.width
            # Attention's backward pass has four products, of half the forward pass each.
            return forward + mlp + proj + 3 * attention // 2 + 6 * one_product
        case "parallel-adapter" | "serial-adapter":
            return forward + mlp + 7 * one_product
        case _:
            assert_never(submodel.regime)


def _block_kept_floats(submodel: Submodel, block_index: int) -> int:
    """What one block keeps for its backward pass, one image.

    For the gradients of its tokens: the inputs of both norms, queries, keys, values and what
    attention gave, the input of GELU. For those of its weights also what both norms gave, and what
    GELU gave. For those of adapters, their inputs and what they hold in between.
    """
    architecture = submodel.architecture
    tokens = architecture.num_tokens * architecture.width  # (N, D)
    hidden = architecture.num_tokens * architecture.mlp_width
    narrow = architecture.num_tokens * ADAPTER_RANK
    is_first = block_index == 0  # nothing trained lies before it, but for full and SSF
    match submodel.regime:
        case "full":
            return 8 * tokens + 2 * hidden
        case "frozen":
            return 0 if is_first else 6 * tokens + hidden
        case "lora":  # LoRA's input is what the first norm gave
            return (6 if is_first else 7) * tokens + hidden + 2 * narrow
        case "parallel-adapter" | "serial-adapter":
            return (3 if is_first else 8) * tokens + hidden + 2 * narrow
        case "ssf":  # what every norm and every linear layer gave
            return 13 * tokens + 2 * hidden
        case _:
            assert_never(submodel.regime)


def _live_floats(architecture: Architecture, *, is_first: bool) -> int:
    """The most that inference of one image holds at once, in a segment."""
    tokens = architecture.num_tokens * architecture.width  # (N, D)
    # The residual, queries, keys and values, the scores, what attention gives.
    attention = 5 * tokens + architecture.num_heads * architecture.num_tokens**2
    # The residual, and the hidden layer before and after GELU.
    mlp = tokens + 2 * architecture.num_tokens * architecture.mlp_width
    pixels = 3 * architecture.image_size**2 + tokens if is_first else 0
    return max(attention, mlp, pixels)


def _written_floats(architecture: Architecture, segment: Segment) -> int:
    """What the operations of inference of one image write in a segment, the accumulator left out.

    In a block: two norms, queries, keys and values, scores and softmax, what attention and its
    projection give, two sums, the hidden layer before and after GELU, and what the MLP gives.
    """
    tokens = architecture.num_tokens * architecture.width  # (N, D)
    scores = architecture.num_heads * architecture.num_tokens**2
    hidden = architecture.num_tokens * architecture.mlp_width
    block = 10 * tokens + 2 * scores + 2 * hidden
    pixels = 3 * architecture.image_size**2 + tokens if segment.exit_index == 0 else 0
    return pixels + len(segment.blocks) * block
