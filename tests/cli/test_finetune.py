"""``reefl-edge finetune``, and its update exported."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reefl_edge.checkpoints.checkpoint import read_checkpoint, write_checkpoint
from reefl_edge.checkpoints.update import read_update
from reefl_edge.runtimes.base import default_threads
from tests.cli.conftest import Type


def test_an_update_holds_the_trained_arrays_and_can_be_exported(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    update, bundle = tmp_path / "update.safetensors", tmp_path / "bundle"

    typed = type_command(
        "finetune", home / "model.safetensors", "--data", home / "data.npz", "--epochs", 2,
        "--batch-size", 8, "--eval-data", home / "data.npz", "-o", update, "--json",
    )  # fmt: skip
    exported = type_command(
        "export", home / "model.safetensors", "--update", update, "--format", "onnx",
        "-o", bundle, "--json",
    )  # fmt: skip

    assert typed.exit_code == exported.exit_code == 0
    assert typed.document["num_steps"] == 4  # two of 8 and 4 examples, twice
    assert sum(typed.document["teacher_counts"]) == 4
    assert len(typed.document["accuracy_after"]) == 2
    arrays = read_update(update).arrays
    assert all(name.startswith(("accumulator.", "classifier.")) for name in arrays)
    weights = read_checkpoint(bundle / "onnx" / "weights.safetensors").arrays
    for name, array in arrays.items():
        np.testing.assert_array_equal(weights[name], array)


def test_the_same_seed_gives_the_same_update(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    contents = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}.safetensors"
        type_command(
            "finetune", home / "model.safetensors", "--data", home / "data.npz", "-o", path
        )
        contents.append(path.read_bytes())

    assert contents[0] == contents[1]


def test_training_computes_with_the_threads_it_is_given(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    arguments = (
        *("finetune", home / "model.safetensors", "--data", home / "data.npz"),
        *("-o", tmp_path / "update.safetensors"),
    )

    type_command(*arguments)
    by_default = torch.get_num_threads()
    type_command(*arguments, "--threads", 1)

    assert (by_default, torch.get_num_threads()) == (default_threads(), 1)


def test_an_update_of_other_weights_is_refused(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    update = tmp_path / "update.safetensors"
    type_command("finetune", home / "model.safetensors", "--data", home / "data.npz", "-o", update)

    typed = type_command("export", "digits", "--update", update, "-o", tmp_path / "bundle")

    assert typed.exit_code == 3
    assert "give the model it was trained from" in typed.stderr
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("model", "arguments", "exit_code", "message"),
    [
        ("digits", (), 2, "digits has random weights"),
        ("dits", (), 2, "did you mean digits"),
        ("model.safetensors", ("--regime", "frosen"), 2, "did you mean frozen?"),
        ("model.safetensors", ("--max-exit", "7"), 2, "no exit 7: choose one of 0 to 1"),
        ("model.safetensors", ("--epochs", "0"), 2, "--epochs"),
        ("data.npz", (), 3, "in no known layout"),
        ("missing.safetensors", (), 3, "no such file"),
    ],
)
def test_bad_models_and_options_are_refused(
    type_command: Type,
    home: Path,
    tmp_path: Path,
    model: str,
    arguments: tuple[str, ...],
    exit_code: int,
    message: str,
) -> None:
    path = home / model if "." in model else model
    output = tmp_path / "update.safetensors"

    typed = type_command("finetune", path, "--data", home / "data.npz", "-o", output, *arguments)

    assert typed.exit_code == exit_code
    assert message in " ".join(typed.stderr.replace("│", "").split())
    assert not output.exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((2, 16, 16, 3), np.uint8)}, "has no array 'labels', only images"),
        (
            {"images": np.zeros((2, 16, 16, 3), np.uint8), "labels": np.array([0, 3])},
            "labels run from 0 to 3",
        ),
        (
            {"images": np.zeros((2, 16, 16, 3), np.float32), "labels": np.array([0, 1])},
            "images must be uint8 or uint16, got float32",
        ),
        (
            {"images": np.zeros((3, 16, 16, 3), np.uint8), "labels": np.array([0, 1])},
            "3 images but 2 labels",
        ),
        (
            {"images": np.zeros((0, 16, 16, 3), np.uint8), "labels": np.zeros(0, int)},
            "holds no examples",
        ),
    ],
)
def test_bad_data_is_refused(
    type_command: Type, home: Path, tmp_path: Path, arrays: dict[str, object], message: str
) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)  # type: ignore[arg-type]
    output = tmp_path / "update.safetensors"

    typed = type_command(
        "finetune", home / "model.safetensors", "--data", tmp_path / "bad.npz", "-o", output
    )

    assert typed.exit_code == 3
    assert message in typed.stderr
    assert not output.exists()


def test_data_in_another_order_of_classes_gives_the_same_update(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    with np.load(home / "data.npz") as known:
        images, labels = known["images"], known["labels"]
    order = ("cat", "ant", "bee")  # the model's are ant, bee, cat
    reordered = np.array([1, 2, 0])[labels]
    np.savez(tmp_path / "other.npz", images=images, labels=reordered, class_names=order)

    documents, updates = [], []
    for data in (home / "data.npz", tmp_path / "other.npz"):
        output = tmp_path / f"{data.stem}.safetensors"
        typed = type_command(
            "finetune", home / "model.safetensors", "--data", data, "--eval-data", data,
            "-o", output, "--json",
        )  # fmt: skip
        documents.append(typed.document)
        updates.append(read_update(output).arrays)

    assert documents[0]["accuracy_before"] == documents[1]["accuracy_before"]
    assert documents[0]["losses"] == documents[1]["losses"]
    for name, array in updates[0].items():
        np.testing.assert_array_equal(array, updates[1][name])


def test_a_model_without_names_is_measured_by_those_of_its_training_data(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    named = read_checkpoint(home / "model.safetensors")
    write_checkpoint(replace(named, class_names=None), tmp_path / "nameless.safetensors")
    with np.load(home / "data.npz") as known:
        images, labels = known["images"], known["labels"]
    np.savez(tmp_path / "train.npz", images=images, labels=labels, class_names=["x", "y", "z"])
    reordered = np.array([2, 1, 0])[labels]
    np.savez(tmp_path / "test.npz", images=images, labels=reordered, class_names=["z", "y", "x"])

    accuracies = [
        type_command(
            "finetune", tmp_path / "nameless.safetensors", "--data", tmp_path / "train.npz",
            "--eval-data", tmp_path / name, "-o", tmp_path / "update.safetensors", "--json",
        ).document["accuracy_after"]
        for name in ("train.npz", "test.npz")
    ]  # fmt: skip

    assert accuracies[0] == accuracies[1]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("ant", "bee", "cow"), "the model has no class called 'cow', only 'ant', 'bee', 'cat'"),
        (("ant", "bee", "ant"), "several of its classes are called 'ant'"),
    ],
)
def test_classes_that_are_not_the_models_are_refused_by_name(
    type_command: Type, home: Path, tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    images, labels = np.zeros((3, 16, 16, 3), np.uint8), np.arange(3)
    np.savez(tmp_path / "data.npz", images=images, labels=labels, class_names=names)

    typed = type_command(
        "finetune", home / "model.safetensors", "--data", tmp_path / "data.npz",
        "-o", tmp_path / "update.safetensors",
    )  # fmt: skip

    assert typed.exit_code == 3
    assert message in " ".join(typed.stderr.split())


def test_a_truncated_checkpoint_is_refused(type_command: Type, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    content = (home / "model.safetensors").read_bytes()
    path.write_bytes(content[: len(content) // 2])

    typed = type_command(
        "finetune", path, "--data", home / "data.npz", "-o", tmp_path / "update.safetensors"
    )

    assert typed.exit_code == 3
    assert "not a readable safetensors file" in typed.stderr
