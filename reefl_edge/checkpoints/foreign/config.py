"""What do the small files beside the weights say, in a folder of transformers or timm?

``config.json`` of transformers has the number of heads, that of timm how pixels are normalised;
``preprocessor_config.json`` of transformers has that too. All of it is optional.
"""

from dataclasses import dataclass
from pathlib import Path

from reefl_edge import schema
from reefl_edge.architectures import IMAGENET_MEAN, IMAGENET_STD
from reefl_edge.checkpoints.description import Channels
from reefl_edge.errors import InputError

# The weights themselves, in a folder or on the hub: the first of these that is there.
WEIGHTS_NAMES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class _TimmConfig:
    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD


@dataclass(frozen=True, slots=True, kw_only=True)
class _ModelConfig:
    num_attention_heads: int | None = None
    hidden_act: str = "gelu"
    qkv_bias: bool = True
    pretrained_cfg: _TimmConfig | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _PreprocessorConfig:
    image_mean: Channels
    image_std: Channels


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderConfig:
    """What the files beside the weights say.

    Attributes:
        num_heads: Attention heads of a block; None if they do not say.
        normalisation: Mean and standard deviation of each channel; ImageNet's if they do not say.
        says_normalisation: They say it.
    """

    num_heads: int | None = None
    normalisation: tuple[Channels, Channels] = (IMAGENET_MEAN, IMAGENET_STD)
    says_normalisation: bool = False


def read_config(folder: Path) -> FolderConfig:
    """Read what there is beside the weights in ``folder``.

    Raises:
        InputError: A file is damaged, or describes blocks that compute something else than ours.
    """
    path = folder / "config.json"
    model = schema.read_json(_ModelConfig, path) if path.is_file() else _ModelConfig()
    if model.hidden_act != "gelu" or not model.qkv_bias:
        raise InputError(
            f"{path}: blocks with {model.hidden_act} and "
            f"{'a' if model.qkv_bias else 'no'} bias of query, key and value; "
            "ours have gelu and a bias"
        )
    said = _normalisation(folder / "preprocessor_config.json", model)
    return FolderConfig(
        num_heads=model.num_attention_heads,
        normalisation=said or (IMAGENET_MEAN, IMAGENET_STD),
        says_normalisation=said is not None,
    )


def _normalisation(
    preprocessor_path: Path, model: _ModelConfig
) -> tuple[Channels, Channels] | None:
    """Return mean and standard deviation of each channel; None where no file says them."""
    if preprocessor_path.is_file():
        preprocessor = schema.read_json(_PreprocessorConfig, preprocessor_path)
        return preprocessor.image_mean, preprocessor.image_std
    if model.pretrained_cfg is not None:
        return model.pretrained_cfg.mean, model.pretrained_cfg.std
    return None
