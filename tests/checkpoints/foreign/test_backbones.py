"""DeiT, timm and transformers files become our backbone; the rest starts at random, by seed.

Letters: B batch, N tokens, D width.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file
from torch import Tensor

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.checkpoints.description import ModelDescription
from reefl_edge.checkpoints.reading import read_model_file
from reefl_edge.errors import InputError
from reefl_edge.models import ReeFL, load_checkpoint, save_checkpoint
from reefl_edge.models.arrays import arrays_of, random_network
from reefl_edge.submodel import Architecture
from tests.checkpoints.foreign.vendor import (
    DeiTConfig,
    DeiTForImageClassification,
    DeiTModel,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)
from tests.fakes.submodels import tiny_submodel

SIZES: dict[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 192,
    "image_size": 32,
    "patch_size": 8,
    "layer_norm_eps": 1e-6,  # DeiT's own; a file of weights does not say
    "attn_implementation": "eager",
}
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def _randomised(model: Any) -> Any:
    """Give every weight numbers that matter, also those that transformers starts at zero or one."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(parameter + 0.1 * noise)
    return model.eval()


def _features(network: ReeFL, tokens: Tensor) -> list[Tensor]:
    """Run our blocks as a plain ViT does, without modulation: (B, N, D) after each."""
    features = []
    for block in network.blocks:
        tokens = block(tokens)
        features.append(tokens)
    return features


@pytest.mark.parametrize("kind", [ViTModel, ViTForImageClassification])
@pytest.mark.parametrize("form", ["folder", "state_dict"])
def test_features_after_every_block_equal_those_of_transformers(
    tmp_path: Path, kind: type[Any], form: str
) -> None:
    theirs = _randomised(kind(ViTConfig(**SIZES)))
    path = tmp_path
    if form == "folder":
        theirs.save_pretrained(tmp_path)
    else:  # transformers 5 names its modules otherwise than its files
        path = tmp_path / "model.pth"
        torch.save(theirs.state_dict(), path)

    network = load_checkpoint(path, num_classes=3, num_exits=2)

    with torch.inference_mode():
        embedded = network.embed(IMAGES)
        ours = _features(network, embedded)
        expected = theirs(IMAGES, output_hidden_states=True)
        # What ends the class, and ours has not: a final norm, and the head behind it.
        if kind is ViTModel:
            ours_end, end = theirs.layernorm(ours[-1]), expected.last_hidden_state
        else:
            ours_end = theirs.classifier(theirs.vit.layernorm(ours[-1])[:, 0])
            end = expected.logits
    hidden = expected.hidden_states
    assert len(ours) == len(hidden) - 1 == 4
    for block, theirs_after in zip([embedded, *ours[:-1]], hidden, strict=False):
        torch.testing.assert_close(block, theirs_after, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours_end, end, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "prefix"), [(DeiTModel, ""), (DeiTForImageClassification, "deit.")]
)
def test_blocks_of_the_deit_class_equal_ours_but_its_distillation_token_is_refused(
    tmp_path: Path, kind: type[Any], prefix: str
) -> None:
    theirs = _randomised(kind(DeiTConfig(**SIZES)))
    state = theirs.state_dict()
    torch.save(state, tmp_path / "distilled.pth")
    # The class has no form without the second token: take it out by hand, and compare the blocks.
    del state[f"{prefix}embeddings.distillation_token"]
    positions = state[f"{prefix}embeddings.position_embeddings"]
    state[f"{prefix}embeddings.position_embeddings"] = torch.cat(
        [positions[:, :1], positions[:, 2:]], 1
    )
    torch.save(state, tmp_path / "plain.pth")

    with pytest.raises(InputError, match="is a distilled DeiT"):
        load_checkpoint(tmp_path / "distilled.pth", num_classes=3)
    network = load_checkpoint(tmp_path / "plain.pth", num_classes=3, num_exits=2)

    layers = theirs.layers if kind is DeiTModel else theirs.deit.layers
    with torch.inference_mode():
        tokens = expected = network.embed(IMAGES)
        for layer, ours in zip(layers, _features(network, tokens), strict=True):
            expected = layer(expected)
            torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


def _deit_state(*, depth: int = 4, width: int = 64, has_head: bool = True) -> Arrays:
    """Return random arrays under the names of the DeiT release and timm."""
    network = _random_backbone(depth=depth, width=width)
    head = {"norm.weight": (width,), "norm.bias": (width,), "head.weight": (1000, width)}
    extra = {name: np.zeros(shape, np.float32) for name, shape in head.items() if has_head}
    return {**network, **extra}


def _random_backbone(*, depth: int, width: int) -> Arrays:
    tiny = tiny_submodel(num_blocks=depth, num_exits=1)
    sized: Architecture = replace(tiny.architecture, width=width, num_heads=width // 64)
    arrays = arrays_of(random_network(replace(tiny, architecture=sized), seed=3))
    shared = ("accumulator.", "classifier.")
    return {name: array for name, array in arrays.items() if not name.startswith(shared)}


@pytest.mark.parametrize("suffix", ["safetensors", "npz", "pth", "wrapped.pth"])
def test_a_deit_file_keeps_its_arrays_whatever_the_kind_of_file(
    tmp_path: Path, suffix: str
) -> None:
    state = _deit_state()
    path = tmp_path / f"deit.{suffix}"
    match suffix:
        case "safetensors":
            save_file(state, path)
        case "npz":
            np.savez(path, **state)  # type: ignore[arg-type]
        case _:
            tensors = {name: torch.from_numpy(array) for name, array in state.items()}
            torch.save({"model": tensors} if suffix == "wrapped.pth" else tensors, path)

    network = load_checkpoint(path, num_classes=5, num_exits=4)

    arrays = arrays_of(network)
    for name, array in _random_backbone(depth=4, width=64).items():
        assert np.array_equal(arrays[name], array)
    assert not any(name.startswith(("norm.", "head.")) for name in arrays)
    assert arrays["classifier.linear.weight"].shape == (5, 64)
    architecture = network.submodel.architecture
    assert (architecture.num_heads, architecture.patch_size, architecture.image_size) == (1, 8, 16)
    assert architecture.mean == (0.485, 0.456, 0.406)  # ImageNet's: nothing says otherwise


def test_accumulator_and_classifier_start_the_same_for_the_same_seed(tmp_path: Path) -> None:
    path = tmp_path / "deit.safetensors"
    save_file(_deit_state(), path)

    first, again, other = (
        arrays_of(load_checkpoint(path, num_classes=5, seed=seed)) for seed in (1, 1, 2)
    )

    name = "accumulator.qkv.weight"
    assert np.array_equal(first[name], again[name])
    assert not np.array_equal(first[name], other[name])
    assert np.array_equal(first["pos_embed"], other["pos_embed"])
    fresh = read_model_file(path, ModelDescription(num_classes=5)).fresh
    assert {each.split(".")[0] for each in fresh} == {"accumulator", "classifier"}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_half_precision_is_widened(tmp_path: Path, suffix: str) -> None:
    state = {name: torch.from_numpy(array) for name, array in _deit_state().items()}
    path = tmp_path / f"deit{suffix}"
    halves = {name: tensor.bfloat16() for name, tensor in state.items()}
    (torch.save if suffix == ".pth" else save_torch_file)(halves, path)

    reading = read_model_file(path, ModelDescription(num_classes=5))

    assert {array.dtype for array in reading.arrays.values()} == {np.dtype(np.float32)}


def test_blocks_deeper_than_the_last_exit_are_left_out(tmp_path: Path) -> None:
    save_file(_deit_state(), tmp_path / "deit.safetensors")

    network = load_checkpoint(tmp_path / "deit.safetensors", num_classes=5, exit_blocks=(0, 2))

    assert (network.submodel.depth, network.submodel.architecture.num_blocks) == (3, 4)


def test_problems_of_a_backbone_are_all_listed(tmp_path: Path) -> None:
    state = _deit_state()
    del state["blocks.1.norm2.bias"]  # deeper blocks are there: one array is missing, not a block
    state["blocks.3.ls1.gamma"] = np.zeros(64, np.float32)
    state["cls_token"] = np.zeros((1, 64), np.float32)
    save_file(state, tmp_path / "deit.safetensors")

    with pytest.raises(InputError) as caught:
        load_checkpoint(tmp_path / "deit.safetensors", num_classes=5, max_exit=0)

    message = str(caught.value)
    assert "blocks.1.norm2.bias is missing" in message
    assert "blocks.3.ls1.gamma is left over" in message
    assert "cls_token is float32 (1, 64), not float32 (1, 1, 64)" in message


@pytest.mark.parametrize("name", ["dist_token", "head_dist.weight"])
def test_a_distilled_deit_is_refused(tmp_path: Path, name: str) -> None:
    save_file({**_deit_state(), name: np.zeros((1, 1, 64), np.float32)}, tmp_path / "d.safetensors")

    with pytest.raises(InputError, match=f"is a distilled DeiT .{name}"):
        load_checkpoint(tmp_path / "d.safetensors", num_classes=5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "brings no classifier"),
        ({"num_classes": 5, "num_exits": 5}, "cannot spread 5 exits over 4 blocks"),
        ({"num_classes": 5, "exit_blocks": (1, 4)}, "the backbone has 4 blocks"),
        ({"num_classes": 5, "max_exit": 4}, "no exit 4: choose one of 0 to 3"),
        ({"num_classes": 0}, "num_classes must be from 1 to"),
    ],
)
def test_arguments_that_a_backbone_cannot_meet_are_refused(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    save_file(_deit_state(), tmp_path / "deit.safetensors")

    with pytest.raises((ValueError, InputError), match=message):
        load_checkpoint(tmp_path / "deit.safetensors", **arguments)


def test_our_own_file_wins_and_a_contradiction_is_refused(tmp_path: Path) -> None:
    network = random_network(tiny_submodel(), seed=0)
    path = tmp_path / "model.safetensors"
    save_checkpoint(network, path)

    loaded = load_checkpoint(path, num_classes=3, num_exits=2, regime="frozen", max_exit=0)
    with pytest.raises(ValueError, match="num_classes is 3, not 4; num_exits is 2, not 4"):
        load_checkpoint(path, num_classes=4, num_exits=4)
    with pytest.raises(ValueError, match="no exit 2"):
        load_checkpoint(path, max_exit=2)

    assert (loaded.submodel.regime, loaded.submodel.max_exit) == ("frozen", 0)
    assert load_checkpoint(path).submodel == network.submodel
    assert load_checkpoint(path, image_size=32).submodel.architecture.num_tokens == 17
