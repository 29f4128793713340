"""The wheel, installed without torch and with the newest Typer."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from reefl_edge.agent.building import build_agent
from reefl_edge.agent.sources import RootFolder
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.hashes import base_sha256
from reefl_edge.checkpoints.update import read_update
from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.finetune.client import train_client
from reefl_edge.finetune.evaluate import checkpoint_accuracy
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.models.arrays import arrays_of, random_network
from reefl_edge.regimes import Regime
from reefl_export.bundle import Origin, export_checkpoint
from reefl_export.recipe import stock
from reefl_export.training import TrainingPlan
from tests.agent.programs import INSTALLER, write_program
from tests.agent.roots import make_root
from tests.bare import BARE_PYTHON, ROOT, needs_bare
from tests.fakes.images import random_images
from tests.fakes.submodels import tiny_submodel

pytestmark = needs_bare


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that the checkout stays as it is."""
    source = tmp_path_factory.mktemp("source")
    for name in ("reefl_edge", "export", "device_profiles"):
        shutil.copytree(ROOT / name, source / name)
    for name in ("pyproject.toml", "requirements-bare.lock", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
        cwd=source, check=True, capture_output=True,
    )  # fmt: skip
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, as it lies once installed."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run_bare(site: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the wheel's command in the bare environment, away from the sources."""
    return subprocess.run(
        [BARE_PYTHON, "-c", "from reefl_edge.__main__ import main; main()", *arguments],
        cwd=site,
        env={**os.environ, "PYTHONPATH": str(site), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )


def test_the_wheel_brings_both_packages_and_the_profiles(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())

    assert {"reefl_edge/submodel.py", "reefl_export/bundle.py", "reefl_edge/py.typed"} <= names
    assert "reefl_edge/device_profiles/pixel7.toml" in names
    assert not [name for name in names if name.startswith("tests/")]


def test_there_is_no_torch_in_the_bare_install(site: Path) -> None:
    typed = run_bare(site, "doctor", "--json")

    works = {entry["what"]: entry["works"] for entry in json.loads(typed.stdout)["capabilities"]}
    assert works["run ONNX bundles"]
    assert not works["fine-tune, run eager"]


def test_the_bare_install_runs_an_onnx_bundle(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REEFL_EDGE_HOME", str(tmp_path / "cache"))
    network = random_network(tiny_submodel(num_blocks=2), seed=0)
    checkpoint = Checkpoint(submodel=network.submodel, arrays=arrays_of(network))
    export_checkpoint(checkpoint, tmp_path / "bundle", stock(["onnx"]), Origin(name="tiny"))
    np.save(tmp_path / "images.npy", random_images(3))

    typed = run_bare(
        site, "infer", str(tmp_path / "bundle"), str(tmp_path / "images.npy"), "--json"
    )

    assert typed.returncode == 0, typed.stderr
    assert len(json.loads(typed.stdout)["predictions"]) == 3


@pytest.mark.parametrize("regime", ["frozen", "lora"])
def test_the_bare_install_trains_a_bundle_with_a_compiled_step(
    regime: Regime, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REEFL_EDGE_HOME", str(tmp_path / "cache"))
    network = random_network(tiny_submodel(num_blocks=2), seed=0)
    checkpoint = Checkpoint(submodel=network.submodel, arrays=arrays_of(network))
    plan = TrainingPlan(regimes=(regime,), batch_size=4)
    export_checkpoint(
        checkpoint, tmp_path / "bundle", stock(["onnx"]), Origin(name="tiny"), training=plan
    )
    labels = np.ones(6, np.int64)  # which the network does not say before
    np.savez(tmp_path / "data.npz", images=random_images(6), labels=labels)
    held_out = ArrayDataset(
        random_images(60, seed=1), np.repeat([0, 1, 2], [10, 20, 30]), ("0", "1", "2"), 16
    )
    np.savez(tmp_path / "held_out.npz", images=random_images(60, seed=1), labels=held_out.labels)

    typed = run_bare(
        site, "finetune", str(tmp_path / "bundle"), "--data", str(tmp_path / "data.npz"),
        "--regime", regime, "--lr", "0.5", "--eval-data", str(tmp_path / "held_out.npz"),
        "-o", str(tmp_path / "update.safetensors"), "--json",
    )  # fmt: skip

    assert typed.returncode == 0, typed.stderr
    document = json.loads(typed.stdout)
    assert document["num_steps"] == 2
    trained = read_update(tmp_path / "update.safetensors")
    assert trained.provenance.base_sha256 == base_sha256(checkpoint.arrays)
    by_torch = train_client(
        Bundle.open(tmp_path / "bundle"),
        regime,
        ArrayDataset(random_images(6), labels, ("0", "1", "2"), 16),
        LocalTraining(batch_size=4, learning_rate=0.5),
    )
    for name, array in by_torch.update.arrays.items():
        np.testing.assert_allclose(trained.arrays[name], array, atol=1e-4)
    for key, checkpoint in (("before", by_torch.start), ("after", by_torch.trained)):
        expected = checkpoint_accuracy(checkpoint, held_out)
        np.testing.assert_allclose(document[f"accuracy_{key}"], expected, atol=1 / 60 + 1e-9)
    assert document["accuracy_before"] != document["accuracy_after"]

    profiled = run_bare(
        site, "profile", "--model", str(tmp_path / "bundle"), "--regime", regime, "--threads", "1",
        "--passes", "1", "--budget-step-ms", "60000", "--accept-noisy", "--json",
    )  # fmt: skip

    assert profiled.returncode == 0, profiled.stderr
    document = json.loads(profiled.stdout)
    (step,) = (row for row in document["rows"] if row["kind"] == "step")
    assert (step["runtime"], step["regime"], step["batch_size"]) == ("onnx", regime, 4)
    assert document["choice"]["exit_index"] == step["exit_index"] == 1


def test_the_bare_install_measures_an_onnx_bundle_and_lists_devices(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REEFL_EDGE_HOME", str(tmp_path / "cache"))
    network = random_network(tiny_submodel(num_blocks=2), seed=0)
    checkpoint = Checkpoint(submodel=network.submodel, arrays=arrays_of(network))
    export_checkpoint(checkpoint, tmp_path / "bundle", stock(["onnx"]), Origin(name="tiny"))

    profiled = run_bare(
        site, "profile", "--model", str(tmp_path / "bundle"), "--regime", "none",
        "--threads", "1", "--json",
    )  # fmt: skip
    listed = run_bare(site, "devices")

    assert profiled.returncode == 0, profiled.stderr
    assert len(json.loads(profiled.stdout)["rows"]) == 2
    assert listed.returncode == 0, listed.stderr
    assert "pixel7" in listed.stdout


def test_the_bare_install_builds_the_agent_that_a_checkout_does(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV", str(write_program(tmp_path / "uv", INSTALLER)))
    monkeypatch.setenv("REEFL_EDGE_HOME", str(tmp_path / "cache"))
    root = make_root(tmp_path / "root", "arm64")

    typed = run_bare(site, "agent", "build", "--from", str(root), "--json")

    assert typed.returncode == 0, typed.stderr
    monkeypatch.setenv("REEFL_EDGE_HOME", str(tmp_path / "another"))
    assert json.loads(typed.stdout)["sha256"] == build_agent("arm64", RootFolder(root)).sha256


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("export", "digits", "-o", "out"), "needs torch; install 'reefl-edge[train]'"),
        (
            ("demo",),
            "the demo needs torch, executorch, onnxscript, coremltools, sklearn, matplotlib",
        ),
    ],
)
def test_a_missing_extra_is_named(site: Path, arguments: tuple[str, ...], message: str) -> None:
    typed = run_bare(site, *arguments)

    assert typed.returncode == 5
    assert message in typed.stderr
    assert "Traceback" not in typed.stderr
