"""Export and training with ExecuTorch's step, by the commands."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from reefl_edge.checkpoints.update import read_update
from tests.cli.conftest import Type

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("executorch") is None, reason="executorch makes the program"),
]


def test_a_bundle_trains_with_the_format_it_is_told(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    exported = type_command(
        "export", home / "model.safetensors", "--format", "executorch,onnx", "--training", "frozen",
        "--training-batch-size", 4, "-o", bundle,
    )  # fmt: skip
    assert exported.exit_code == 0, exported.stderr
    assert "executorch frozen training" in exported.stdout
    assert type_command("parity", bundle).exit_code == 0

    updates = {}
    for named, runs in (("onnx", None), ("executorch", "executorch")):
        path = tmp_path / f"{named}.safetensors"
        typed = type_command(
            "finetune", bundle, "--data", home / "data.npz", "--epochs", 2,
            *(() if runs is None else ("--runtime", runs)), "-o", path, "--json",
        )  # fmt: skip
        assert typed.exit_code == 0, typed.stderr
        assert typed.document["runtime"] == named
        updates[named] = read_update(path)

    for name, array in updates["onnx"].arrays.items():
        np.testing.assert_allclose(updates["executorch"].arrays[name], array, atol=1e-4)

    profiled = type_command(
        "profile", "--model", bundle, "--step-runtime", "executorch", "--threads", 1,
        "--passes", 1, "--json",
    )  # fmt: skip
    assert profiled.exit_code == 0, profiled.stderr
    (step,) = (row for row in profiled.document["rows"] if row["kind"] == "step")
    assert (step["runtime"], step["exit_index"], step["batch_size"]) == ("executorch", 1, 4)
