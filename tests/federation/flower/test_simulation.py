"""A folder that `federate init` wrote is simulated, by us and by Flower, and leaves nothing."""

import os
import signal
import sysconfig
from collections.abc import Callable
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
from reefl_edge.federation.exchange import LocalExchange
from reefl_edge.federation.flower.environment import flower_environment, private_home
from reefl_edge.federation.flower.processes import free_port, running
from reefl_edge.tasks.federating import init_federation
from tests.nodes import Place, finished
from tests.tripwire import tripwire

pytestmark = pytest.mark.slow

# Ray asks the cloud, if there is one, what machine it is on, whether or not it may tell anybody.
CLOUD = {"169.254.169.254", "metadata.google.internal"}

MakePlace = Callable[..., Place]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model and the data of all clients."""
    place = Place(tmp_path_factory.mktemp("inputs"))
    place.fill()
    return place.folder


@pytest.fixture
def make_place(inputs: Path, request: pytest.FixtureRequest) -> MakePlace:
    """Write the folder of a simulated federation, some of its settings otherwise."""

    def make(**changed: object) -> Place:
        place = Place(inputs, request.node.name)
        settings = replace(place.settings, output="output")
        init_federation(place.federation, replace(settings, **changed))  # type: ignore[arg-type]
        return place

    return make


def in_this_process(place: Place, output: Path) -> Arrays:
    """Return the weights that the same federation ends with without Flower."""
    settings = replace(place.settings, output=str(output))
    start = start_of(settings, read_model(Path(settings.model)))
    federation = federation_of(settings, start)
    participants = simulated_participants(settings, start.submodel)
    exchange = LocalExchange(simulated_client(settings))
    federation.run(participants.copy, exchange, lambda _: None)
    return federation.server.checkpoint.arrays


def test_a_simulation_repeats_bit_for_bit_and_calls_nobody_home(
    make_place: MakePlace, tmp_path: Path
) -> None:
    data = Path("..") / "data.npz"  # relative paths begin at the folder
    place = make_place(data=str(data))

    with tripwire() as wire:
        proxies = dict.fromkeys(
            ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), wire.url
        )
        with place.started(proxies) as run:
            finished(run)

    assert wire.hosts <= CLOUD
    assert place.is_left()
    trained, expected = place.trained().arrays, in_this_process(place, tmp_path)
    assert trained.keys() == expected.keys()
    assert all(np.array_equal(trained[name], expected[name]) for name in expected)


def test_flower_runs_the_folder_by_its_own_command(make_place: MakePlace) -> None:
    place = make_place(num_rounds=1)
    flwr = Path(sysconfig.get_path("scripts")) / "flwr"
    with private_home() as home:
        environment = flower_environment(home) | {
            "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(free_port()),
            "FLWR_LOCAL_CONTROL_API_PORT": str(free_port()),
        }
        command = [str(flwr), "run", str(place.federation), "--stream"]
        with running(
            command, environment=environment, log=home / "log", folder=place.federation
        ) as process:
            assert process.wait(timeout=400) == 0, (home / "log").read_text()

    assert place.trained().arrays


def test_what_goes_wrong_in_the_server_is_said_in_one_line(make_place: MakePlace) -> None:
    place = make_place(model="missing.safetensors")

    with place.started() as run:
        _, stderr = run.communicate(timeout=400)

    assert run.returncode == 3
    (line,) = stderr.splitlines()
    assert line == f"error: {place.federation / 'missing.safetensors'}: no such file"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_simulation_that_is_stopped(
    number: signal.Signals, make_place: MakePlace
) -> None:
    place = make_place(num_rounds=10_000)
    with place.started() as run:
        assert run.stderr is not None
        assert run.stderr.readline()  # the first round is over: Ray is there

        os.kill(run.pid, number)
        run.wait(timeout=60)

        assert place.is_left()
    assert run.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
