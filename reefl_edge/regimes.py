"""Which arrays does a fine-tuning regime add, train and send?

A *regime* is one of six. ``full`` and ``frozen`` work on the plain arrays; the other four add
*adapters*, arrays of their own beside what they adapt, and leave the backbone as it is. Every
regime trains the accumulator and the classifier. Torch-free: the modules are in
``models/adapters.py``.

Letters: N a block's number, D width, H hidden width of a block's MLP, r rank (32).
Source: royson/reefl 61b18c1, the constants included.
"""

from collections.abc import Iterator
from typing import Literal, assert_never, get_args

Regime = Literal["full", "frozen", "lora", "parallel-adapter", "serial-adapter", "ssf"]
REGIMES: tuple[Regime, ...] = get_args(Regime)

# Rank of LoRA and width of the bottleneck adapters, r.
ADAPTER_RANK = 32
# What LoRA's product counts beside the weight it adapts: alpha 64 over rank 32.
LORA_SCALING = 2.0

# The accumulator's and the classifier's arrays; every regime trains them.
_SHARED_PREFIXES = ("accumulator.", "classifier.")
_ADAPTER_MODULES = ("lora_q", "lora_v", "attn_adapter", "mlp_adapter", "ssf")


def is_trained(name: str, regime: Regime) -> bool:
    """Tell whether ``regime`` trains the array called ``name``, which then also travels.

    Source: royson/reefl 61b18c1; the head there is part of the accumulator.
    """
    match regime:
        case "full":
            return True
        case "frozen":
            return name.startswith(_SHARED_PREFIXES)
        case "lora" | "parallel-adapter" | "serial-adapter" | "ssf":
            return name.startswith(_SHARED_PREFIXES) or is_adapter(name)
        case _:
            assert_never(regime)


def is_adapter(name: str) -> bool:
    """Tell whether an array belongs to an adapter, of whatever regime."""
    return any(part.startswith(_ADAPTER_MODULES) for part in name.split("."))


def has_adapters(regime: Regime) -> bool:
    """Tell whether a regime adds arrays to the plain ones."""
    return regime not in ("full", "frozen")


def folds(regime: Regime) -> bool:
    """Tell whether a regime's adapters are linear, so that the plain arrays can absorb them."""
    return regime in ("lora", "ssf")


def stem_adapters(regime: Regime, *, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name and shape of every adapter array outside the blocks."""
    if regime == "ssf":
        yield from _ssf("patch_embed.ssf", width)
        yield from _ssf("classifier.ssf", width)


def block_adapters(
    regime: Regime, block: str, *, width: int, mlp_width: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name and shape of every adapter array of one block.

    Args:
        regime: Which adapters.
        block: The block's name, such as ``blocks.3``.
        width: Length of a token, D.
        mlp_width: Hidden width of a block's MLP, H.
    """
    match regime:
        case "full" | "frozen":
            return
        case "lora":
            for part in ("lora_q", "lora_v"):
                yield f"{block}.attn.{part}.a", (ADAPTER_RANK, width)
                yield f"{block}.attn.{part}.b", (width, ADAPTER_RANK)
        case "parallel-adapter" | "serial-adapter":
            for adapter in ("attn_adapter", "mlp_adapter"):
                yield f"{block}.{adapter}.down.weight", (ADAPTER_RANK, width)
                yield f"{block}.{adapter}.down.bias", (ADAPTER_RANK,)
                yield f"{block}.{adapter}.up.weight", (width, ADAPTER_RANK)
                yield f"{block}.{adapter}.up.bias", (width,)
        case "ssf":
            for site in ("ssf_norm1", "attn.ssf_q", "attn.ssf_k", "attn.ssf_v", "attn.ssf_proj"):
                yield from _ssf(f"{block}.{site}", width)
            yield from _ssf(f"{block}.ssf_norm2", width)
            yield from _ssf(f"{block}.mlp.ssf_fc1", mlp_width)
            yield from _ssf(f"{block}.mlp.ssf_fc2", width)
        case _:
            assert_never(regime)


def _ssf(site: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{site}.scale", (width,)
    yield f"{site}.shift", (width,)
