"""Exporting a training step to ExecuTorch: what the program holds, and what it computes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from reefl_edge.finetune.step import local_step, trained_parameters
from reefl_edge.finetune.steppers.executorch import ExecuTorchStepper
from reefl_edge.models.preprocess import network_input
from reefl_edge.models.reefl import ReeFL
from reefl_edge.runtimes.executorch import STEP_METHOD, quiet_engine
from tests.fakes.compiled_steps import Batch, hold_to_pure_step, step_network, step_purely
from tests.fakes.exports import FACTS
from tests.fakes.images import random_images
from tests.fakes.submodels import tiny_submodel

pytestmark = pytest.mark.skipif(
    find_spec("executorch") is None, reason="executorch makes the program"
)


@dataclass(frozen=True)
class Export:
    """A program of a step, and the network it was made of."""

    network: ReeFL
    program: Any
    lowered: Any

    @property
    def method(self) -> Any:
        """The step."""
        return self.program.load_method(STEP_METHOD)

    def step(self, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """Take a step; what it gives is overwritten by the next one."""
        outputs: Sequence[Tensor] = self.method.execute(inputs)
        return [output.clone() for output in outputs]

    def stepper(self) -> ExecuTorchStepper:
        """What trains with the program, from the network's own arrays."""
        parameters = trained_parameters(self.network).items()
        arrays = {name: array.numpy() for name, array in parameters}
        return ExecuTorchStepper(self.method, self.network.submodel, batch_size=3, arrays=arrays)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """The LoRA step of two blocks with an exit each."""
    with quiet_engine():
        from executorch.runtime import Runtime as Engine

        from reefl_export.executorch.step.exporter import lower_step

        submodel = replace(tiny_submodel(num_blocks=2, num_exits=2), regime="lora")
        network = step_network(submodel)
        lowered = lower_step(network, batch_size=3, facts=FACTS)
        path = tmp_path_factory.mktemp("step") / "step.pte"
        path.write_bytes(lowered.to_executorch().buffer)
        return Export(network, Engine.get().load_program(path), lowered)


def test_the_program_says_what_it_is(export: Export) -> None:
    assert list(export.program.load_method("reefl_edge").execute([])) == [FACTS]


def test_a_step_is_one_delegated_subgraph(export: Export) -> None:
    with quiet_engine():
        from executorch.devtools.backend_debug import get_delegation_info

    program = export.lowered.exported_program(STEP_METHOD)
    assert get_delegation_info(program.graph_module).num_delegated_subgraphs == 1


@pytest.mark.parametrize(
    "batch",
    [
        Batch(running_losses=(9.0, 0.0)),
        Batch(running_losses=(0.0, 9.0), num_examples=2, seed=1),
        Batch(running_losses=(0.0, 9.0), teaches=torch.tensor([[0.0, 0.0], [1.0, 0.0]]), seed=2),
    ],
    ids=["best-teaches", "masked", "told-who-teaches"],
)
def test_the_program_computes_the_pure_step(export: Export, batch: Batch) -> None:
    hold_to_pure_step(export.network, batch, export.step)


def test_fifty_steps_end_where_the_pure_steps_end(export: Export) -> None:
    network, stepper = export.network, export.stepper()
    parameters, running_losses = trained_parameters(network), torch.zeros(2)

    for seed in range(50):
        images = random_images(3 if seed % 5 else 2, seed=seed)
        labels = np.arange(seed, seed + len(images), dtype=np.int64) % 3
        parameters, running_losses, expected = local_step(
            network,
            parameters,
            running_losses,
            network_input(images, network.submodel.architecture),
            torch.from_numpy(labels),
            torch.tensor(0.05),
            torch.tensor(0.5),
        )
        metrics = stepper.step(images, labels, learning_rate=0.05, distill_weight=0.5, teaches=None)
        assert metrics.teacher_index == int(expected.teacher_index)

    np.testing.assert_allclose(stepper.running_losses, running_losses, atol=1e-5)
    arrays = stepper.arrays()
    for name, array in parameters.items():
        np.testing.assert_allclose(arrays[name], array, atol=1e-4, err_msg=name)


def test_the_stepper_goes_on_from_other_arrays(export: Export) -> None:
    stepper = export.stepper()
    before = stepper.arrays()
    labels = np.array([0, 1, 2], np.int64)

    def step() -> float:
        images = random_images(3)
        return stepper.step(
            images, labels, learning_rate=0.1, distill_weight=0.5, teaches=None
        ).loss

    first = step()
    assert step() != first
    stepper.load(before)
    stepper.running_losses = np.zeros(2, np.float32)
    assert step() == first


def test_judging_exits_learns_nothing(export: Export) -> None:
    stepper = export.stepper()
    before = stepper.arrays()
    batch = Batch(num_examples=2)

    losses = stepper.exit_losses(batch.images[:2], batch.labels[:2].numpy())

    expected = step_purely(export.network, batch, rate=0.0).metrics.exit_losses
    np.testing.assert_allclose(losses, expected, atol=1e-5, rtol=1e-5)
    assert all((array == before[name]).all() for name, array in stepper.arrays().items())
    assert not stepper.running_losses.any()


def test_a_batch_larger_than_the_programs_is_refused(export: Export) -> None:
    with pytest.raises(ValueError, match="compiled for batches of 1 to 3 images, got 4"):
        export.stepper().step(
            random_images(4),
            np.zeros(4, np.int64),
            learning_rate=0.1,
            distill_weight=0.5,
            teaches=None,
        )


def test_arrays_of_another_regime_are_refused(export: Export) -> None:
    with pytest.raises(ValueError, match="not the arrays that 'lora' trains"):
        export.stepper().load({"cls_token": np.zeros((1, 1, 16), np.float32)})
