"""Does a run configuration become a federation that runs, simulated and deployed, on any grid?"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp import Grid

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.checkpoints.checkpoint import read_checkpoint, write_checkpoint
from reefl_edge.federation.assembly import (
    dataset_for,
    federation_of,
    read_model,
    simulated_client,
    simulated_participants,
    start_of,
)
from reefl_edge.federation.exchange import LocalExchange
from reefl_edge.federation.flower import client_app, server_app
from reefl_edge.federation.flower.failures import ToldError
from reefl_edge.federation.report import read_federation_report
from reefl_edge.federation.settings import read_settings
from reefl_edge.federation.telemetry import read_rounds
from reefl_edge.models import ReeFL
from tests.fakes.grids import FakeGrid
from tests.fakes.images import random_images
from tests.fakes.networks import checkpoint_of

NAMES = ("a", "b", "c")


@pytest.fixture
def config(tmp_path: Path, tiny_network: ReeFL) -> dict[str, Any]:
    """Return the run configuration of a simulation of six clients and two depths."""
    model = replace(checkpoint_of(tiny_network), class_names=NAMES)
    write_checkpoint(model, tmp_path / "model.safetensors")
    for name, count in (("train", 24), ("test", 9)):
        save_examples(tmp_path / f"{name}.npz", count, NAMES)
    return {
        "model": str(tmp_path / "model.safetensors"),
        "regime": "lora",
        "num-rounds": 2,
        "num-clients": 6,
        "clients-per-round": 3,
        "data": str(tmp_path / "train.npz"),
        "test-data": str(tmp_path / "test.npz"),
        "batch-size": 2,
        "learning-rate": 0.01,
        "output": str(tmp_path / "output"),
    }


def save_examples(path: Path, count: int, names: tuple[str, ...]) -> None:
    labels = np.arange(count) % len(names)
    np.savez(path, images=random_images(count), labels=labels, class_names=names)


def context_of(
    run_config: dict[str, Any], node_config: dict[str, Any] | None = None, node_id: int = 0
) -> Context:
    return Context(
        run_id=1,
        node_id=node_id,
        node_config=node_config or {},
        state=RecordDict(),
        run_config=run_config,
    )


def grid_of(run_config: dict[str, Any], nodes: dict[int, dict[str, Any]]) -> FakeGrid:
    """Return a grid whose nodes run our app."""

    def answer(message: Message) -> RecordDict | Error:
        node = message.metadata.dst_node_id
        context = context_of(run_config, nodes[node], node)
        return client_app.app(message, context).content

    return FakeGrid(answer, nodes=nodes)


def run(config: dict[str, Any], nodes: dict[int, dict[str, Any]]) -> Arrays:
    """Run a federation; return the weights that it leaves."""
    server_app.app(cast(Grid, grid_of(config, nodes)), context_of(config))
    return read_checkpoint(Path(config["output"]) / "model.safetensors").arrays


def in_this_process(config: dict[str, Any]) -> Arrays:
    settings = read_settings(config)
    start = start_of(settings, read_model(Path(settings.model)))
    federation = replace(federation_of(settings, start), states=None)
    there = simulated_participants(settings, start.submodel)
    federation.run(there.copy, LocalExchange(simulated_client(settings)), lambda _: None)
    return federation.server.checkpoint.arrays


def assert_same(actual: Arrays, expected: Arrays) -> None:
    assert actual.keys() == expected.keys()
    assert all(np.array_equal(actual[name], expected[name]) for name in expected)


VIRTUAL: dict[int, dict[str, Any]] = {
    77: {"partition-id": 1, "num-partitions": 2},
    33: {"partition-id": 0, "num-partitions": 2},
}


def test_a_simulation_gives_what_its_rounds_give_and_leaves_all_that_is_known(
    config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = run(config, VIRTUAL)

    assert_same(arrays, in_this_process(config))
    output = Path(config["output"])
    report = read_federation_report(output / "report.json")
    assert [each.server_round for each in report.rounds] == [0, 1, 2]
    assert list(report.rounds) == read_rounds(output / "rounds.jsonl")
    assert capsys.readouterr().out.count("accuracy") == 3


def test_a_simulation_that_was_stopped_goes_on(config: dict[str, Any]) -> None:
    run({**config, "num-rounds": 1}, VIRTUAL)

    arrays = run({**config, "resume": True}, VIRTUAL)

    assert_same(arrays, in_this_process(config))


def test_a_simulation_goes_on_where_the_model_lies_now_and_with_what_is_enough_now(
    config: dict[str, Any],
) -> None:
    run({**config, "num-rounds": 1}, VIRTUAL)
    model = Path(config["model"])
    now_at = model.rename(model.with_name("moved.safetensors"))
    changed = {"model": str(now_at), "min-clients": 2, "round-deadline-s": 600.0, "test-data": ""}

    arrays = run({**config, **changed, "resume": True}, VIRTUAL)

    assert_same(arrays, in_this_process({**config, "model": str(now_at)}))


def test_nodes_of_a_deployment_end_where_simulated_clients_do(
    config: dict[str, Any], tmp_path: Path
) -> None:
    """The same names, the same data, the same depths: only the sums' order may differ."""
    simulated = {**config, "num-clients": 2, "clients-per-round": 2}
    whole = dataset_for(read_model(Path(config["model"])), config["data"])
    partition = read_settings(simulated).sharing().partition(whole)
    nodes: dict[int, dict[str, Any]] = {}
    for index, node in enumerate((91, 12)):
        (part,) = partition.of_client(index)
        path = tmp_path / f"{index}.npz"
        images = part.images(np.arange(len(part.labels)))
        np.savez(path, images=images, labels=part.labels, class_names=NAMES)
        nodes[node] = {"name": f"client-{index}", "data": str(path), "partition-id": index}
    deployed = {key: value for key, value in config.items() if key not in ("data", "num-clients")}

    arrays = run({**deployed, "clients-per-round": 2, "min-clients": 2}, nodes)

    for name, array in in_this_process(simulated).items():
        np.testing.assert_allclose(arrays[name], array, atol=1e-6)


def break_data(_: dict[str, Any], tmp_path: Path) -> None:
    save_examples(tmp_path / "train.npz", 24, ("a", "b", "zebra"))


def break_test_data(config: dict[str, Any], tmp_path: Path) -> None:
    config["test-data"] = str(tmp_path / "nowhere.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (break_data, "the model has no class called 'zebra'"),
        (break_test_data, "nowhere.npz: no such file"),
    ],
)
def test_what_is_wrong_with_data_ends_a_simulation_in_one_line(
    change: Callable[[dict[str, Any], Path], None],
    message: str,
    config: dict[str, Any],
    tmp_path: Path,
) -> None:
    change(config, tmp_path)

    with pytest.raises(ToldError, match=message):
        run(config, VIRTUAL)
