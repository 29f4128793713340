"""``reefl-edge apply``."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.checkpoint import read_checkpoint
from reefl_edge.checkpoints.update import write_update
from reefl_edge.regimes import Regime
from reefl_export.bundle import ExportImages, Origin, export_checkpoint
from reefl_export.images import noise
from reefl_export.recipe import stock
from tests.bare import BARE_PYTHON, SOURCES, needs_bare
from tests.cli.conftest import Type
from tests.export.refill.updates import update_of


def written(home: Path, folder: Path, regime: Regime = "lora") -> Path:
    """Write an update of the bundle's model."""
    path = folder / "update.safetensors"
    write_update(update_of(read_checkpoint(home / "model.safetensors"), regime), path)
    return path


def test_an_update_goes_into_a_bundle_that_then_answers(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    update = written(home, tmp_path)

    typed = type_command("apply", home / "bundle", update, "-o", tmp_path / "new", "--json")

    assert typed.exit_code == 0, typed.stderr
    assert typed.document["bundle"] == str(tmp_path / "new")
    assert typed.document["left_out"] == []
    assert typed.document["weights_sha256"] == Bundle.open(tmp_path / "new").manifest.weights_sha256
    assert f"next: reefl-edge infer {tmp_path / 'new'} IMAGE" in typed.stderr
    assert type_command("infer", tmp_path / "new", home / "first.png").exit_code == 0
    assert type_command("parity", tmp_path / "new").exit_code == 0


def test_what_is_left_out_is_said_with_the_command_that_makes_it(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    checkpoint = read_checkpoint(home / "model.safetensors")
    recipes = stock(["executorch", "onnx", "coreml"])
    images = ExportImages(calibration=noise(checkpoint.submodel))
    origin = Origin(name="tiny", threshold=0.8)
    export_checkpoint(checkpoint, tmp_path / "bundle", recipes, origin, images=images)

    typed = type_command(
        "apply", tmp_path / "bundle", written(home, tmp_path), "-o", tmp_path / "new"
    )

    assert typed.exit_code == 0, typed.stderr
    assert "executorch-fp32 is left out: ExecuTorch holds the weights compiled" in typed.stderr
    assert "coreml-fp32 is left out: Core ML holds the weights compiled" in typed.stderr
    command = f"reefl-edge export {tmp_path / 'new'} --format executorch --precision fp32 -o"
    assert command in typed.stderr
    assert "the confidences to stop at are those that were chosen for the weights" in typed.stderr
    assert "the graphs as they were exported read every array anew" in typed.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("model.safetensors",), 3, "model.safetensors is not an update"),
        (("missing.safetensors",), 3, "missing.safetensors: no such file"),
        (("broken.png",), 3, "broken.png is not a readable safetensors file"),
        (("update", "--num-images", "4"), 2, "it counts images"),
        (("update", "--calibration", "data.npz"), 2, "only for onnx-int8-static"),
        (("update", "-o", "bundle"), 2, "is or holds an input"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    arguments: tuple[str, ...],
    code: int,
    message: str,
    type_command: Type,
    home: Path,
    tmp_path: Path,
) -> None:
    update = written(home, tmp_path)
    places = [str(home / word) if (home / word).exists() else word for word in arguments]
    words = [str(update) if word == "update" else word for word in places]
    output = () if "-o" in words else ("-o", tmp_path / "new")

    typed = type_command("apply", home / "bundle", *words, *output)

    assert (typed.exit_code, message in typed.stderr) == (code, True), typed.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("damage", ["torn", "nan", "missing", "unknown", "shape"])
def test_a_damaged_update_is_refused(
    damage: str, type_command: Type, home: Path, tmp_path: Path
) -> None:
    path = written(home, tmp_path)
    content = path.read_bytes()
    header = {
        "torn": content[: len(content) // 2],
        "nan": content[:-4] + np.float32("nan").tobytes(),
        "missing": content.replace(b'"classifier.norm.bias"', b'"classifier.norm.blas"'),
        "unknown": content.replace(b'"classifier.norm.bias"', b'"classifier.norm.bia2"'),
        "shape": content.replace(b'"shape":[3,16]', b'"shape":[16,3]'),
    }
    path.write_bytes(header[damage])
    assert header[damage] != content

    typed = type_command("apply", home / "bundle", path, "-o", tmp_path / "new")

    assert typed.exit_code == 3
    assert typed.stderr.count("error: ") == 1
    assert not (tmp_path / "new").exists()


@needs_bare
def test_it_needs_no_torch(home: Path, tmp_path: Path) -> None:
    update = written(home, tmp_path)
    script = (
        "import sys\n"
        "from reefl_edge.__main__ import main\n"
        "try: main()\n"
        "finally: assert not {'torch', 'onnx'} & set(sys.modules)\n"
    )

    ran = subprocess.run(
        [
            BARE_PYTHON, "-c", script,
            "apply", home / "bundle", update, "-o", tmp_path / "new", "--json",
        ],
        env={**os.environ, **SOURCES},
        capture_output=True,
        text=True,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stderr
    assert Bundle.open(tmp_path / "new").manifest.weights_sha256 in ran.stdout
