"""Does a compiled step, run by stock onnxruntime, do what the pure step does?"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.errors import InputError
from reefl_edge.finetune.modes import DistillMode
from reefl_edge.finetune.step import StepOutput, local_step, trained_parameters
from reefl_edge.finetune.steppers.base import StepMetrics
from reefl_edge.finetune.steppers.onnx import OnnxStepper
from reefl_edge.finetune.teaching import teaching
from reefl_edge.models.preprocess import network_input
from reefl_edge.models.reefl import ReeFL
from reefl_edge.regimes import REGIMES, Regime
from reefl_edge.runtimes.base import default_threads
from reefl_edge.runtimes.onnx import open_session
from reefl_edge.runtimes.onnx_graph import hold_step
from tests.fakes.images import random_images
from tests.fakes.networks import lively_network
from tests.fakes.steppers import FakeStepper
from tests.fakes.steps import BATCH_SIZE, step_graph_of, stepper_of
from tests.fakes.submodels import tiny_submodel

# So large that beside such a step an array is nothing; a power of two divides exactly.
HUGE = 2.0**20
# Of an array's largest gradient.
TOLERANCE = 1e-5
# Of the largest gradient of all: what is smaller is mostly rounding, here as in the pure step; that
# of a shift of all keys is nothing else, as softmax does not see it.
LEAST = 1e-4


def network_of(regime: Regime, *, num_exits: int = 4) -> ReeFL:
    """Return a network of four blocks with four exits, cut."""
    submodel = tiny_submodel(num_exits=4, max_exit=num_exits - 1)
    return lively_network(replace(submodel, regime=regime), scale=0.2)


def batch_of(count: int = BATCH_SIZE, *, seed: int = 0) -> tuple[NDArray[np.uint8], Any]:
    labels = np.random.default_rng(seed).integers(0, 3, count)
    return random_images(count, seed=seed), labels


def pure_step(
    network: ReeFL,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    rate: float,
    weight: float,
    parameters: Mapping[str, torch.Tensor] | None = None,
    running: NDArray[np.float32] | None = None,
    teaches: NDArray[np.float32] | None = None,
) -> StepOutput:
    num_exits = network.submodel.num_exits
    return local_step(
        network,
        dict(parameters or trained_parameters(network)),
        torch.zeros(num_exits) if running is None else torch.from_numpy(running),
        network_input(images, network.submodel.architecture),
        torch.from_numpy(labels),
        torch.tensor(rate),
        torch.tensor(weight),
        None if teaches is None else torch.from_numpy(teaches),
    )


def take_step(
    stepper: OnnxStepper,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    rate: float,
    weight: float,
    teaches: NDArray[np.float32] | None = None,
) -> StepMetrics:
    return stepper.step(images, labels, learning_rate=rate, distill_weight=weight, teaches=teaches)


def assert_same_gradients(before: Arrays, found: Arrays, expected: Arrays) -> None:
    """Hold what a huge step changed to what the pure one did."""
    gradients = {
        name: ((before[name] - found[name]) / HUGE, (before[name] - expected[name]) / HUGE)
        for name in before
    }
    least = LEAST * max(float(np.abs(pure).max()) for _, pure in gradients.values())
    for name, (compiled, pure) in gradients.items():
        largest = max(float(np.abs(pure).max()), least)
        assert np.abs(compiled - pure).max() <= TOLERANCE * largest, name


def numpy_of(output: StepOutput) -> Arrays:
    return {name: array.numpy() for name, array in output.parameters.items()}


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("num_exits", [1, 4])
@pytest.mark.parametrize("recompute", [False, True])
def test_every_array_gets_the_gradient_of_the_pure_step(
    regime: Regime, num_exits: int, recompute: bool, tmp_path: Path
) -> None:
    network = network_of(regime, num_exits=num_exits)
    stepper = stepper_of(network, tmp_path, recompute=recompute)
    images, labels = batch_of()
    before = stepper.arrays()

    metrics = take_step(stepper, images, labels, rate=HUGE, weight=0.7)

    pure = pure_step(network, images, labels, rate=HUGE, weight=0.7)
    assert_same_gradients(before, stepper.arrays(), numpy_of(pure))
    assert stepper.running_losses == pytest.approx(pure.running_losses.numpy(), abs=1e-5)
    assert metrics.exit_losses == pytest.approx(pure.metrics.exit_losses.numpy(), abs=1e-5)
    assert metrics.loss == pytest.approx(float(pure.metrics.loss), abs=1e-5)
    assert metrics.teacher_index == int(pure.metrics.teacher_index)


def test_a_smaller_batch_trains_as_if_it_were_compiled_for_it(tmp_path: Path) -> None:
    network = network_of("full")
    stepper = stepper_of(network, tmp_path)
    images, labels = batch_of(BATCH_SIZE - 1)
    before = stepper.arrays()

    take_step(stepper, images, labels, rate=HUGE, weight=0.7)

    pure = pure_step(network, images, labels, rate=HUGE, weight=0.7)
    assert_same_gradients(before, stepper.arrays(), numpy_of(pure))
    assert stepper.running_losses == pytest.approx(pure.running_losses.numpy(), abs=1e-5)


@pytest.mark.parametrize("mode", ["none", "forward", "all"])
def test_who_teaches_can_be_said(mode: DistillMode, tmp_path: Path) -> None:
    network = network_of("frozen")
    stepper = stepper_of(network, tmp_path)
    images, labels = batch_of()
    said = teaching(mode, FakeStepper(network.submodel), None, None)()
    before = stepper.arrays()

    take_step(stepper, images, labels, rate=HUGE, weight=2.0, teaches=said)

    pure = pure_step(network, images, labels, rate=HUGE, weight=2.0, teaches=said)
    assert_same_gradients(before, stepper.arrays(), numpy_of(pure))


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("num_exits", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_after_fifty_steps_the_arrays_are_those_of_the_pure_step(
    regime: Regime, num_exits: int, tmp_path: Path
) -> None:
    network = network_of(regime, num_exits=num_exits)
    stepper = stepper_of(network, tmp_path)
    parameters, running = trained_parameters(network), np.zeros(num_exits, np.float32)

    for index in range(50):
        images, labels = batch_of(BATCH_SIZE - index % 3, seed=index)
        metrics = take_step(stepper, images, labels, rate=0.01, weight=0.5)
        pure = pure_step(
            network, images, labels,
            rate=0.01, weight=0.5, parameters=parameters, running=running,
        )  # fmt: skip
        parameters, running = pure.parameters, pure.running_losses.numpy()
        if (np.diff(np.sort(running)[:2]) > 1e-5).all():
            assert metrics.teacher_index == int(pure.metrics.teacher_index)

    trained = stepper.arrays()
    for name, array in parameters.items():
        assert trained[name] == pytest.approx(array.numpy(), abs=1e-4), name
    assert stepper.running_losses == pytest.approx(running, abs=1e-5)


def test_judging_exits_learns_nothing(tmp_path: Path) -> None:
    network = network_of("frozen")
    stepper = stepper_of(network, tmp_path)
    images, labels = batch_of(2)
    before = stepper.arrays()

    losses = stepper.exit_losses(images, labels)

    pure = pure_step(network, images, labels, rate=0.1, weight=1.0)
    assert losses == pytest.approx(pure.metrics.exit_losses.numpy(), abs=1e-5)
    assert all((array == before[name]).all() for name, array in stepper.arrays().items())
    assert not stepper.running_losses.any()


def test_training_goes_on_from_other_arrays(tmp_path: Path) -> None:
    network = network_of("frozen")
    stepper = stepper_of(network, tmp_path)
    images, labels = batch_of()
    start = stepper.arrays()
    take_step(stepper, images, labels, rate=0.1, weight=1.0)
    once = stepper.arrays()
    take_step(stepper, images, labels, rate=0.1, weight=1.0)

    stepper.load(start)
    stepper.running_losses = np.zeros(4, np.float32)
    take_step(stepper, images, labels, rate=0.1, weight=1.0)

    assert all((array == once[name]).all() for name, array in stepper.arrays().items())
    with pytest.raises(ValueError, match="not the arrays that 'frozen' trains: cls_token"):
        stepper.load(start | {"cls_token": np.zeros(1, np.float32)})


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (random_images(BATCH_SIZE + 1), "compiled for batches of 1 to 4 images, got 5"),
        (random_images(0), "compiled for batches of 1 to 4 images, got 0"),
        (random_images(2)[:, :8], r"reads images of \(16, 16, 3\), got \(8, 16, 3\)"),
    ],
)
def test_a_batch_that_was_not_compiled_for_is_refused(
    images: NDArray[np.uint8], message: str, tmp_path: Path
) -> None:
    stepper = stepper_of(network_of("frozen"), tmp_path)

    with pytest.raises(ValueError, match=message):
        take_step(stepper, images, np.zeros(len(images), np.int64), rate=0.1, weight=1.0)


def optimised(network: ReeFL, folder: Path, *, recompute: bool) -> onnx.ModelProto:
    """Return a step as onnxruntime runs it when it is asked for nothing in particular."""
    onnx_ir.save(step_graph_of(network, recompute=recompute), folder / "step.onnx")
    open_session(folder / "step.onnx", threads=default_threads())  # makes the process's pool
    options = onnxruntime.SessionOptions()
    options.use_per_session_threads = False
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(folder / "step.onnx", options, ["CPUExecutionProvider"])
    return onnx.load(folder / "optimised.onnx")


def test_what_is_to_be_computed_again_is_not_kept_instead(tmp_path: Path) -> None:
    network = network_of("frozen")
    depth = network.submodel.depth

    kept = optimised(network, tmp_path, recompute=False)
    again = optimised(network, tmp_path, recompute=True)

    def count(graph: onnx.ModelProto, operator: str) -> int:
        return sum(node.op_type == operator for node in graph.graph.node)

    # Nobody goes back through the first block, which has nothing to train below it; the others
    # have two norms each.
    norms = count(again, "LayerNormalization") - count(kept, "LayerNormalization")
    assert norms == 2 * (depth - 1)
    # What blocks and accumulator attend to is never kept; the first block's is not asked for.
    assert count(kept, "Softmax") == count(again, "Softmax") == 4 * depth - 1


def test_no_weight_is_stored_a_second_time_in_another_form(tmp_path: Path) -> None:
    network = network_of("frozen")
    weights = {spec.name: spec.shape for spec in network.submodel.arrays() if len(spec.shape) > 1}

    graph = optimised(network, tmp_path, recompute=False).graph

    stored = {
        array.name: tuple(array.dims)
        for array in graph.initializer
        if np.prod(array.dims) >= 256
        and onnx.numpy_helper.to_array(array).any()
        and not array.name.startswith("stem_0/")  # as large as one patch is wide, and read once
    }
    assert {name: weights.get(name) for name in stored} == stored


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("recompute", [False, True])
def test_no_array_is_read_after_it_was_changed(
    regime: Regime, recompute: bool, tmp_path: Path
) -> None:
    network = network_of(regime)
    graph = optimised(network, tmp_path, recompute=recompute).graph
    depends: dict[str, set[str]] = {}  # of what a node gives, all nodes that it took
    readers: dict[str, set[str]] = {}  # of an array, through views as well
    seen_as = {put.name: put.name for put in graph.input}
    for node in graph.node:
        taken = set().union(*(depends.get(name, set()) for name in node.input)) | {node.name}
        depends |= dict.fromkeys(node.output, taken)
        for name in node.input:
            if name in seen_as and node.op_type in ("Reshape", "Transpose", "Unsqueeze"):
                seen_as[node.output[0]] = seen_as[name]
            elif name in seen_as:
                readers.setdefault(seen_as[name], set()).add(node.name)

    for spec in network.submodel.trained_arrays():
        late = readers[spec.name] - depends[f"next_{spec.name}"]
        assert not late, spec.name


def test_a_step_that_needs_two_sets_of_arrays_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "step.onnx"
    onnx_ir.save(step_graph_of(network_of("frozen")), path)  # not marked, as the exporter does
    unread: Any = None

    with pytest.raises(InputError, match="cannot change arrays where they lie; export the bundle"):
        hold_step(unread, unread, unread, path)


def test_arrays_in_another_order_in_memory_are_the_same_start(tmp_path: Path) -> None:
    network, batch = network_of("frozen"), batch_of()
    stepper = stepper_of(network, tmp_path)
    turned = OnnxStepper(
        open_session(tmp_path / "step.onnx", threads=default_threads()),
        network.submodel,
        batch_size=BATCH_SIZE,
        arrays={name: np.asfortranarray(array) for name, array in stepper.arrays().items()},
    )

    losses, others = (
        each.step(*batch, learning_rate=0.1, distill_weight=0.5, teaches=None).exit_losses
        for each in (stepper, turned)
    )

    np.testing.assert_array_equal(others, losses)
