"""What is a ViT or DeiT file of Hugging Face transformers?

A backbone with query, key and value apart, behind a prefix where the class has a head of its own.
Files keep the names of transformers 4; the modules of transformers 5 bear others, and so does a
state dict saved without ``save_pretrained``.

Source: transformers 5.23, models/vit/modeling_vit.py and models/deit/modeling_deit.py, executed.
"""

from collections.abc import Collection, Mapping

from reefl_edge.checkpoints.foreign.layout import Layout, Part, stacked
from reefl_edge.submodel import ArraySpec

_PREFIXES = ("", "vit.", "deit.")

_STEM = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
}
# Of the modules of a block, ours to theirs.
_FILE_BLOCK: Mapping[str, tuple[str, ...]] = {
    "norm1": ("layernorm_before",),
    "attn.qkv": (
        "attention.attention.query",
        "attention.attention.key",
        "attention.attention.value",
    ),
    "attn.proj": ("attention.output.dense",),
    "norm2": ("layernorm_after",),
    "mlp.fc1": ("intermediate.dense",),
    "mlp.fc2": ("output.dense",),
}
_MODULE_BLOCK: Mapping[str, tuple[str, ...]] = {
    "norm1": ("layernorm_before",),
    "attn.qkv": ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
    "attn.proj": ("attention.o_proj",),
    "norm2": ("layernorm_after",),
    "mlp.fc1": ("mlp.fc1",),
    "mlp.fc2": ("mlp.fc2",),
}


def huggingface_layout(names: Collection[str]) -> Layout | None:
    """Return the layout of a transformers file that holds these names; None if it is none."""
    for prefix in _PREFIXES:
        if f"{prefix}embeddings.cls_token" in names:
            has_module_names = f"{prefix}layers.0.layernorm_before.weight" in names
            return _layout(prefix, has_module_names=has_module_names)
    return None


def _layout(prefix: str, *, has_module_names: bool) -> Layout:
    block_table = _MODULE_BLOCK if has_module_names else _FILE_BLOCK
    blocks = "layers" if has_module_names else "encoder.layer"

    def parts(spec: ArraySpec) -> tuple[Part, ...]:
        if spec.name in _STEM:
            return (Part(prefix + _STEM[spec.name], spec.shape),)
        module, _, kind = spec.name.rpartition(".")
        if not module.startswith("blocks."):
            return (Part(f"{prefix}{_STEM[module]}.{kind}", spec.shape),)
        _, number, ours = module.split(".", 2)
        theirs = tuple(f"{prefix}{blocks}.{number}.{name}.{kind}" for name in block_table[ours])
        return stacked(theirs, spec.shape)

    dropped = (f"{prefix}layernorm.", f"{prefix}pooler.", f"{prefix}embeddings.mask_token")
    return Layout(title="Hugging Face transformers", parts=parts, dropped=(*dropped, "classifier."))
