"""``reefl-edge export --training``, and ``finetune`` with the step that it compiled."""

from pathlib import Path

import numpy as np
import pytest

from reefl_edge.checkpoints.update import read_update
from tests.cli.conftest import Type


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture
def bundle(type_command: Type, home: Path, folder: Path) -> Path:
    """A bundle that trains what all exits share, four images at a time."""
    path = folder / "bundle"
    if not path.exists():
        typed = type_command(
            "export", home / "model.safetensors", "--format", "onnx", "--training", "frozen",
            "--training-batch-size", 4, "-o", path,
        )  # fmt: skip
        assert typed.exit_code == 0, typed.stderr
        assert "onnx frozen training" in typed.stdout
    return path


def test_a_compiled_step_gives_the_update_that_pytorch_gives(
    type_command: Type, home: Path, bundle: Path, tmp_path: Path
) -> None:
    updates = {}
    for runtime, model in (("onnx", bundle), ("eager", home / "model.safetensors")):
        path = tmp_path / f"{runtime}.safetensors"
        typed = type_command(
            "finetune", model, "--data", home / "data.npz", "--runtime", runtime,
            "--batch-size", 4, "--epochs", 3, "--seed", 5, "-o", path, "--json",
        )  # fmt: skip
        assert typed.exit_code == 0, typed.stderr
        assert typed.document["runtime"] == runtime
        updates[runtime] = read_update(path)

    assert updates["onnx"].provenance == updates["eager"].provenance
    assert updates["onnx"].submodel == updates["eager"].submodel
    for name, array in updates["eager"].arrays.items():
        np.testing.assert_allclose(updates["onnx"].arrays[name], array, atol=1e-4)


def test_the_step_that_will_run_is_measured_and_the_export_that_makes_it_suggested(
    type_command: Type, bundle: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    options = ("--threads", 1, "--passes", 1, "--accept-noisy", "-o", report)

    typed = type_command("profile", "--model", bundle, "--budget-step-ms", 60_000, *options)
    other = type_command("profile", "--model", bundle, "--batch-size", 8, *options)

    assert typed.exit_code == 0, typed.stderr
    assert "step on onnx, threads 1" in typed.stdout
    assert (
        f"export {bundle} --report {report} --format onnx --training frozen "
        "--training-batch-size 4 -o bundle"
    ) in typed.stderr
    assert other.exit_code == 2
    message = " ".join(other.stderr.replace("│", "").split())
    assert "'--batch-size': the onnx step that trains frozen was compiled for 4 images" in message


def test_a_bundle_that_trains_is_trained_with_its_own_step_and_batch(
    type_command: Type, home: Path, bundle: Path, tmp_path: Path
) -> None:
    update, data = tmp_path / "update.safetensors", home / "data.npz"

    typed = type_command(
        "finetune", bundle, "--data", data, "--eval-data", data, "-o", update, "--json"
    )

    assert typed.exit_code == 0, typed.stderr
    assert "warning" not in typed.stderr
    assert len(typed.document["accuracy_after"]) == 2
    assert typed.document["runtime"] == "onnx"
    assert typed.document["num_steps"] == 3  # twelve examples, four at a time
    assert f"next: reefl-edge apply {bundle} {update} -o new-bundle" in typed.stderr
    exported = type_command(
        "export", bundle, "--update", update, "--format", "onnx", "-o", tmp_path / "updated"
    )
    assert exported.exit_code == 0, exported.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("--budget-mib", 1), 6, "MiB, not 1; compile a smaller one with 'reefl-edge export MODEL"),
        (("--budget-mib", 1, "--runtime", "eager"), 2, "nothing is predicted of eager"),
        (
            ("--batch-size", 5),
            2,
            "takes up to 4 images, not 5; compile a larger one with 'reefl-edge export MODEL "
            "--training frozen --training-batch-size 5 --format onnx'",
        ),
        (
            ("--regime", "lora"),
            3,
            "has no onnx step that trains lora, only frozen: choose it with --regime, or compile "
            "it with 'reefl-edge export MODEL --training frozen,lora --training-batch-size 4 "
            "--format onnx'",
        ),
        (("--recompute",), 2, "for eager; a compiled step has it from the export"),
        (("--max-exit", 0), 2, "the step was compiled for exits 0 to 1"),
        (("--image-size", 32), 2, "'--image-size': the step was compiled for 16 pixels"),
        (("--num-classes", 7), 2, "num_classes"),
        (("--budget-mib", "nan"), 2, "a budget is a positive number of MiB, got nan"),
    ],
)
def test_what_was_not_compiled_is_refused_with_the_way_out(
    type_command: Type,
    home: Path,
    bundle: Path,
    tmp_path: Path,
    arguments: tuple[object, ...],
    exit_code: int,
    message: str,
) -> None:
    typed = type_command(
        "finetune", bundle, "--data", home / "data.npz", *arguments,
        "-o", tmp_path / "update.safetensors",
    )  # fmt: skip

    assert typed.exit_code == exit_code
    assert message in " ".join(typed.stderr.replace("│", " ").split())


def test_a_compiled_step_is_asked_of_a_bundle(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    typed = type_command(
        "finetune", home / "model.safetensors", "--data", home / "data.npz", "--runtime", "onnx",
        "-o", tmp_path / "update.safetensors",
    )  # fmt: skip

    assert typed.exit_code == 2
    assert "onnx runs the compiled step of a bundle" in " ".join(typed.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--training-batch-size", 4), "say which regimes to compile a training step for"),
        (("--training", "frozn"), "frozen"),
        (("--training", "frozen", "--format", "coreml"), "no format planned takes training"),
        (
            ("--training", "frozen", "--training-recompute", "--format", "onnx,executorch"),
            "only an onnx step computes blocks again",
        ),
    ],
)
def test_training_that_cannot_be_compiled_is_a_usage_error(
    type_command: Type, home: Path, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    typed = type_command(
        "export", home / "model.safetensors", *arguments, "-o", tmp_path / "bundle"
    )

    assert typed.exit_code == 2
    assert message in " ".join(typed.stderr.split())


def test_a_budget_that_no_step_fits_in_stops_an_export(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    typed = type_command(
        "export", home / "model.safetensors", "--training", "frozen", "--budget-mib", 5,
        "-o", tmp_path / "bundle",
    )  # fmt: skip

    assert typed.exit_code == 6
    assert "no training step fits in 5 MiB; the smallest takes" in typed.stderr
    assert not (tmp_path / "bundle").exists()
