"""Are the settings of a federation read as they are meant, and what cannot be refused in a line?"""

from typing import Any

import pytest

from reefl_edge.errors import InputError
from reefl_edge.federation.node import read_node_settings
from reefl_edge.federation.settings import read_settings

SIMULATION = {"model": "m", "num-clients": 20, "data": "d.npz#train"}


def test_what_is_left_out_is_the_papers() -> None:
    training = read_settings(SIMULATION).training()

    assert (training.epochs, training.batch_size, training.distill) == (1, 32, "dynamic-ma")
    assert training.learning_rate is None, "that of the round"


def test_zero_stands_for_none() -> None:
    settings = read_settings({**SIMULATION, "round-deadline-s": 0.0, "learning-rate": 0.0})

    assert settings.rules().deadline_s is None
    assert settings.privacy() is None


def test_natural_clients_are_writers_or_speakers() -> None:
    assert read_settings({**SIMULATION, "natural": True}).sharing().alpha is None
    assert read_settings({**SIMULATION, "alpha": 0.1}).sharing().alpha == 0.1


def test_noise_takes_as_many_clients_on_average_as_are_asked() -> None:
    settings = read_settings(
        {**SIMULATION, "clients-per-round": 5, "clip-norm": 2.0, "noise-multiplier": 1.0}
    )

    privacy = settings.privacy()
    assert privacy is not None
    assert privacy.sampling_rate == 0.25


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num-rouds": 3}, "num-rouds: "),
        ({"num-rounds": 0}, "num-rounds must be at least 1, got 0"),
        ({"num-rounds": "many"}, "num-rounds: "),
        ({"num-clients": -1}, "num-clients must not be negative"),
        ({"clients-per-round": 21}, "clients-per-round is 21, but there are only 20 clients"),
        ({"min-clients": 11}, "at most those it asks, got 11 of 10"),
        ({"data": ""}, "simulated clients need data"),
        ({"tiers": "device"}, "simulated clients have no device"),
        ({"tiers": "assignment"}, "goes with the file of an assignment"),
        ({"tiers": "deep"}, "tiers: "),
        ({"alpha": 0.0}, "alpha must be positive"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"learning-rate": -1.0}, "learning rate must be positive"),
        ({"server-learning-rate": 0.0}, "server-learning-rate must be positive, got 0"),
        ({"delta": 1.0}, "delta must be between 0 and 1, got 1"),
        ({"delta": 0.0}, "delta must be between 0 and 1, got 0"),
        ({"noise-multiplier": 1.0}, "noise is measured in clip-norm"),
        ({"learning-rate": float("nan")}, "learning-rate is nan, not a finite number"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key_and_value(
    changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_settings({**SIMULATION, **changed})


def test_a_device_trains_by_a_compiled_step() -> None:
    assert read_node_settings({"device": "ssh:pi", "runtime": "onnx"}).device == "ssh:pi"
    with pytest.raises(InputError, match="set runtime = 'onnx', not 'eager'"):
        read_node_settings({"device": "ssh:pi"})


def test_an_unknown_key_of_a_node_is_refused() -> None:
    with pytest.raises(InputError, match="node config: devise: "):
        read_node_settings({"devise": "ssh:pi"})


@pytest.mark.parametrize("values", [{"report": "r.json"}, {"budget-step-ms": 100.0}])
def test_a_report_and_a_budget_go_together(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="a report and a budget go together"):
        read_node_settings(values)
