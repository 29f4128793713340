"""Batches for a compiled step, and what it makes of them beside the pure step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reefl_edge.finetune.step import (
    Parameters,
    StepMetrics,
    StepOutput,
    local_step,
    trained_parameters,
)
from reefl_edge.models import build
from reefl_edge.models.preprocess import network_input
from reefl_edge.models.reefl import ReeFL
from reefl_edge.submodel import Submodel
from tests.fakes.images import random_images
from tests.fakes.networks import random_arrays

CompiledStep = Callable[[Sequence[Tensor]], Sequence[Tensor]]

# Next to what so large a step changes, the array itself is nothing: its gradient can be read off.
_LARGE = 2.0**40

# Softmax does not see what is added to all keys: the gradient is zero but for what is rounded, a
# last place or two of the largest gradient of the step.
_NOISE = 2.0**-23


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a step is given, but for the network's arrays."""

    size: int = 3
    num_examples: int = 3
    running_losses: tuple[float, ...] = ()
    teaches: Tensor | None = None
    seed: int = 0
    images: Any = field(init=False)
    labels: Tensor = field(init=False)

    def __post_init__(self) -> None:
        """Draw images and labels."""
        generator = torch.Generator().manual_seed(self.seed)
        object.__setattr__(self, "images", random_images(self.size, seed=self.seed))
        labels = torch.randint(3, (self.size,), generator=generator)
        object.__setattr__(self, "labels", labels)


def step_network(submodel: Submodel) -> ReeFL:
    """Build a network whose gradients are all large enough for float32 to tell them."""
    network = build(submodel).eval()
    network.load_state_dict(random_arrays(submodel))
    return network


def step_purely(
    network: ReeFL, batch: Batch, rate: float, parameters: Parameters | None = None
) -> StepOutput:
    """Take the pure step on the examples of a batch alone, from a network's arrays or others."""
    count = batch.num_examples
    return local_step(
        network,
        trained_parameters(network) if parameters is None else parameters,
        _running(network, batch),
        network_input(batch.images[:count], network.submodel.architecture),
        batch.labels[:count],
        torch.tensor(rate),
        torch.tensor(0.7),
        batch.teaches,
    )


def step_compiled(
    network: ReeFL,
    batch: Batch,
    rate: float,
    step: CompiledStep,
    parameters: Parameters | None = None,
) -> StepOutput:
    """Take a compiled step on a whole batch, masked, from a network's arrays or others."""
    num_exits = network.submodel.num_exits
    parameters = trained_parameters(network) if parameters is None else parameters
    teaches = torch.zeros(num_exits, num_exits) if batch.teaches is None else batch.teaches
    running_losses, loss, exit_losses, teacher_index, *arrays = step(
        [
            torch.from_numpy(batch.images),
            batch.labels,
            (torch.arange(batch.size) < batch.num_examples).float(),
            _running(network, batch),
            torch.tensor(rate),
            torch.tensor(0.7),
            teaches,
            torch.tensor(batch.teaches is None),
            *parameters.values(),
        ]
    )
    return StepOutput(
        dict(zip(parameters, arrays, strict=True)),
        running_losses,
        StepMetrics(loss, exit_losses, teacher_index),
    )


def hold_to_pure_step(network: ReeFL, batch: Batch, step: CompiledStep) -> None:
    """Hold a compiled step's gradients, running losses and teacher to those of the pure step."""
    expected = step_purely(network, batch, _LARGE)
    actual = step_compiled(network, batch, _LARGE, step)
    before = trained_parameters(network)
    gradients = {
        name: (before[name] - array) / _LARGE for name, array in expected.parameters.items()
    }
    noise = _NOISE * max(float(gradient.abs().max()) for gradient in gradients.values())
    for name, gradient in gradients.items():
        error = (before[name] - actual.parameters[name]) / _LARGE - gradient
        assert error.abs().max() <= 1e-5 * gradient.abs().max() + noise, name
    np.testing.assert_allclose(actual.running_losses, expected.running_losses, atol=1e-5)
    np.testing.assert_allclose(actual.metrics.loss, expected.metrics.loss, rtol=1e-5)
    np.testing.assert_allclose(
        actual.metrics.exit_losses, expected.metrics.exit_losses, atol=1e-5, rtol=1e-5
    )
    assert int(actual.metrics.teacher_index) == int(expected.metrics.teacher_index)


def hold_to_fifty_pure_steps(network: ReeFL, step: CompiledStep, *, rate: float) -> None:
    """Hold what fifty compiled steps come to, and who teaches in each, to fifty pure ones."""
    expected: Parameters | None = None
    actual: Parameters | None = None
    running: Tensor = torch.zeros(network.submodel.num_exits)
    for seed in range(50):
        batch = Batch(num_examples=3 - seed % 2, running_losses=tuple(running.tolist()), seed=seed)
        pure = step_purely(network, batch, rate, expected)
        compiled = step_compiled(network, batch, rate, step, actual)
        expected, actual, running = pure.parameters, compiled.parameters, pure.running_losses
        np.testing.assert_allclose(compiled.running_losses, running, atol=1e-5)
        lowest = running.sort().values[:2]
        if lowest.diff().gt(1e-5).all():
            assert int(compiled.metrics.teacher_index) == int(pure.metrics.teacher_index)
    assert expected is not None
    assert actual is not None
    for name, array in expected.items():
        np.testing.assert_allclose(actual[name], array, atol=1e-4, err_msg=name)


def _running(network: ReeFL, batch: Batch) -> Tensor:
    num_exits = network.submodel.num_exits
    return torch.tensor(batch.running_losses or [0.0] * num_exits)
