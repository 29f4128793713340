"""Folding adapters, changing a checkpoint's regime, and updates that carry adapters."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reefl_edge.checkpoints.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from reefl_edge.checkpoints.update import Update, apply_update, read_update, write_update
from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.errors import InputError
from reefl_edge.finetune.client import train_client
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.models.arrays import arrays_of, network_from, random_network
from reefl_edge.models.reefl import ReeFL
from reefl_edge.models.regime import with_regime
from reefl_edge.regimes import REGIMES, Regime, is_adapter
from tests.fakes.images import random_images
from tests.fakes.networks import random_arrays, random_batch
from tests.fakes.submodels import narrow_submodel, tiny_submodel

DATASET = ArrayDataset(random_images(4), np.array([0, 1, 2, 0]), ("a", "b", "c"), 16)
ADAPTED: tuple[Regime, ...] = ("lora", "parallel-adapter", "serial-adapter", "ssf")


def checkpoint_of(regime: Regime, *, num_exits: int = 4, max_exit: int = 3) -> Checkpoint:
    submodel = narrow_submodel(regime, num_exits=num_exits, max_exit=max_exit)
    arrays = {name: array.numpy() for name, array in random_arrays(submodel).items()}
    return Checkpoint(submodel=submodel, arrays=arrays)


def logits_of(checkpoint: Checkpoint) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = network_from(checkpoint.submodel, checkpoint.arrays)(
            random_batch(size=4)[0]
        )
    return logits


@pytest.mark.parametrize("regime", ["lora", "ssf"])
@pytest.mark.parametrize(("num_exits", "max_exit"), [(4, 0), (4, 3), (12, 11)])
def test_folding_leaves_the_logits_of_every_exit_alone(
    regime: Regime, num_exits: int, max_exit: int
) -> None:
    checkpoint = checkpoint_of(regime, num_exits=num_exits, max_exit=max_exit)

    folded = checkpoint.folded()

    assert folded.submodel == replace(checkpoint.submodel, regime="full")
    assert {name: array.shape for name, array in folded.arrays.items()} == {
        spec.name: spec.shape for spec in folded.submodel.arrays()
    }
    assert (logits_of(folded) - logits_of(checkpoint)).abs().max() <= 1e-5


def test_lora_folds_into_queries_and_values_only() -> None:
    checkpoint = checkpoint_of("lora", max_exit=0)
    name = "blocks.2.attn.qkv.weight"

    before, after = (
        part.arrays[name].reshape(3, 32, 32) for part in (checkpoint, checkpoint.folded())
    )

    b, a = (checkpoint.arrays[f"blocks.2.attn.lora_v.{factor}"] for factor in "ba")
    np.testing.assert_array_equal(after[1], before[1])
    np.testing.assert_allclose(after[2], before[2] + 2 * b @ a, atol=1e-6)


@pytest.mark.parametrize("regime", ["full", "frozen", "parallel-adapter", "serial-adapter"])
def test_what_does_not_fold_stays(regime: Regime) -> None:
    checkpoint = checkpoint_of(regime, max_exit=0)

    assert checkpoint.folded() is checkpoint


@pytest.mark.parametrize("before", ["full", "lora", "ssf"])
@pytest.mark.parametrize("after", REGIMES)
def test_a_checkpoint_under_another_regime_keeps_what_it_learnt(
    before: Regime, after: Regime
) -> None:
    checkpoint = checkpoint_of(before, max_exit=0)

    changed = with_regime(checkpoint, after, seed=0)

    assert changed.submodel.regime == after
    assert changed.arrays.keys() == {spec.name for spec in changed.submodel.arrays()}
    if before == after:
        assert changed is checkpoint
    else:
        again = with_regime(checkpoint, after, seed=0).arrays
        for name, array in (again | checkpoint.folded().arrays).items():
            np.testing.assert_array_equal(array, changed.arrays[name])


def plain_checkpoint() -> Checkpoint:
    network = random_network(tiny_submodel(), seed=0)
    return Checkpoint(submodel=network.submodel, arrays=arrays_of(network))


def trained(checkpoint: Checkpoint, path: Path) -> tuple[ReeFL, Update]:
    """Fine-tune, and return where it started and the update, read from its file."""
    network = network_from(checkpoint.submodel, checkpoint.arrays)
    regime = checkpoint.submodel.regime
    result = train_client(checkpoint, regime, DATASET, LocalTraining(batch_size=2))
    write_update(result.update, path)
    return network, read_update(path)


@pytest.mark.parametrize("regime", REGIMES)
def test_an_update_of_any_regime_goes_onto_the_plain_checkpoint(
    regime: Regime, tmp_path: Path
) -> None:
    plain = plain_checkpoint()
    started = with_regime(plain, regime, seed=0)

    _, update = trained(started, tmp_path / "update.safetensors")
    updated = apply_update(plain, update)
    write_checkpoint(updated, tmp_path / "updated.safetensors")  # it is whole: it can be read

    assert update.arrays.keys() == {s.name for s in started.submodel.arrays() if s.is_trained}
    arrays = read_checkpoint(tmp_path / "updated.safetensors").arrays
    for name, array in arrays.items():
        expected = update.arrays.get(name, plain.arrays.get(name))
        np.testing.assert_array_equal(array, expected)
    changed = [name for name in update.arrays if (arrays[name] != started.arrays[name]).any()]
    assert any(map(is_adapter, changed)) == (regime in ADAPTED)


@pytest.mark.parametrize("regime", ADAPTED)
def test_blocks_beyond_an_update_stay_as_they_are(regime: Regime, tmp_path: Path) -> None:
    plain = plain_checkpoint()
    started = with_regime(plain.cut(0), regime, seed=0)

    _, update = trained(started, tmp_path / "update.safetensors")
    updated = apply_update(plain, update)

    assert updated.submodel == replace(plain.submodel, regime=regime)
    network = network_from(updated.submodel, updated.arrays)
    reference = network_from(plain.submodel, plain.arrays)
    tokens = torch.randn(2, 5, 16)
    for block_index in (2, 3):
        with torch.no_grad():
            difference = network.blocks[block_index](tokens) - reference.blocks[block_index](tokens)
        assert difference.abs().max() < 1e-6
    before, after = (
        network_from(part.submodel, part.arrays)
        for part in (updated.cut(0), apply_update(started, update))
    )
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(before(images), after(images))


@pytest.mark.parametrize("regime", ["lora", "ssf"])
def test_a_regime_after_another_starts_from_what_was_folded(regime: Regime, tmp_path: Path) -> None:
    first = with_regime(plain_checkpoint(), regime, seed=0)

    _, update = trained(with_regime(first, "frozen", seed=0), tmp_path / "update.safetensors")
    updated = apply_update(first, update)

    assert updated.submodel.regime == "full"
    assert updated.arrays.keys() == plain_checkpoint().arrays.keys()


def test_an_update_for_other_weights_or_other_adapters_is_refused(tmp_path: Path) -> None:
    plain = plain_checkpoint()
    _, update = trained(with_regime(plain, "lora", seed=0), tmp_path / "update.safetensors")
    name = "blocks.0.norm1.bias"
    other = replace(plain, arrays={**plain.arrays, name: plain.arrays[name] + 1})

    with pytest.raises(InputError, match="the update was trained from weights"):
        apply_update(other, update)
    with pytest.raises(InputError, match="does not fit: the model has adapters of regime 'serial"):
        apply_update(with_regime(plain, "serial-adapter", seed=0), update)


def test_lora_is_summed_rank_by_rank_on_every_machine() -> None:
    checkpoint = checkpoint_of("lora", max_exit=0)
    attention = "blocks.1.attn"
    a, b = (checkpoint.arrays[f"{attention}.lora_q.{part}"].astype(np.float64) for part in "ab")
    product = np.zeros((len(b), a.shape[1]))
    for column, row in zip(b.T, a, strict=True):
        product += np.outer(column, row)

    folded = checkpoint.folded().arrays[f"{attention}.qkv.weight"][: len(b)]

    before = checkpoint.arrays[f"{attention}.qkv.weight"][: len(b)].astype(np.float64)
    np.testing.assert_array_equal(folded, (before + 2 * product).astype(np.float32))
