"""The released code's state dict comes in, computes the same, and goes out again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from reefl_edge.architectures import named_submodel
from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.description import ModelDescription
from reefl_edge.checkpoints.foreign.released import RELEASED, possible_regimes
from reefl_edge.checkpoints.foreign.writing import to_released, write_released
from reefl_edge.checkpoints.reading import read_model_file
from reefl_edge.errors import InputError
from reefl_edge.models import load_checkpoint
from reefl_edge.models.arrays import arrays_of
from reefl_edge.submodel import REGIMES, ArraySpec, ExitSchedule, Regime
from tests.checkpoints.foreign.released import plain_logits, released_keys, released_state

EXITS = {num: ExitSchedule.evenly_spaced(num_blocks=12, num_exits=num).blocks for num in (4, 12)}
# What is read of the state dict of a tiny network must be said: its heads are not 64 wide.
HEADS = 2


def _saved(state: Arrays, folder: Path, name: str = "state.safetensors") -> Path:
    path = folder / name
    save_file(state, path)
    return path


@pytest.mark.parametrize(
    ("num_exits", "max_exit"),
    [(num, tier) for num, blocks in EXITS.items() for tier in range(len(blocks))],
)
def test_logits_equal_those_of_the_plain_form_at_every_tier(
    tmp_path: Path, num_exits: int, max_exit: int
) -> None:
    exit_blocks = EXITS[num_exits]
    state = released_state(depth=exit_blocks[max_exit] + 1)
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    network = load_checkpoint(_saved(state, tmp_path), num_exits=num_exits, num_heads=HEADS)
    with torch.inference_mode():
        logits = network(images)

    expected = plain_logits(state, images, exit_blocks=exit_blocks, num_heads=HEADS)
    assert network.submodel.max_exit == max_exit
    assert logits.shape == expected.shape
    assert expected.std() > 0.5  # the logits tell examples and exits apart
    torch.testing.assert_close(logits, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize(("num_exits", "max_exit"), [(4, 1), (4, 3), (12, 0), (12, 11)])
def test_logits_equal_those_of_the_plain_form_in_every_regime(
    tmp_path: Path, regime: Regime, num_exits: int, max_exit: int
) -> None:
    exit_blocks = EXITS[num_exits]
    state = released_state(depth=exit_blocks[max_exit] + 1, regime=regime)
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    path = _saved(state, tmp_path)

    network = load_checkpoint(path, num_exits=num_exits, regime=regime, num_heads=HEADS)
    with torch.inference_mode():
        logits = network(images)

    expected = plain_logits(state, images, exit_blocks=exit_blocks, num_heads=HEADS, regime=regime)
    torch.testing.assert_close(logits, expected, rtol=0, atol=2e-5)
    back = to_released(Checkpoint(submodel=network.submodel, arrays=arrays_of(network)))
    assert back.keys() == state.keys()
    assert all(np.array_equal(back[name], state[name]) for name in state)


@pytest.mark.parametrize("regime", REGIMES)
def test_the_names_and_shapes_written_are_those_of_the_release(regime: Regime) -> None:
    submodel = named_submodel("deit_small", num_classes=100, regime=regime)
    empty = {
        spec.name: np.broadcast_to(np.float32(0), spec.shape)  # no memory behind it
        for spec in submodel.arrays()
    }

    written = to_released(Checkpoint(submodel=submodel, arrays=empty))

    shapes = {name: array.shape for name, array in written.items()}
    assert shapes == released_keys(regime, num_blocks=12)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("attn.lora_q.a", "attn.q.ef_lora_A"),
        ("attn.lora_v.b", "attn.v.ef_lora_B"),
        ("attn_adapter.down.weight", "attn.attn_adapter.down_proj.weight"),
        ("mlp_adapter.up.bias", "mlp.ffn_adapter.up_proj.bias"),
        ("ssf_norm1.scale", "ssf_scale_1"),
        ("ssf_norm2.shift", "ssf_shift_2"),
        ("attn.ssf_k.scale", "attn.ssf_scale_k"),
        ("attn.ssf_proj.shift", "attn.ssf_shift_1"),
        ("mlp.ssf_fc2.scale", "mlp.ssf_scale_2"),
    ],
)
def test_adapters_have_the_names_of_the_release(ours: str, theirs: str) -> None:
    assert RELEASED.name_of(f"blocks.7.{ours}") == f"blocks.7.{theirs}"


def test_the_stem_and_the_classifier_have_scales_and_shifts_too() -> None:
    assert RELEASED.name_of("patch_embed.ssf.scale") == "patch_embed.ssf_scale_1"
    assert RELEASED.name_of("classifier.ssf.shift") == "accumulator.head.ssf_shift_1"


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_reading_and_writing_back_changes_nothing(tmp_path: Path, suffix: str) -> None:
    state = released_state(depth=6)
    description = ModelDescription(num_exits=4, num_heads=HEADS)

    checkpoint = read_model_file(_saved(state, tmp_path), description).completed({})
    write_released(checkpoint, tmp_path / f"back{suffix}")
    again = read_model_file(tmp_path / f"back{suffix}", description).completed({})

    back = to_released(again)
    assert back.keys() == state.keys()
    assert all(np.array_equal(back[name], state[name]) for name in state)
    assert again.submodel == checkpoint.submodel


def test_query_key_and_value_are_stacked_in_this_order(tmp_path: Path) -> None:
    state = released_state(depth=12)

    arrays = arrays_of(load_checkpoint(_saved(state, tmp_path), num_exits=4, num_heads=HEADS))

    parts = [state[f"blocks.3.attn.{part}.weight"] for part in "qkv"]
    assert np.array_equal(arrays["blocks.3.attn.qkv.weight"], np.concatenate(parts))
    assert arrays["accumulator.meta_token"].shape == (16,)


def test_averages_of_the_released_server_are_float64_and_become_float32(tmp_path: Path) -> None:
    state = released_state(depth=3)
    wide = {name: array.astype(np.float64) for name, array in state.items()}
    np.savez(tmp_path / "state.npz", **wide)  # type: ignore[arg-type]

    reading = read_model_file(
        tmp_path / "state.npz", ModelDescription(num_exits=4, num_heads=HEADS)
    )

    assert reading.submodel.max_exit == 0
    assert {array.dtype for array in reading.arrays.values()} == {np.dtype(np.float32)}


def test_a_deep_file_is_cut_at_an_exit(tmp_path: Path) -> None:
    path = _saved(released_state(depth=12), tmp_path)

    network = load_checkpoint(path, num_exits=4, max_exit=1, num_heads=HEADS)

    assert network.submodel.depth == 6
    assert len(network.blocks) == 6


def test_all_problems_are_listed_under_the_names_of_the_file(tmp_path: Path) -> None:
    state = released_state(depth=3)
    del state["blocks.1.attn.k.weight"]
    state["blocks.2.mlp.fc1.bias"] = np.zeros(5, np.float32)
    state["blocks.0.attn.q.weight"] = np.zeros((16, 16), np.int64)
    state["optimizer.step"] = np.zeros(1, np.float32)
    path = _saved(state, tmp_path)

    with pytest.raises(InputError) as caught:
        load_checkpoint(path, num_exits=4, num_heads=HEADS)

    message = str(caught.value)
    assert "blocks.1.attn.k.weight is missing" in message
    assert "blocks.2.mlp.fc1.bias is float32 (5,), not float32 (64,)" in message
    assert "blocks.0.attn.q.weight is int64 (16, 16), not float32 (16, 16)" in message
    assert "optimizer.step is left over" in message


def test_the_exits_must_be_said(tmp_path: Path) -> None:
    path = _saved(released_state(depth=12), tmp_path)

    with pytest.raises(ValueError, match="does not say how many exits"):
        load_checkpoint(path, num_heads=HEADS)


def test_normalisation_that_nobody_says_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = _saved(released_state(depth=12), tmp_path)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.2, 0.2)

    load_checkpoint(path, num_exits=4, num_heads=HEADS, mean=mean, std=std)
    said = caplog.text
    load_checkpoint(path, num_exits=4, num_heads=HEADS, mean=mean)

    assert said == ""
    assert f"{path} does not say how pixels are normalised: ImageNet's" in caplog.text
    assert "--std 0.2673343,0.2564385,0.2761505" in caplog.text


def test_normalisation_said_beside_a_state_dict_is_not_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _saved(released_state(depth=12), tmp_path, "model.safetensors")
    said = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.2]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))

    network = load_checkpoint(tmp_path, num_exits=4, num_heads=HEADS)

    assert network.submodel.architecture.mean == (0.5, 0.4, 0.3)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("depth", "arguments", "kind", "message"),
    [
        (4, {"num_exits": 4}, InputError, "has 4 blocks, but the exits are after 3, 6, 9, 12"),
        (12, {"num_exits": 13}, ValueError, "cannot spread 13 exits over 12 blocks"),
        (12, {"exit_blocks": (2, 12)}, ValueError, "exit after block 12, but the backbone has 12"),
        (6, {"num_exits": 4, "max_exit": 2}, ValueError, "no exit 2: choose one of 0 to 1"),
        (12, {"num_exits": 4, "num_classes": 5}, ValueError, "num_classes is 3"),
        (12, {"num_exits": 4, "num_heads": 3}, ValueError, "16 is not a multiple of 3 heads"),
        (12, {"num_exits": 4, "num_heads": None}, InputError, "say how many heads"),
        (12, {"num_exits": 4, "image_size": 12}, ValueError, "12 is not a multiple of patch"),
        (12, {"num_exits": 3, "exit_blocks": (2, 5)}, ValueError, "3 exits, but 2 exit blocks"),
    ],
)
def test_what_does_not_fit_the_file_is_refused(
    tmp_path: Path,
    depth: int,
    arguments: dict[str, object],
    kind: type[Exception],
    message: str,
) -> None:
    path = _saved(released_state(depth=depth), tmp_path)

    with pytest.raises(kind, match=message):
        load_checkpoint(path, **{"num_heads": HEADS, **arguments})  # type: ignore[arg-type]


def test_explicit_exit_blocks_are_taken(tmp_path: Path) -> None:
    state = released_state(depth=12)
    images = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    network = load_checkpoint(_saved(state, tmp_path), exit_blocks=(3, 5, 8, 11), num_heads=HEADS)

    expected = plain_logits(state, images, exit_blocks=(3, 5, 8, 11), num_heads=HEADS)
    torch.testing.assert_close(network(images).detach(), expected, rtol=0, atol=2e-5)


def test_a_file_tells_its_regime_unless_its_adapters_are_bottlenecks() -> None:
    names = {regime: released_keys(regime, num_blocks=1) for regime in ("full", "lora", "ssf")}

    assert possible_regimes(names["full"]) == ("full", "frozen")
    assert possible_regimes(names["lora"]) == ("lora",)
    assert possible_regimes(names["ssf"]) == ("ssf",)
    serial = released_keys("serial-adapter", num_blocks=1)
    assert possible_regimes(serial) == ("parallel-adapter", "serial-adapter")


def test_which_bottleneck_adapters_a_file_has_must_be_said(tmp_path: Path) -> None:
    state = released_state(depth=3)
    name = "blocks.0.attn.attn_adapter.down_proj.weight"
    path = _saved({**state, name: np.zeros((32, 16), np.float32)}, tmp_path)

    with pytest.raises(ValueError, match=r"regime .* parallel-adapter or serial-adapter"):
        load_checkpoint(path, num_exits=4, num_heads=HEADS)


def test_what_is_written_is_plain_safetensors(tmp_path: Path) -> None:
    state = released_state(depth=3)
    reading = read_model_file(
        _saved(state, tmp_path), ModelDescription(num_exits=4, num_heads=HEADS)
    )

    write_released(reading.completed({}), tmp_path / "back.safetensors")

    assert load_file(tmp_path / "back.safetensors").keys() == state.keys()


def test_writing_to_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    reading = read_model_file(
        _saved(released_state(depth=3), tmp_path), ModelDescription(num_exits=4, num_heads=HEADS)
    )

    with pytest.raises(ValueError, match=r"no \.safetensors, \.pth"):
        write_released(reading.completed({}), tmp_path / "back.onnx")


def test_a_layout_gives_equal_parts_of_a_fused_array() -> None:
    spec = ArraySpec(name="blocks.0.attn.qkv.bias", shape=(48,), is_trained=True, is_row_wise=False)

    parts = RELEASED.parts(spec)

    assert [(part.name, part.shape) for part in parts] == [
        (f"blocks.0.attn.{part}.bias", (16,)) for part in "qkv"
    ]


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("accumulator.pos_embedding", (1, 10**8, 0), "num_blocks must be from 1 to 1024, got 9999"),
        ("accumulator.pos_embedding", (1, 0, 16), "num_blocks must be from 1 to 1024, got -1"),
        ("accumulator.head.mlp_head.0.weight", (10**9, 0), "num_classes must be from 1 to 1000000"),
        ("accumulator.head.mlp_head.0.weight", (0, 16), "num_classes must be from 1 to 1000000"),
        ("pos_embed", (1, 0, 16), "its arrays are empty"),
        ("pos_embed", (1, 10**8 + 1, 0), "image_size must be from 1 to 4096, got 80000"),
        ("patch_embed.proj.weight", (0, 3, 8, 8), "its arrays are empty"),
        ("patch_embed.proj.weight", (16, 3, 0, 0), "patch_size must be from 1 to 4096, got 0"),
        ("blocks.0.mlp.fc1.weight", (0, 16), "its arrays are empty"),
        ("blocks.0.mlp.fc1.weight", (10**8, 0), "mlp_ratio must be from 0 to 64.0"),
    ],
)
def test_a_file_whose_sizes_lie_is_refused_at_once(
    tmp_path: Path, name: str, shape: tuple[int, ...], message: str
) -> None:
    state = {**released_state(depth=3), name: np.zeros(shape, np.float32)}
    path = _saved(state, tmp_path)

    with pytest.raises(InputError, match=rf"state\.safetensors: {message}"):
        read_model_file(path, ModelDescription(num_exits=4, num_heads=HEADS))


@pytest.mark.parametrize(
    "fact",
    [
        {"num_classes": 10**11}, {"num_exits": 0}, {"image_size": 100_000}, {"num_heads": -1},
        {"mean": (0.5, float("nan"), 0.5)}, {"std": (0.5, 0.0, 0.5)},
    ],
)  # fmt: skip
def test_a_fact_that_cannot_be_is_the_fault_of_who_says_it(fact: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(fact))} must be from"):
        ModelDescription(**fact)
