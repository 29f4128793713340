"""What the server makes of an average, followed by hand."""

import numpy as np
import pytest

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.federation.average import Held
from reefl_edge.federation.optimizer import FedAdam, FedAvg, ServerOptimizer

WHOLE: Held = {"a": np.array([[True]])}


def arrays(*values: float) -> Arrays:
    return {"a": np.array([values], np.float32)}


def test_fedavg_takes_the_average() -> None:
    average = arrays(3.0)

    assert FedAvg().step(arrays(1.0), average, WHOLE) is average


def test_fedadam_steps_as_by_hand() -> None:
    optimizer = FedAdam()

    once = optimizer.step(arrays(1.0), arrays(3.0), WHOLE)
    twice = optimizer.step(once, arrays(0.5), WHOLE)

    # gradient 1 - 3 = -2; first moment -0.2; second 0.001 * 4
    first_step = 1.0 + 1e-3 * 0.2 / (0.004**0.5 + 1e-6)
    assert once["a"][0, 0] == pytest.approx(first_step, rel=1e-6)
    gradient = first_step - 0.5
    first, second = 0.9 * -0.2 + 0.1 * gradient, 0.999 * 0.004 + 0.001 * gradient**2
    second_step = first_step - 1e-3 * first / (second**0.5 + 1e-6)
    assert twice["a"][0, 0] == pytest.approx(second_step, rel=1e-6)


def test_fedadam_leaves_what_nobody_trained_and_its_moments() -> None:
    optimizer = FedAdam(learning_rate=0.1)
    rows = {"a": np.array([[1.0], [1.0]], np.float32)}
    towards = {"a": np.array([[2.0], [2.0]], np.float32)}
    optimizer.step(rows, towards, {"a": np.array([[True], [True]])})
    before = optimizer.state()

    stepped = optimizer.step(rows, towards, {"a": np.array([[True], [False]])})

    assert stepped["a"][0, 0] > 1.0
    assert stepped["a"][1, 0] == 1.0
    for name, moment in optimizer.state().items():
        assert moment[0, 0] != before[name][0, 0]
        assert moment[1, 0] == before[name][1, 0]


def test_fedadam_that_was_stopped_goes_on_bit_for_bit() -> None:
    generator = np.random.default_rng(0)
    targets = [{"a": generator.standard_normal((1, 8)).astype(np.float32)} for _ in range(6)]
    start = {"a": np.zeros((1, 8), np.float32)}

    def run(optimizer: ServerOptimizer, current: Arrays, targets: list[Arrays]) -> Arrays:
        for target in targets:
            current = optimizer.step(current, target, WHOLE)
        return current

    whole = run(FedAdam(), start, targets)
    stopped, resumed = FedAdam(), FedAdam()
    halfway = run(stopped, start, targets[:3])
    resumed.load(stopped.state())

    np.testing.assert_array_equal(run(resumed, halfway, targets[3:])["a"], whole["a"])


def test_fedavg_refuses_the_state_of_another_optimizer() -> None:
    with pytest.raises(ValueError, match=r"FedAvg keeps no state, but got first\.a"):
        FedAvg().load({"first.a": np.zeros(1, np.float32)})


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="learning rate must be positive, got 0"):
        FedAdam(learning_rate=0)
