"""Is a file of weights either what it says, or refused with every reason?"""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file

from reefl_edge.errors import InputError
from reefl_edge.submodel import Submodel
from reefl_edge.weights import (
    Arrays,
    Checkpoint,
    Provenance,
    Update,
    apply_update,
    data_ranges,
    read_checkpoint,
    read_update,
    weights_sha256,
    write_checkpoint,
    write_update,
)
from tests.fakes import tiny_submodel


def random_arrays(submodel: Submodel, *, seed: int = 0) -> Arrays:
    generator = np.random.default_rng(seed)
    return {
        spec.name: generator.standard_normal(spec.shape).astype(np.float32)
        for spec in submodel.arrays()
    }


@pytest.fixture
def checkpoint() -> Checkpoint:
    """Random arrays of a network with four exits."""
    submodel = tiny_submodel(num_exits=4)
    return Checkpoint(
        submodel=submodel, arrays=random_arrays(submodel), class_names=("a", "b", "c")
    )


def update_of(checkpoint: Checkpoint, *, max_exit: int = 1) -> Update:
    """Return other values of what the frozen regime trains, down to an exit."""
    base = checkpoint.cut(max_exit)
    submodel = replace(base.submodel, regime="frozen")
    trained = [spec.name for spec in submodel.arrays() if spec.is_trained]
    return Update(
        submodel=submodel,
        arrays={name: base.arrays[name] + 1 for name in trained},
        provenance=Provenance(
            base_sha256=weights_sha256(base.arrays), server_round=3, num_examples=40
        ),
    )


def assert_same_arrays(actual: Arrays, expected: Arrays) -> None:
    assert actual.keys() == expected.keys()
    for name, array in actual.items():
        assert array.dtype == np.float32
        assert np.array_equal(array, expected[name]), name


@pytest.mark.parametrize("class_names", [("a", "b", "c"), None])
def test_checkpoint_comes_back_as_it_was(
    checkpoint: Checkpoint, class_names: tuple[str, ...] | None, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "model.safetensors"

    write_checkpoint(replace(checkpoint, class_names=class_names), path)
    back = read_checkpoint(path)

    assert back.submodel == checkpoint.submodel
    assert back.class_names == class_names
    assert_same_arrays(back.arrays, checkpoint.arrays)


def test_update_comes_back_as_it_was(checkpoint: Checkpoint, tmp_path: Path) -> None:
    update, path = update_of(checkpoint), tmp_path / "update.safetensors"

    write_update(update, path)
    back = read_update(path)

    assert back.submodel == update.submodel
    assert back.provenance == update.provenance
    assert_same_arrays(back.arrays, update.arrays)


def test_array_that_is_a_view_is_written_as_it_reads(tmp_path: Path) -> None:
    submodel = tiny_submodel()
    arrays = random_arrays(submodel)
    name = "blocks.0.mlp.fc1.weight"
    arrays[name] = np.asfortranarray(arrays[name])
    path = tmp_path / "model.safetensors"

    write_checkpoint(Checkpoint(submodel=submodel, arrays=arrays), path)

    assert_same_arrays(read_checkpoint(path).arrays, arrays)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_file_is_refused(checkpoint: Checkpoint, kept: int, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(checkpoint, path)
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(InputError, match=r"model\.safetensors is not a readable safetensors file"):
        read_checkpoint(path)


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.safetensors: no such file"):
        read_checkpoint(tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"is a folder, not a \.safetensors file"):
        read_checkpoint(tmp_path)


def test_safetensors_of_somebody_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": np.zeros(3, np.float32)}, path)
    with pytest.raises(InputError, match="was not written by reefl-edge"):
        read_checkpoint(path)


def test_type_that_numpy_lacks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_torch_file({"weight": torch.zeros(3, dtype=torch.bfloat16)}, path)
    # Some packages teach numpy the type; then it is the missing metadata that shows.
    with pytest.raises(InputError, match=r"not float32: .*bfloat16|not written by reefl-edge"):
        read_checkpoint(path)


def test_every_array_that_does_not_fit_is_listed(checkpoint: Checkpoint, tmp_path: Path) -> None:
    arrays: Arrays = dict(checkpoint.arrays)
    del arrays["cls_token"]
    arrays["head.weight"] = np.zeros((3, 16), np.float32)
    arrays["pos_embed"] = arrays["pos_embed"][:, 1:].copy()
    name = "classifier.linear.bias"
    halved = cast(Arrays, {name: arrays[name].astype(np.float16)})
    path = tmp_path / "bad.safetensors"
    write_checkpoint(replace(checkpoint, arrays={**arrays, **halved}), path)

    with pytest.raises(InputError, match=r"bad\.safetensors does not fit its sub-model") as caught:
        read_checkpoint(path)

    for problem in (
        "cls_token is missing",
        "head.weight is left over",
        "pos_embed is float32 (1, 4, 16), not float32 (1, 5, 16)",
        "classifier.linear.bias is float16 (3,), not float32 (3,)",
    ):
        assert problem in str(caught.value)


def test_submodel_that_cannot_be_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    write_checkpoint(checkpoint, path)
    content = path.read_bytes().replace(b'max_exit\\":3', b'max_exit\\":7')
    assert content != path.read_bytes()
    path.write_bytes(content)

    with pytest.raises(InputError, match=r"bad\.safetensors: .*no exit 7"):
        read_checkpoint(path)


def test_update_given_as_checkpoint_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "update.safetensors"
    write_update(update_of(checkpoint), path)
    with pytest.raises(InputError, match=r"is an update .*, not a checkpoint"):
        read_checkpoint(path)


def test_checkpoint_given_as_update_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(checkpoint, path)
    with pytest.raises(InputError, match="is not an update"):
        read_update(path)


def test_cut_checkpoint_holds_what_the_shallower_network_has(checkpoint: Checkpoint) -> None:
    cut = checkpoint.cut(1)

    assert cut.submodel == tiny_submodel(num_exits=4, max_exit=1)
    assert set(cut.arrays) == {spec.name for spec in cut.submodel.arrays()}
    assert cut.class_names == ("a", "b", "c")
    assert "blocks.2.norm1.weight" in checkpoint.arrays


def test_update_takes_the_place_of_the_arrays_it_trained(checkpoint: Checkpoint) -> None:
    update = update_of(checkpoint, max_exit=1)

    updated = apply_update(checkpoint, update)

    assert updated.submodel == checkpoint.submodel
    expected = {name: update.arrays.get(name, array) for name, array in checkpoint.arrays.items()}
    assert_same_arrays(updated.arrays, expected)


def test_update_from_other_weights_is_refused(checkpoint: Checkpoint) -> None:
    other = replace(checkpoint, arrays=random_arrays(checkpoint.submodel, seed=1))
    with pytest.raises(InputError, match=r"was trained from weights .* give the model it was"):
        apply_update(other, update_of(checkpoint))


def test_update_deeper_than_the_model_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(InputError, match="the update goes to exit 2, the model only to exit 1"):
        apply_update(checkpoint.cut(1), update_of(checkpoint, max_exit=2))


def test_identity_is_that_of_names_shapes_and_content() -> None:
    arrays = {"b": np.arange(6, dtype=np.float32), "a": np.zeros((2, 3), np.float32)}
    by_hand = hashlib.sha256(
        b"a (2, 3)\n" + bytes(24) + b"b (6,)\n" + np.arange(6, dtype="<f4").tobytes()
    )

    assert weights_sha256(arrays) == by_hand.hexdigest()
    assert weights_sha256(dict(reversed(arrays.items()))) == by_hand.hexdigest()
    for changed in (
        {**arrays, "b": arrays["b"] + 1},
        {**arrays, "b": arrays["b"].reshape(2, 3)},
        {"c": arrays["b"], "a": arrays["a"]},
    ):
        assert weights_sha256(changed) != by_hand.hexdigest()


def test_data_ranges_point_at_each_arrays_bytes(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(checkpoint, path)
    content = path.read_bytes()

    ranges = data_ranges(path)

    assert ranges.keys() == checkpoint.arrays.keys()
    for name, (offset, length) in ranges.items():
        assert content[offset : offset + length] == checkpoint.arrays[name].tobytes()


def test_path_that_cannot_be_written_to_is_an_os_error(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    (tmp_path / "occupied").write_text("a file, not a folder")
    with pytest.raises(OSError, match="occupied"):
        write_checkpoint(checkpoint, tmp_path / "occupied" / "model.safetensors")
