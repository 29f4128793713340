"""Files, folders and hub ids: what is read, and what is refused without running it."""

import json
import os
import pickle
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.checkpoints.checkpoint import Checkpoint, write_checkpoint
from reefl_edge.checkpoints.description import ModelDescription
from reefl_edge.checkpoints.foreign.config import read_config
from reefl_edge.checkpoints.foreign.files import is_hub_id, locate, read_arrays
from reefl_edge.checkpoints.foreign.layouts import layout_of
from reefl_edge.checkpoints.reading import read_model_file
from reefl_edge.errors import InputError
from reefl_edge.models import load_checkpoint
from tests.checkpoints.foreign.released import released_state
from tests.fakes.submodels import tiny_submodel

ARRAYS: Arrays = {"a": np.ones(3, np.float32)}


class _Payload:
    """Writes a file when it is unpickled by an unpickler that runs what it is told."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["zip", "legacy", "plain"])
def test_a_pickle_with_more_than_tensors_is_refused_without_running_it(
    tmp_path: Path, kind: str
) -> None:
    path, proof = tmp_path / "model.pth", tmp_path / "it-ran"
    state = {"a": torch.ones(3), "b": _Payload(proof)}
    if kind == "plain":
        path.write_bytes(pickle.dumps({"b": _Payload(proof)}))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")

    with pytest.raises(InputError, match=r"is a pickle that holds more than tensors.*; refused"):
        load_checkpoint(path, num_classes=3)

    assert not proof.exists()
    if kind != "plain":  # and it would have run: the proof is a proof
        torch.load(path, weights_only=False)
        assert proof.exists()


def test_a_training_checkpoint_with_its_arguments_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save({"model": {"a": torch.ones(3)}, "args": Namespace(lr=1)}, path)

    with pytest.raises(InputError, match=r"\(argparse\.Namespace\); refused"):
        read_arrays(path)


def test_a_file_of_before_torch_1_6_is_read(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3)}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)

    assert np.array_equal(read_arrays(tmp_path / "a.pth")["a"], ARRAYS["a"])


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (torch.ones(3), "holds a Tensor, not a state dict"),
        ({"a": 1, "b": 2}, "a, b are no tensors"),
    ],
)
def test_a_pth_file_that_is_no_state_dict_is_refused(
    tmp_path: Path, state: object, message: str
) -> None:
    torch.save(state, tmp_path / "a.pth")

    with pytest.raises(InputError, match=message):
        read_arrays(tmp_path / "a.pth")


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pth"])
def test_damaged_files_are_input_errors_wherever_they_end(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole{suffix}"
    match suffix:
        case ".safetensors":
            save_file(ARRAYS, whole)
        case ".npz":
            np.savez(whole, **ARRAYS)  # type: ignore[arg-type]
        case _:
            torch.save({"a": torch.ones(3)}, whole)
    content = whole.read_bytes()
    damaged = tmp_path / f"damaged{suffix}"

    for length in range(0, len(content) - 1, max(1, len(content) // 40)):
        damaged.write_bytes(content[:length])
        with pytest.raises(InputError, match="damaged"):
            read_arrays(damaged)


def test_a_damaged_legacy_file_is_an_input_error_wherever_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"a": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()

    for length in range(len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(InputError):
            read_arrays(path)


def test_objects_in_an_npz_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.array([_Payload(tmp_path / "it-ran")], dtype=object))

    with pytest.raises(InputError, match="an array of object is none of numbers"):
        read_arrays(tmp_path / "a.npz")

    assert not (tmp_path / "it-ran").exists()


def test_other_kinds_of_files_and_unknown_layouts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.h5").write_bytes(b"")

    with pytest.raises(InputError, match=r"is no \.safetensors, \.npz, \.pth, \.pt or \.bin file"):
        read_arrays(tmp_path / "model.h5")
    with pytest.raises(InputError, match=r"in no known layout .* it holds a, b, c, \.\.\."):
        layout_of(["a", "b", "c", "d"], source="x")
    with pytest.raises(InputError, match=r"nowhere\.pth: no such file"):
        locate(tmp_path / "nowhere.pth")


def test_a_folder_gives_its_weights_and_what_its_configuration_says(tmp_path: Path) -> None:
    save_file(ARRAYS, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 5, "other": 1}))
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.4, 0.4, 0.4]})
    )

    located = locate(tmp_path)

    assert located.path == tmp_path / "model.safetensors"
    assert located.config.num_heads == 5
    assert located.config.normalisation == ((0.5, 0.5, 0.5), (0.4, 0.4, 0.4))


def test_a_folder_of_timm_says_how_pixels_are_normalised(tmp_path: Path) -> None:
    config = {"architecture": "vit_tiny", "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (tmp_path / "config.json").write_text(json.dumps(config))

    assert read_config(tmp_path).normalisation == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_blocks_that_compute_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"hidden_act": "relu"}))

    with pytest.raises(InputError, match="blocks with relu"):
        read_config(tmp_path)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no model\.safetensors and no pytorch_model\.bin"):
        locate(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("facebook/deit-tiny-patch16-224", True),
        ("out/model.pth", False),
        ("./model", False),
        ("../model", False),
        ("a/b/c", False),
        ("deit_tiny", False),
        ("/etc", False),
        ("timm/vit_tiny_patch16_224.augreg_in21k", True),
        ("out/Model.PTH", False),
        ("out/model.onnx", False),
        ("models/net.tar", False),
        ("a/b--c", False),
        ("a/b..c", False),
        ("~/model", False),
        ("a/-b", False),
        ("b\u00fcro/model", False),
    ],
)
def test_a_hub_id_is_an_owner_and_a_name(text: str, expected: bool) -> None:
    assert is_hub_id(text) is expected


def test_what_begins_with_a_folder_that_is_here_is_a_path_if_a_mistyped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_hub_id("out/model")
    (tmp_path / "out").mkdir()

    assert not is_hub_id("out/model")
    with pytest.raises(InputError, match="out/model: no such file"):
        locate("out/model")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_file_of_an_unknown_kind_is_not_called_a_damaged_one(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3)}, tmp_path / "last.ckpt")

    with pytest.raises(InputError, match=r"ckpt is no \.safetensors, \.npz, \.pth, \.pt or"):
        read_model_file(tmp_path / "last.ckpt")


def test_a_checkpoint_of_ours_may_have_any_name(tmp_path: Path) -> None:
    submodel = tiny_submodel()
    arrays = {spec.name: np.zeros(spec.shape, np.float32) for spec in submodel.arrays()}
    write_checkpoint(Checkpoint(submodel=submodel, arrays=arrays), tmp_path / "best.ckpt")

    assert read_model_file(tmp_path / "best.ckpt").submodel == submodel


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pth"])
def test_a_named_pipe_is_refused_instead_of_waited_for(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    os.mkfifo(path)

    with pytest.raises(InputError, match="is no regular file"):
        load_checkpoint(path, num_classes=3)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pth"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_numbers_that_are_not_finite_in_float32_are_refused_by_name(
    tmp_path: Path, suffix: str, value: float
) -> None:
    path = tmp_path / f"model{suffix}"
    arrays = {"a": np.ones(3), "b": np.array([[0.0, value]])}
    match suffix:
        case ".safetensors":
            save_file(arrays, path)
        case ".npz":
            np.savez(path, **arrays)  # type: ignore[arg-type]
        case _:
            torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)

    with pytest.raises(InputError, match=rf"model\{suffix}: b holds NaN or infinity"):
        read_arrays(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"num_attention_heads": ' + b"[" * 5000, "not a JSON file"),
        (b'{"num_attention_heads": ' + b"9" * 5000 + b"}", "not a JSON file"),
        (b'{"hidden_act": "\xff"}', "not a text in UTF-8"),
        (b'{"num_attention_heads": 0}', "num_heads must be from 1 to"),
        (b'{"num_attention_heads": -3}', "num_heads must be from 1 to"),
        (b'{"pretrained_cfg": {"std": [0, 1, 1]}}', "std must be from"),
        (b'{"pretrained_cfg": {"mean": [0, NaN, 1]}}', "not a JSON file"),
    ],
)
def test_a_configuration_that_cannot_be_is_the_fault_of_its_folder(
    tmp_path: Path, content: bytes, message: str
) -> None:
    save_file(released_state(depth=12, width=64), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes(content)

    with pytest.raises(InputError, match=message):
        read_model_file(tmp_path, ModelDescription(num_exits=4, num_heads=None))
