"""Does a node say what it has, and train on its device as in its own process?"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.start import read_start
from reefl_edge.checkpoints.checkpoint import write_checkpoint
from reefl_edge.checkpoints.hashes import base_sha256, frozen_sha256
from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.devices.links.local import LocalLink
from reefl_edge.errors import InputError
from reefl_edge.federation.client import Trainer
from reefl_edge.federation.messages import ClientTask
from reefl_edge.federation.node import DeviceTrainer, Hello, Node, NodeSettings, own_version
from reefl_edge.finetune.compiled import step_for
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.models import ReeFL
from reefl_edge.profiling.report import write_report
from tests.fakes.images import random_images
from tests.fakes.measurements import report, row
from tests.fakes.networks import checkpoint_of, lively_network
from tests.fakes.submodels import tiny_submodel
from tests.trainings import trainable_bundle


@pytest.fixture
def model(tmp_path: Path, tiny_network: ReeFL) -> Path:
    path = tmp_path / "model.safetensors"
    write_checkpoint(replace(checkpoint_of(tiny_network), class_names=("a", "b", "c")), path)
    return path


def data(folder: Path, names: tuple[str, ...]) -> Path:
    path = folder / "data.npz"
    labels = np.arange(12) % len(names)
    np.savez(path, images=random_images(12), labels=labels, class_names=names)
    return path


def hello(federated: Path, /, **settings: object) -> Hello:
    return Node(NodeSettings(**settings), name="node-5", model=str(federated)).hello()  # type: ignore[arg-type]


def test_a_node_says_what_it_has(model: Path, tmp_path: Path, tiny_network: ReeFL) -> None:
    said = hello(model, name="pi", data=str(data(tmp_path, ("a", "c"))), partition_id=3)

    assert said == Hello(
        client="pi",
        version=own_version(),
        index=3,
        num_examples=12,
        submodel=tiny_network.submodel,
        max_exit=tiny_network.submodel.max_exit,
    )


def test_a_node_without_a_name_is_called_what_the_engine_calls_it(
    model: Path, tmp_path: Path
) -> None:
    assert hello(model, data=str(data(tmp_path, ("a",)))).client == "node-5"


def test_a_node_may_go_less_deep_than_its_model(model: Path, tmp_path: Path) -> None:
    assert hello(model, data=str(data(tmp_path, ("a",))), max_exit=0).max_exit == 0


def test_data_with_a_class_that_the_model_lacks_is_said(model: Path, tmp_path: Path) -> None:
    problem = hello(model, data=str(data(tmp_path, ("a", "zebra")))).problem

    assert problem is not None
    assert "the model has no class called 'zebra'" in problem


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "the node has no data; set data in its node config"),
        ({"data": "/nowhere.npz"}, "/nowhere.npz: no such file"),
        ({"data": "d", "model": "/nowhere.safetensors"}, "/nowhere.safetensors: no such file"),
    ],
)
def test_what_a_node_lacks_is_said(model: Path, settings: dict[str, str], reason: str) -> None:
    problem = hello(model, **settings).problem

    assert problem is not None
    assert reason in problem


def measured_node(tmp_path: Path, num_exits: int, **settings: object) -> Hello:
    """Let a node speak whose device was measured with a network of four exits."""
    path = tmp_path / "measured.safetensors"
    network = lively_network(tiny_submodel(num_exits=num_exits))
    write_checkpoint(replace(checkpoint_of(network), class_names=("a", "b", "c")), path)
    rows = [row(exit_index, 10.0 * (exit_index + 1)) for exit_index in range(4)]
    write_report(report(*rows), tmp_path / "report.json")
    given = {"report": str(tmp_path / "report.json"), "data": str(data(tmp_path, ("a",)))}
    return hello(path, **given, **settings)


@pytest.mark.parametrize(("budget_ms", "max_exit"), [(15.0, 0), (25.0, 1), (1000.0, 3)])
def test_a_node_goes_as_deep_as_its_own_report_allows(
    tmp_path: Path, budget_ms: float, max_exit: int
) -> None:
    assert measured_node(tmp_path, 4, budget_ms=budget_ms).max_exit == max_exit


def test_a_node_that_meets_its_budget_at_no_exit_says_so(tmp_path: Path) -> None:
    problem = measured_node(tmp_path, 4, budget_ms=1.0).problem

    assert problem is not None
    assert "exit 0" in problem


def test_a_report_of_another_network_is_said(tmp_path: Path) -> None:
    problem = measured_node(tmp_path, 2, budget_ms=15.0).problem

    assert problem is not None
    assert "is of another network" in problem


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle whose step trains the accumulator and the classifier."""
    return trainable_bundle(tmp_path_factory.mktemp("bundle"))


def task_for(bundle: Bundle, *, moved_by: float, server_round: int = 1) -> ClientTask:
    start = read_start(bundle, step_for(bundle, "frozen", "onnx"))
    arrays = {
        spec.name: start.arrays[spec.name] + np.float32(moved_by)
        for spec in start.submodel.trained_arrays()
    }
    return ClientTask(
        client="pi",
        submodel=start.submodel,
        arrays=arrays,
        training=LocalTraining(batch_size=2, server_round=server_round),
        frozen_sha256=frozen_sha256(start.arrays, "frozen"),
        base_sha256=base_sha256({**start.arrays, **arrays}),
    )


def test_round_after_round_a_device_trains_from_what_the_server_sends(bundle: Bundle) -> None:
    dataset = ArrayDataset(random_images(9), np.arange(9) % 3, ("a", "b", "c"), 16)
    here = Trainer(bundle, stepper="onnx")
    there = DeviceTrainer(LocalLink(), bundle)

    for server_round, moved_by in enumerate((0.0, 0.05), start=1):
        task = task_for(bundle, moved_by=moved_by, server_round=server_round)
        mine, theirs = (each.train(task, dataset) for each in (here, there))

        assert theirs.update.provenance == mine.update.provenance
        assert theirs.update.provenance.base_sha256 == task.base_sha256
        assert theirs.history.losses == mine.history.losses
        for name, array in mine.update.arrays.items():
            np.testing.assert_array_equal(theirs.update.arrays[name], array)


def test_a_device_is_held_to_the_servers_model(bundle: Bundle) -> None:
    dataset = ArrayDataset(random_images(3), np.arange(3), ("a", "b", "c"), 16)
    task = replace(task_for(bundle, moved_by=0.0), frozen_sha256="0" * 64)

    with pytest.raises(InputError, match="its model's frozen arrays are"):
        DeviceTrainer(LocalLink(), bundle).train(task, dataset)
