"""How much memory will a compiled training step take at its most, before anything runs?

One formula: the runtime itself and its graph, the weights it reads, the trained arrays, and the
activations when there are most of them, which is when the way back begins in the deepest block:
what every block keeps for its own way back, and what this one computes with. With recomputation
only the deepest block keeps more than what entered it. Physical, but for what a runtime itself
takes: a few constants each, found by ``python -m benchmarks.memory_plan``, which also says how far
predictions are off.

The peak is that of one process on one thread, above its level after the imports.

Letters: B batch, N tokens, D width, H hidden width of a block's MLP, h heads, r an adapter's rank.
"""

from typing import assert_never

from reefl_edge.bundles.artifacts import Target
from reefl_edge.regimes import ADAPTER_RANK
from reefl_edge.submodel import Submodel

_MIB = 2**20
_FLOAT_BYTES = 4

# onnxruntime: pages of its library that are touched first by a run, and what an arena does not use.
_ONNX_MIB = 24.6
# Of onnxruntime, for each block: 350 to 420 nodes (SSF's 480), each of 6 KiB.
_ONNX_BLOCK_MIB = 2.3
# ExecuTorch: its library and plan. XNNPACK packs what is not trained, for the way there and the way
# back, beside the mapped program: so many copies of it are there.
_EXECUTORCH_MIB = 22.7
_EXECUTORCH_COPIES = 2.5
# The stepper's, what goes in, its gradient, and what comes out.
_EXECUTORCH_TRAINED_COPIES = 4
# XNNPACK's workspace, to the most that is in use of it at once: arrays of other sizes leave holes.
_EXECUTORCH_WORKSPACE = 1.15
# GELU's way back holds so many arrays of the hidden width beside the one that was kept, and that of
# attention so many of its scores.
_HIDDEN_AT_WORK, _SCORES_AT_WORK = 3, 4


def predicted_peak_mib(
    submodel: Submodel, *, batch_size: int, recompute: bool, target: Target = "onnx"
) -> float:
    """Return the most memory that a compiled step takes, in MiB above the imports.

    Args:
        submodel: What is trained, under its regime.
        batch_size: Images of a step.
        recompute: Blocks are computed again on the way back, which ONNX alone can.
        target: The format.

    Raises:
        ValueError: No step is compiled to the format.
    """
    match target:
        case "onnx":
            return _onnx_peak_mib(submodel, batch_size, recompute=recompute)
        case "executorch":
            return _executorch_peak_mib(submodel, batch_size)
        case "coreml":
            raise ValueError(f"no training step is compiled to {target}")
        case _:
            assert_never(target)


def _executorch_peak_mib(submodel: Submodel, batch_size: int) -> float:
    frozen, trained, activations = executorch_terms_mib(submodel, batch_size)
    return (
        _EXECUTORCH_MIB
        + _EXECUTORCH_COPIES * frozen
        + _EXECUTORCH_TRAINED_COPIES * trained
        + _EXECUTORCH_WORKSPACE * activations
    )


def executorch_terms_mib(submodel: Submodel, batch_size: int) -> tuple[float, float, float]:
    """Return what a step on ExecuTorch holds: frozen arrays, trained ones, activations, in MiB."""
    trained, frozen = _weight_bytes(submodel)
    activations = _activation_bytes(submodel, batch_size, recompute=False)
    activations += _FLOAT_BYTES * batch_size * _also_kept_floats(submodel)
    return frozen / _MIB, trained / _MIB, activations / _MIB


def _also_kept_floats(submodel: Submodel) -> int:
    """Count what ExecuTorch keeps and ONNX computes again, one image.

    What attention weighs by, and normed rows; full training also keeps what GELU gave.
    """
    architecture = submodel.architecture
    each = architecture.num_heads * architecture.num_tokens**2
    each += 2 * architecture.num_tokens * architecture.width
    if submodel.regime == "full":
        each += architecture.num_tokens * architecture.mlp_width
    return each * sum(_kept_floats(submodel, index) > 0 for index in range(submodel.depth))


def _onnx_peak_mib(submodel: Submodel, batch_size: int, *, recompute: bool) -> float:
    trained, frozen = _weight_bytes(submodel)
    step = trained + frozen + _activation_bytes(submodel, batch_size, recompute=recompute)
    # While a training starts, its arrays are there twice: as they were read, and to be changed.
    starting = 2 * trained
    fixed = _ONNX_MIB + _ONNX_BLOCK_MIB * submodel.depth
    return fixed + max(step, starting) / _MIB


def _weight_bytes(submodel: Submodel) -> tuple[int, int]:
    """Count the trained and the frozen arrays."""
    trained = sum(spec.num_elements for spec in submodel.trained_arrays())
    every = sum(spec.num_elements for spec in submodel.arrays())
    return _FLOAT_BYTES * trained, _FLOAT_BYTES * (every - trained)


def _activation_bytes(submodel: Submodel, batch_size: int, *, recompute: bool) -> int:
    """Count what is there when the way back begins in the deepest block."""
    architecture = submodel.architecture
    tokens = architecture.num_tokens * architecture.width
    hidden = architecture.num_tokens * architecture.mlp_width
    scores = architecture.num_heads * architecture.num_tokens**2
    blocks = [_kept_floats(submodel, block_index) for block_index in range(submodel.depth)]
    kept = sum(blocks)
    if recompute:  # what the deepest attends to is computed on the way to its MLP
        kept = (submodel.depth - 1) * tokens + blocks[-1] + scores
    # First the MLP goes back; then what it kept is gone, and attention does.
    at_work = max(_HIDDEN_AT_WORK * hidden, _SCORES_AT_WORK * scores - hidden)
    patches = 0
    if submodel.regime == "full":  # for the gradient of what projects them
        patches = 3 * architecture.image_size**2
    return _FLOAT_BYTES * batch_size * (kept + at_work + patches)


def _kept_floats(submodel: Submodel, block_index: int) -> int:
    """Count what one block keeps for its way back, one image.

    What entered it, and its middle; queries, keys and values; what entered GELU. Full training also
    keeps what attention gave, and adapters what they read or hold; norms and GELU compute again.
    """
    architecture = submodel.architecture
    tokens = architecture.num_tokens * architecture.width  # (N, D)
    hidden = architecture.num_tokens * architecture.mlp_width  # (N, H)
    narrow = 2 * architecture.num_tokens * ADAPTER_RANK  # of two adapters, (N, r)
    is_first = block_index == 0  # nothing trained lies before it, but for full and SSF
    match submodel.regime:
        case "frozen":
            return 0 if is_first else hidden + 5 * tokens
        case "lora":
            return hidden + 5 * tokens + narrow
        case "parallel-adapter":
            return hidden + (2 if is_first else 5) * tokens + narrow
        case "serial-adapter":
            return hidden + (4 if is_first else 7) * tokens + narrow
        case "full":
            return hidden + 6 * tokens
        case "ssf":  # before and after every factor
            return 2 * hidden + 10 * tokens
        case _:
            assert_never(submodel.regime)
