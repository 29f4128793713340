"""A checkpoint, data and a bundle on disk, and a way to type commands."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from reefl_edge.checkpoints.checkpoint import Checkpoint, write_checkpoint
from reefl_edge.cli import app
from reefl_edge.models.arrays import arrays_of, random_network
from reefl_export.bundle import Origin, export_checkpoint
from reefl_export.recipe import stock
from tests.fakes.images import random_images
from tests.fakes.submodels import tiny_submodel


@dataclass(frozen=True, slots=True)
class Typed:
    """What a command did."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """What it printed on stdout, which must be one JSON document."""
        return json.loads(self.stdout)


Type = Callable[..., Typed]


@pytest.fixture
def type_command() -> Type:
    """Run ``reefl-edge`` with arguments, in this process."""

    def run(*arguments: object) -> Typed:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Typed(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands read; no test changes it."""
    folder = tmp_path_factory.mktemp("home")
    network = random_network(tiny_submodel(num_blocks=2), seed=0)
    checkpoint = Checkpoint(
        submodel=network.submodel, arrays=arrays_of(network), class_names=("ant", "bee", "cat")
    )
    write_checkpoint(checkpoint, folder / "model.safetensors")
    images = random_images(12)
    labels = np.arange(12) % 3
    np.savez(folder / "data.npz", images=images, labels=labels)
    for name, image in zip(("first.png", "second.png"), images, strict=False):
        Image.fromarray(image).save(folder / name)
    (folder / "broken.png").write_bytes(b"no image")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REEFL_EDGE_HOME", str(folder / "cache"))
        export_checkpoint(checkpoint, folder / "bundle", stock(["onnx"]), Origin(name="model"))
    return folder


@pytest.fixture(autouse=True)
def _environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REEFL_EDGE_HOME", str(home / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
