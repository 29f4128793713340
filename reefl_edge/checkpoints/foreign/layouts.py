"""Whose file is it? Told by a few of its names."""

from collections.abc import Collection

from reefl_edge.checkpoints.foreign.deit import DEIT
from reefl_edge.checkpoints.foreign.huggingface import huggingface_layout
from reefl_edge.checkpoints.foreign.layout import Layout
from reefl_edge.checkpoints.foreign.released import RELEASED
from reefl_edge.errors import InputError

# A distilled DeiT has a second class token, which every other token attends to.
_DISTILLED = ("dist_token", "head_dist.", "distillation_token", "distillation_classifier.")


def layout_of(names: Collection[str], *, source: str) -> Layout:
    """Return the layout of a file that holds arrays of these names.

    Raises:
        InputError: No known layout has them, or they are those of a distilled DeiT.
    """
    for name in names:
        if any(mark in name for mark in _DISTILLED):
            raise InputError(
                f"{source} is a distilled DeiT ({name}), which has a token more than ReeFL's "
                "backbone: not supported; take the one without distillation"
            )
    if "accumulator.client_token" in names:
        return RELEASED
    if "cls_token" in names and "blocks.0.attn.qkv.weight" in names:
        return DEIT
    if (layout := huggingface_layout(names)) is not None:
        return layout
    some = ", ".join(sorted(names)[:3]) or "nothing"
    raise InputError(
        f"{source} is in no known layout (reefl-edge, the released ReeFL code, DeiT, timm, "
        f"Hugging Face transformers): it holds {some}{', ...' if len(names) > 3 else ''}"
    )
