"""Does what a node keeps ready train as if it were built anew for each task?"""

from dataclasses import replace

import numpy as np
import pytest

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.hashes import base_sha256, frozen_sha256
from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.federation.client import FederatedClient, Trainer
from reefl_edge.federation.messages import ClientReply, ClientTask
from reefl_edge.finetune.client import train_client
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.models import ReeFL
from reefl_edge.models.regime import with_regime
from reefl_edge.submodel import Regime
from tests.fakes.networks import checkpoint_of, lively_network
from tests.fakes.submodels import tiny_submodel

TRAINING = LocalTraining(batch_size=4, learning_rate=0.01)


def task_of(
    model: Checkpoint,
    max_exit: int,
    *,
    regime: Regime = "lora",
    moved_by: float = 0.0,
    seed: int = 0,
) -> ClientTask:
    """Return a task whose arrays are the model's, moved a bit."""
    cut = with_regime(model, regime, seed=5).cut(max_exit)
    arrays: Arrays = {
        spec.name: cut.arrays[spec.name] + np.float32(moved_by)
        for spec in cut.submodel.trained_arrays()
    }
    return ClientTask(
        client="client-3",
        submodel=cut.submodel,
        arrays=arrays,
        training=replace(TRAINING, seed=seed),
        frozen_sha256=frozen_sha256(cut.arrays, regime),
        base_sha256=base_sha256({**cut.arrays, **arrays}),
    )


def trained(client: FederatedClient, task: ClientTask) -> Arrays:
    reply = client.train(task)
    assert reply.update is not None, reply.problem
    return reply.update.arrays


def anew(model: Checkpoint, task: ClientTask, dataset: ArrayDataset) -> Arrays:
    cut = with_regime(model, task.submodel.regime, seed=5).cut(task.submodel.max_exit)
    result = train_client(
        cut, task.submodel.regime, dataset, task.training, start_arrays=task.arrays
    )
    assert result.update.provenance.base_sha256 == task.base_sha256
    return result.update.arrays


@pytest.mark.parametrize("regime", ["lora", "frozen", "full"])
def test_round_after_round_and_depth_after_depth_a_client_trains_as_if_built_anew(
    regime: Regime, tiny_network: ReeFL, tiny_dataset: ArrayDataset
) -> None:
    model = checkpoint_of(tiny_network)
    client = FederatedClient(Trainer(model).train, lambda _: tiny_dataset)
    tasks = [
        task_of(model, max_exit, regime=regime, moved_by=by, seed=seed)
        for seed, (max_exit, by) in enumerate([(0, 0.0), (1, 0.01), (0, 0.02), (1, 0.0)])
    ]

    for task in tasks:
        arrays, expected = trained(client, task), anew(model, task, tiny_dataset)
        assert all(np.array_equal(arrays[name], expected[name]) for name in expected)


def test_a_reply_says_from_what_and_on_how_much_it_was_trained(
    tiny_network: ReeFL, tiny_dataset: ArrayDataset
) -> None:
    model = checkpoint_of(tiny_network)
    task = task_of(model, 1)

    reply = FederatedClient(Trainer(model).train, lambda _: tiny_dataset).train(task)

    assert reply.update is not None
    assert reply.update.provenance.base_sha256 == task.base_sha256
    assert reply.update.provenance.num_examples == 10
    assert len(reply.losses) == 3
    assert sum(reply.teacher_counts) == 3


def problem_of(reply: ClientReply) -> str:
    assert reply.update is None
    assert reply.problem is not None
    return reply.problem


def test_a_client_with_another_model_says_so_and_trains_nothing(
    tiny_network: ReeFL, tiny_dataset: ArrayDataset
) -> None:
    other = checkpoint_of(lively_network(tiny_submodel(), seed=9))
    client = FederatedClient(Trainer(other).train, lambda _: tiny_dataset)

    problem = problem_of(client.train(task_of(checkpoint_of(tiny_network), 1)))

    assert "its model's frozen arrays are" in problem
    assert "give it the federation's model" in problem


def test_a_client_that_is_not_deep_enough_says_so(
    tiny_network: ReeFL, tiny_dataset: ArrayDataset
) -> None:
    model = checkpoint_of(tiny_network)
    client = FederatedClient(Trainer(model.cut(0)).train, lambda _: tiny_dataset)

    problem = problem_of(client.train(task_of(model, 1)))

    assert problem == "its model goes to exit 0, the server asks for exit 1"


def test_a_client_of_another_architecture_says_so(tiny_dataset: ArrayDataset) -> None:
    ours = checkpoint_of(lively_network(tiny_submodel()))
    other = checkpoint_of(lively_network(tiny_submodel(num_blocks=8)))

    client = FederatedClient(Trainer(other).train, lambda _: tiny_dataset)

    assert "of another architecture" in problem_of(client.train(task_of(ours, 1)))


def test_training_that_diverges_is_a_problem_and_the_next_task_is_not_touched_by_it(
    tiny_network: ReeFL, tiny_dataset: ArrayDataset
) -> None:
    model = checkpoint_of(tiny_network)
    client = FederatedClient(Trainer(model).train, lambda _: tiny_dataset)
    task = task_of(model, 1)
    wild = replace(task, training=replace(task.training, learning_rate=1e38))

    assert "training diverged" in problem_of(client.train(wild))
    arrays, expected = trained(client, task), anew(model, task, tiny_dataset)
    assert all(np.array_equal(arrays[name], expected[name]) for name in expected)


def test_data_that_cannot_be_read_is_a_problem(tiny_network: ReeFL) -> None:
    def no_data(client: str) -> ArrayDataset:
        raise FileNotFoundError(2, "No such file", f"/data/{client}.npz")

    model = checkpoint_of(tiny_network)

    problem = problem_of(FederatedClient(Trainer(model).train, no_data).train(task_of(model, 0)))

    assert "/data/client-3.npz" in problem
