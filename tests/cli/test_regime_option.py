"""``--regime``: adapters from the command line, from a plain checkpoint to a bundle."""

from pathlib import Path

import pytest

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.update import read_update
from reefl_edge.models.arrays import random_network
from reefl_edge.models.checkpoint import save_checkpoint
from reefl_edge.regimes import REGIMES, Regime
from tests.cli.conftest import Type
from tests.fakes.submodels import tiny_submodel


@pytest.mark.parametrize(
    ("regime", "exported"), [("lora", "full"), ("serial-adapter", "serial-adapter")]
)
def test_a_plain_model_is_finetuned_with_adapters_and_exported_with_the_update(
    type_command: Type, home: Path, tmp_path: Path, regime: Regime, exported: Regime
) -> None:
    model, update, bundle = home / "model.safetensors", tmp_path / "update.safetensors", tmp_path

    trained = type_command(
        "finetune", model, "--data", home / "data.npz", "--regime", regime, "-o", update
    )
    made = type_command(
        "export", model, "--update", update, "--format", "onnx", "-o", bundle / "bundle"
    )

    assert trained.exit_code == made.exit_code == 0
    assert read_update(update).submodel.regime == regime
    assert Bundle.open(bundle / "bundle").manifest.submodel.regime == exported


@pytest.mark.parametrize("command", ["finetune", "profile"])
def test_the_help_lists_every_regime(type_command: Type, command: str) -> None:
    text = " ".join(type_command(command, "--help").stdout.replace("│", " ").split())

    assert all(regime in text for regime in REGIMES)


@pytest.mark.parametrize(
    ("given", "regime", "message"),
    [
        ("parallel-adapter", "lora", "do not fold"),
        ("full", "lorra", "did you mean lora?"),
    ],
)
def test_a_regime_that_does_not_fit_or_exist_is_a_usage_error(
    type_command: Type, home: Path, tmp_path: Path, given: Regime, regime: str, message: str
) -> None:
    model = tmp_path / "model.safetensors"
    save_checkpoint(random_network(tiny_submodel().with_regime(given), seed=0), model)

    typed = type_command(
        "finetune", model, "--data", home / "data.npz", "--regime", regime, "-o", tmp_path / "u"
    )

    assert typed.exit_code == 2
    assert message in " ".join(typed.stderr.replace("│", " ").split())
