"""Is a file of weights either what it says, or refused with every reason?"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file

from reefl_edge.array_files.safetensors import Arrays, data_ranges
from reefl_edge.checkpoints.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from reefl_edge.checkpoints.hashes import weights_sha256
from reefl_edge.checkpoints.metadata import Provenance, RandomPart
from reefl_edge.checkpoints.update import Update, apply_update, read_update, write_update
from reefl_edge.errors import DivergenceError, InputError
from reefl_edge.submodel import Regime, Submodel
from tests.fakes.submodels import tiny_submodel


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


def test_a_path_may_be_text(checkpoint: Checkpoint, tmp_path: Path) -> None:
    model, update = str(tmp_path / "model.safetensors"), str(tmp_path / "update.safetensors")

    write_checkpoint(checkpoint, model)
    write_update(update_of(checkpoint), update)

    assert read_checkpoint(Path(model)).submodel == checkpoint.submodel
    assert read_update(update).submodel == update_of(checkpoint).submodel


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
    with pytest.raises(InputError, match=r"is a folder, not a file"):
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


def _metadata(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="numpy") as file:
        return cast(dict[str, Any], json.loads(file.metadata()["reefl_edge"]))


def _rewritten(path: Path, arrays: Arrays, metadata: dict[str, Any]) -> None:
    """Write other arrays and metadata, the metadata without a hash of its own."""
    said = {key: value for key, value in metadata.items() if key != "metadata_sha256"}
    save_file(arrays, path, metadata={"reefl_edge": json.dumps(said)})


def _as_before_hashes(path: Path, arrays: Arrays, **changes: Any) -> None:
    """Turn a file into one of an earlier version, whose metadata said less."""
    metadata = {**_metadata(path), **changes}
    del metadata["weights_sha256"], metadata["random"]
    _rewritten(path, arrays, metadata)


@pytest.mark.parametrize("seed", range(5))
def test_a_flipped_byte_in_an_array_is_refused(
    checkpoint: Checkpoint, seed: int, tmp_path: Path
) -> None:
    model, update = tmp_path / "model.safetensors", tmp_path / "update.safetensors"
    write_checkpoint(checkpoint, model)
    write_update(update_of(checkpoint), update)
    generator = np.random.default_rng(seed)
    for path, read in ((model, read_checkpoint), (update, read_update)):
        content = bytearray(path.read_bytes())
        first = min(offset for offset, _ in data_ranges(path).values())
        content[generator.integers(first, len(content))] ^= 1 << generator.integers(8)
        path.write_bytes(content)

        with pytest.raises(InputError, match=rf"{path.name} is damaged: .*hash differs"):
            read(path)


@pytest.mark.parametrize(
    ("written", "damaged"),
    [(b"ant", b"ape"), (b"0.25", b"0.35"), (b"class_names", b"klass_names")],
    ids=["a name", "a deviation", "a key"],
)
def test_damage_to_what_a_checkpoint_says_is_refused(
    checkpoint: Checkpoint, written: bytes, damaged: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(replace(checkpoint, class_names=("ant", "bee", "cat")), path)
    path.write_bytes(path.read_bytes().replace(written, damaged, 1))

    with pytest.raises(InputError, match=r"model\.safetensors is damaged: what it says of its arr"):
        read_checkpoint(path)


def test_a_checkpoint_of_an_earlier_version_opens_with_a_warning(
    checkpoint: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(checkpoint, path)
    _as_before_hashes(path, checkpoint.arrays)

    back = read_checkpoint(path)
    verified = read_checkpoint(path, is_verified=True)

    assert_same_arrays(back.arrays, checkpoint.arrays)
    assert verified.submodel == checkpoint.submodel
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "model.safetensors is of an earlier version and carries no hash" in record.message


def test_an_update_of_an_earlier_version_opens_with_a_warning(
    checkpoint: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    update, path = update_of(checkpoint), tmp_path / "update.safetensors"
    write_update(update, path)
    _as_before_hashes(path, update.arrays)

    assert_same_arrays(read_update(path).arrays, update.arrays)
    assert ["update.safetensors is of an earlier" in r.message for r in caplog.records] == [True]


@pytest.mark.parametrize(("was_untrained", "random"), [(True, "shared"), (False, "nothing")])
def test_what_an_earlier_version_said_of_random_weights_is_understood(
    checkpoint: Checkpoint, was_untrained: bool, random: RandomPart, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(checkpoint, path)
    _as_before_hashes(path, checkpoint.arrays, is_untrained=was_untrained)

    assert read_checkpoint(path, is_verified=True).random == random


@pytest.mark.parametrize("random", get_args(RandomPart))
def test_a_checkpoint_says_what_of_it_is_random(
    checkpoint: Checkpoint, random: RandomPart, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(replace(checkpoint, random=random), path)

    assert read_checkpoint(path).random == random
    assert _metadata(path)["is_untrained"] is (random != "nothing")  # for earlier versions


@pytest.mark.parametrize(
    ("random", "regime", "max_exit", "left"),
    [
        ("nothing", "frozen", 3, "nothing"),
        ("shared", "frozen", 3, "nothing"),
        ("shared", "frozen", 1, "nothing"),
        ("everything", "frozen", 3, "everything"),
        ("everything", "full", 3, "nothing"),
        ("everything", "full", 1, "everything"),
    ],
)
def test_an_update_trains_what_is_shared_and_in_regime_full_the_rest_too(
    checkpoint: Checkpoint, random: RandomPart, regime: Regime, max_exit: int, left: RandomPart
) -> None:
    base = replace(checkpoint, random=random)
    submodel = replace(base.cut(max_exit).submodel, regime=regime)
    trained = [spec.name for spec in submodel.arrays() if spec.is_trained]
    provenance = update_of(checkpoint, max_exit=max_exit).provenance
    arrays = {name: base.arrays[name] for name in trained}

    updated = apply_update(base, Update(submodel=submodel, arrays=arrays, provenance=provenance))

    assert updated.random == left


def test_equal_checkpoints_are_equal_files(checkpoint: Checkpoint, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
    for path in paths:
        write_checkpoint(checkpoint, path)

    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_arrays_stay_where_they_are_whatever_the_metadata_says(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    architecture = replace(checkpoint.submodel.architecture, num_classes=1000)
    submodel = replace(checkpoint.submodel, architecture=architecture)
    many = Checkpoint(submodel=submodel, arrays=random_arrays(submodel))
    wordy = tuple(f"{index:050d}" for index in range(1000))
    versions = [
        many,
        replace(many, class_names=many.names()),
        replace(many, class_names=wordy),
        replace(many, class_names=wordy[::-1], random="everything"),
        replace(many, arrays=random_arrays(submodel, seed=1)),
    ]
    ranges = []
    for index, version in enumerate(versions):
        path = tmp_path / f"{index}.safetensors"
        write_checkpoint(version, path)
        ranges.append(data_ranges(path))
        assert read_checkpoint(path).class_names == version.class_names

    assert all(each == ranges[0] for each in ranges)
    assert min(offset for offset, _ in ranges[0].values()) > 2**16


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_array_that_is_not_finite_is_neither_written_nor_read(
    checkpoint: Checkpoint, value: float, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(checkpoint, path)
    metadata = _metadata(path)
    arrays = {**checkpoint.arrays, "pos_embed": checkpoint.arrays["pos_embed"].copy()}
    arrays["pos_embed"][0, 2, 3] = value
    poisoned = replace(checkpoint, arrays=arrays)

    with pytest.raises(DivergenceError, match=r"pos_embed holds NaN or infinity; .* not written"):
        write_checkpoint(poisoned, tmp_path / "poisoned.safetensors")
    assert not (tmp_path / "poisoned.safetensors").exists()
    _rewritten(path, arrays, {**metadata, "weights_sha256": weights_sha256(arrays)})
    with pytest.raises(InputError, match=r"model\.safetensors: pos_embed holds NaN or infinity"):
        read_checkpoint(path)


def test_an_update_that_is_not_finite_is_neither_written_nor_applied(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    update = update_of(checkpoint)
    arrays = {**update.arrays, "classifier.linear.bias": np.array([0, np.inf, 0], np.float32)}
    poisoned = replace(update, arrays=arrays)

    with pytest.raises(DivergenceError, match=r"classifier\.linear\.bias holds NaN or infinity"):
        write_update(poisoned, tmp_path / "update.safetensors")
    assert not (tmp_path / "update.safetensors").exists()
    with pytest.raises(InputError, match=r"the update: classifier\.linear\.bias holds NaN or inf"):
        apply_update(checkpoint, poisoned)


def test_class_names_of_another_number_are_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(checkpoint, path)
    _rewritten(path, checkpoint.arrays, {**_metadata(path), "class_names": ["a", "b"]})

    with pytest.raises(InputError, match=r"model\.safetensors: .*2 class names for 3 classes"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_blocks": 10**8}, "num_blocks must be from 1 to 1024, got 100000000"),
        ({"num_classes": 10**11}, "num_classes must be from 1 to 1000000"),
        ({"image_size": 100_000}, "image_size must be from 1 to 4096"),
        ({"accumulator_heads": 0}, "accumulator_heads must be from 1 to"),
        ({"accumulator_heads": "9" * 5000}, "accumulator_heads: "),
        ({"std": [0.1, 0.0, 0.1]}, "std must be from 1e-06"),
    ],
)
def test_sizes_that_lie_are_refused_before_anything_is_made_of_them(
    checkpoint: Checkpoint, change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(checkpoint, path)
    metadata = _metadata(path)
    metadata["submodel"]["architecture"].update(change)
    _rewritten(path, checkpoint.arrays, metadata)

    with pytest.raises(InputError, match=rf"model\.safetensors: .*{message}"):
        read_checkpoint(path)
