"""A federation of real processes ends with the weights of its simulation, and bears losses."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.federation.assembly import (
    federation_of,
    read_model,
    simulated_client,
    simulated_participants,
    start_of,
)
from reefl_edge.federation.exchange import Exchange, LocalExchange
from reefl_edge.federation.messages import ClientReply, ClientTask
from reefl_edge.federation.node import Node, NodeSettings
from tests.built_agents import built_agent
from tests.nodes import (
    NAMES,
    WITHOUT_TORCH,
    Place,
    all_joined,
    finished,
    needs_node,
)
from tests.sshd import HOST, needs_sshd, sshd_in

pytestmark = [pytest.mark.slow, needs_node]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return what the federations of this file train."""
    place = Place(tmp_path_factory.mktemp("place"))
    place.fill()
    place.part()
    return place


class NodesHere:
    """Trains every client in this process, as its node does: with its own model, data and step."""

    def __init__(self, place: Place) -> None:
        self._clients = {
            name: Node(
                NodeSettings(
                    name=name,
                    model=str(place.model_of(name)),
                    data=str(place.data_of(name)),
                    runtime="onnx" if name in WITHOUT_TORCH else "eager",
                ),
                name=name,
                model="",
            ).client()
            for name in NAMES
        }

    def exchange(
        self, tasks: Iterable[ClientTask], _deadline_s: float | None
    ) -> Iterator[ClientReply]:
        """Give the replies in the order of the tasks."""
        return (self._clients[task.client].train(task) for task in tasks)


def simulated(place: Place, exchange: Exchange, output: Path) -> Arrays:
    """Return the weights that the federation ends with in this process."""
    settings = replace(place.settings, output=str(output))
    start = start_of(settings, read_model(Path(settings.model)))
    federation = federation_of(settings, start)
    participants = simulated_participants(settings, start.submodel)
    federation.run(participants.copy, exchange, lambda _: None)
    return federation.server.checkpoint.arrays


def started_with(place: Place) -> Arrays:
    """Return the weights that the federation begins with."""
    return start_of(place.settings, read_model(Path(place.settings.model))).arrays


def largest_difference(arrays: Arrays, others: Arrays) -> float:
    """Return by how much two sets of weights differ where they differ most."""
    assert arrays.keys() == others.keys()
    return max(float(np.abs(arrays[name] - others[name]).max()) for name in arrays)


@needs_sshd
def test_nodes_of_four_depths_end_with_the_weights_of_the_simulation(
    place: Place, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    agent = built_agent(pytestconfig)
    place.deploy()
    on_board = NAMES[3]
    place.tell(on_board, {"device": f"ssh:{HOST}"})
    with sshd_in(tmp_path) as board:
        environment = {"PATH": board.path, "REEFL_EDGE_HOME": str(agent.folder.parents[1])}
        with all_joined(place, {on_board: environment}), place.started() as run:
            finished(run)
        assert (board.root / "runs").exists()

    trained = place.trained().arrays
    assert place.is_left()
    same_steppers = simulated(place, NodesHere(place), tmp_path / "same")
    eager = simulated(place, LocalExchange(simulated_client(place.settings)), tmp_path / "eager")
    assert largest_difference(trained, same_steppers) < 1e-5
    assert largest_difference(trained, eager) < 1e-4
    assert largest_difference(trained, started_with(place)) > 1e-3


def test_a_node_that_is_killed_is_left_out_and_one_that_comes_late_takes_part(place: Place) -> None:
    place = replace(place, title="lossy")
    place.deploy(num_rounds=3, min_clients=2, round_deadline_s=60.0)
    first, *others, late = NAMES
    with ExitStack() as stack:
        lost = stack.enter_context(place.joined(first))
        for name in others:
            stack.enter_context(place.joined(name))
        run = stack.enter_context(place.started())
        place.wait_for(first, "ROUND 1]")
        stack.enter_context(place.joined(late))
        place.wait_for(first, "ROUND 2]")

        lost.kill()
        finished(run)

    first_round, second_round, third_round = place.problems()
    assert first_round == dict.fromkeys((first, *others))
    assert second_round[first] is not None
    assert first not in third_round
    assert third_round.get(late, "was not asked") is None
    assert place.is_left()
