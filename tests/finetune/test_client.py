"""Is what a client sends back trained as its regime says, on all of its data, and reproducible?"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.hashes import weights_sha256
from reefl_edge.checkpoints.update import apply_update
from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.errors import DivergenceError
from reefl_edge.finetune.client import ClientResult, train_client
from reefl_edge.finetune.rounds import distill_weight, learning_rate
from reefl_edge.finetune.step import local_step, trained_parameters
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.models import ReeFL
from reefl_edge.models.arrays import arrays_of, network_from
from reefl_edge.models.preprocess import normalise
from reefl_export.bundle import Origin, export_checkpoint
from reefl_export.recipe import stock
from tests.fakes.networks import checkpoint_of, lively_network
from tests.fakes.submodels import tiny_submodel


def finetune(network: ReeFL, dataset: ArrayDataset, **settings: Any) -> ClientResult:
    """Train what a network holds, under its own regime."""
    on_step = settings.pop("on_step", None)
    return train_client(
        checkpoint_of(network),
        network.submodel.regime,
        dataset,
        LocalTraining(**settings),
        on_step=on_step,
    )


def assert_same_arrays(actual: Arrays, expected: Arrays) -> None:
    assert actual.keys() == expected.keys()
    for name, array in actual.items():
        assert np.array_equal(array, expected[name]), name


def test_one_epoch_takes_a_step_per_batch_and_keeps_the_partial_one(
    tiny_network: ReeFL, tiny_dataset: ArrayDataset
) -> None:
    seen = []

    result = finetune(
        *(tiny_network, tiny_dataset),
        epochs=2,
        batch_size=4,
        on_step=lambda done, total, _: seen.append((done, total)),
    )

    assert seen == [(step, 6) for step in range(1, 7)]  # batches of 4, 4 and 2, twice
    assert result.history.num_steps == len(result.history.losses) == 6
    assert sum(result.history.teacher_counts) == 6
    assert len(result.history.teacher_counts) == 2


def test_training_is_local_steps_from_zero_running_losses(
    tiny_network: ReeFL, tiny_dataset: ArrayDataset
) -> None:
    parameters, running_losses = trained_parameters(tiny_network), torch.zeros(2)
    architecture = tiny_network.submodel.architecture
    losses, teachers, best_of_batch = [], [], []
    for indices in np.random.default_rng(7).permutation(10).reshape(5, 2):
        pixels = torch.from_numpy(tiny_dataset.images(indices))
        parameters, running_losses, metrics = local_step(
            tiny_network,
            parameters,
            running_losses,
            normalise(pixels, architecture.mean, architecture.std),
            torch.from_numpy(tiny_dataset.labels[indices]),
            torch.tensor(learning_rate(120)),
            torch.tensor(distill_weight(120)),
        )
        losses.append(float(metrics.loss))
        teachers.append(int(metrics.teacher_index))
        best_of_batch.append(int(metrics.exit_losses.argmin()))

    result = finetune(tiny_network, tiny_dataset, batch_size=2, server_round=120, seed=7)

    assert teachers != best_of_batch, "the running losses must matter for this to be a test"
    for name, array in result.update.arrays.items():  # changed in place: other rounding
        np.testing.assert_allclose(array, parameters[name], atol=1e-5, err_msg=name)
    assert result.history.losses == pytest.approx(losses, rel=1e-4)
    assert result.history.teacher_counts == (teachers.count(0), teachers.count(1))


def test_given_learning_rate_wins_over_the_schedule(
    tiny_network: ReeFL, tiny_dataset: ArrayDataset
) -> None:
    scheduled = finetune(tiny_network, tiny_dataset, server_round=500).update.arrays

    same = finetune(tiny_network, tiny_dataset, server_round=500, learning_rate=learning_rate(500))
    other = finetune(tiny_network, tiny_dataset, server_round=500, learning_rate=0.001)

    assert_same_arrays(same.update.arrays, scheduled)
    name = "classifier.linear.weight"
    assert not np.array_equal(other.update.arrays[name], scheduled[name])


def test_network_stays_as_it_was(tiny_network: ReeFL, tiny_dataset: ArrayDataset) -> None:
    before = {name: array.copy() for name, array in arrays_of(tiny_network).items()}

    result = finetune(tiny_network, tiny_dataset)

    assert_same_arrays(arrays_of(tiny_network), before)
    trained = result.update.arrays
    assert all(not np.array_equal(array, before[name]) for name, array in trained.items())


def test_frozen_update_holds_the_shared_arrays_and_leaves_the_rest_bit_identical(
    tiny_dataset: ArrayDataset,
) -> None:
    network = lively_network(replace(tiny_submodel(), regime="frozen"))
    before = arrays_of(network)

    update = finetune(network, tiny_dataset, epochs=3).update
    base = Checkpoint(submodel=network.submodel, arrays=before)
    after = apply_update(base, update).arrays

    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {name for name in before if name.startswith(("accumulator.", "classifier."))}
    assert set(update.arrays) == changed


def test_update_says_what_it_was_trained_from(
    tiny_network: ReeFL, tiny_dataset: ArrayDataset
) -> None:
    update = finetune(tiny_network, tiny_dataset, server_round=42).update

    assert update.submodel == tiny_network.submodel
    assert update.provenance.base_sha256 == weights_sha256(arrays_of(tiny_network))
    assert update.provenance.server_round == 42
    assert update.provenance.num_examples == 10
    assert all(array.dtype == np.float32 for array in update.arrays.values())


def test_seed_makes_training_reproducible(tiny_network: ReeFL, tiny_dataset: ArrayDataset) -> None:
    def losses(seed: int) -> tuple[float, ...]:
        return finetune(tiny_network, tiny_dataset, batch_size=4, seed=seed).history.losses

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


def test_loss_falls_on_examples_seen_again(tiny_network: ReeFL, tiny_dataset: ArrayDataset) -> None:
    result = finetune(tiny_network, tiny_dataset, epochs=30, learning_rate=0.02)
    arrays = {**arrays_of(tiny_network), **result.update.arrays}
    again = finetune(network_from(tiny_network.submodel, arrays), tiny_dataset)

    assert again.history.losses[0] < 0.5 * result.history.losses[0]


def test_client_of_depth_two_leaves_deeper_rows_of_the_depth_embedding(
    tiny_dataset: ArrayDataset,
) -> None:
    network = lively_network(tiny_submodel(max_exit=0))
    before = arrays_of(network)["accumulator.depth_embedding"].copy()

    after = finetune(network, tiny_dataset).update.arrays["accumulator.depth_embedding"]

    assert (after != before).any(axis=1).tolist() == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"server_round": 0}, "rounds are counted from 1, got 0"),
        ({"learning_rate": 0.0}, "the learning rate must be positive, got 0.0"),
        ({"learning_rate": 1e-50}, "the learning rate 1e-50 is zero or infinite as float32"),
        ({"learning_rate": 1e308}, r"the learning rate 1e\+308 is zero or infinite as float32"),
        ({"learning_rate": float("inf")}, "the learning rate inf is zero or infinite as float32"),
        ({"learning_rate": float("nan")}, "the learning rate must be positive, got nan"),
    ],
)
def test_option_out_of_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LocalTraining(**options)


def test_training_that_diverges_gives_no_update(
    tiny_network: ReeFL, tiny_dataset: ArrayDataset
) -> None:
    with pytest.raises(
        DivergenceError,
        match=r"training diverged at step 2 of 3, the loss of exit 0 is .*; lower the learning",
    ):
        finetune(tiny_network, tiny_dataset, learning_rate=1e38, epochs=3)


def test_empty_dataset_is_refused(tiny_network: ReeFL, tiny_dataset: ArrayDataset) -> None:
    with pytest.raises(ValueError, match="the dataset is empty"):
        finetune(tiny_network, tiny_dataset.subset(np.array([], np.int64)))


def test_a_round_starts_from_the_arrays_the_server_sends(
    tiny_network: ReeFL, tiny_dataset: ArrayDataset
) -> None:
    source = checkpoint_of(tiny_network)
    first = train_client(source, "frozen", tiny_dataset, LocalTraining(batch_size=4))
    sent = first.update.arrays
    training = LocalTraining(batch_size=4, seed=1)

    second = train_client(source, "frozen", tiny_dataset, training, start_arrays=sent)
    by_hand = train_client(
        apply_update(first.start, first.update), "frozen", tiny_dataset, training
    )

    assert_same_arrays(second.update.arrays, by_hand.update.arrays)
    assert second.update.provenance == by_hand.update.provenance
    assert second.update.provenance.base_sha256 != first.update.provenance.base_sha256


def test_a_bundle_is_trained_as_the_checkpoint_that_it_holds(
    tiny_network: ReeFL,
    tiny_dataset: ArrayDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REEFL_EDGE_HOME", str(tmp_path / "cache"))
    source = checkpoint_of(tiny_network).cut(0)
    bundle = export_checkpoint(
        source, tmp_path / "bundle", stock(["onnx"]), Origin(name="tiny")
    ).bundle
    training = LocalTraining(batch_size=4)

    of_bundle = train_client(bundle, "frozen", tiny_dataset, training)
    of_checkpoint = train_client(source, "frozen", tiny_dataset, training)

    assert of_bundle.update.submodel.max_exit == 0
    assert_same_arrays(of_bundle.update.arrays, of_checkpoint.update.arrays)
    assert of_bundle.update.provenance == of_checkpoint.update.provenance
    assert_same_arrays(of_bundle.trained.arrays, of_checkpoint.trained.arrays)


@pytest.mark.parametrize("change", ["missing", "left over", "reshaped"])
def test_arrays_that_the_regime_does_not_train_are_refused(
    change: str, tiny_network: ReeFL, tiny_dataset: ArrayDataset
) -> None:
    source = checkpoint_of(tiny_network)
    sent = train_client(source, "frozen", tiny_dataset, LocalTraining()).update.arrays
    match change:
        case "missing":
            del sent["accumulator.meta_token"]
        case "left over":
            sent["accumulator.meta_tokem"] = sent["accumulator.meta_token"]
        case "reshaped":
            sent["accumulator.meta_token"] = sent["accumulator.meta_token"][:3]

    with pytest.raises(ValueError, match=r"not the arrays that 'frozen' trains: .*meta_toke"):
        train_client(source, "frozen", tiny_dataset, LocalTraining(), start_arrays=sent)


def test_a_checkpoint_gets_the_adapters_of_the_regime_by_the_seed(
    tiny_network: ReeFL, tiny_dataset: ArrayDataset
) -> None:
    source = checkpoint_of(tiny_network)

    first, again = (
        train_client(source, "lora", tiny_dataset, LocalTraining(seed=3)) for _ in range(2)
    )
    other = train_client(source, "lora", tiny_dataset, LocalTraining(seed=4))

    assert_same_arrays(first.update.arrays, again.update.arrays)
    name = "blocks.0.attn.lora_q.a"
    assert not np.array_equal(first.start.arrays[name], other.start.arrays[name])
