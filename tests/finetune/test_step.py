"""Is one local step what the released code does in a loop over a batch?"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional

from reefl_edge.finetune.step import (
    StepOutput,
    cross_entropies,
    local_step,
    trained_parameters,
)
from reefl_edge.models import ReeFL
from reefl_edge.submodel import Regime
from tests.fakes.networks import lively_network, normal_images
from tests.fakes.submodels import tiny_submodel


def tiny_network(*, num_exits: int = 2, max_exit: int | None = None, **fields: Any) -> ReeFL:
    submodel = tiny_submodel(num_exits=num_exits, max_exit=max_exit)
    return lively_network(replace(submodel, **fields))


def labels(count: int, *, seed: int = 0) -> Tensor:
    return torch.randint(3, (count,), generator=torch.Generator().manual_seed(seed))


def take_step(network: ReeFL, *, rate: float = 0.1, weight: float = 1.0) -> StepOutput:
    return local_step(
        network,
        trained_parameters(network),
        torch.zeros(network.submodel.num_exits),
        normal_images(4),
        labels(4),
        torch.tensor(rate),
        torch.tensor(weight),
    )


def train_by_hand(
    network: ReeFL, batches: list[tuple[Tensor, Tensor]], *, rate: float, weight: float
) -> tuple[list[int], float]:
    """Train in place with PyTorch's own parts; return the teachers and the largest gradient."""
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=rate)
    running = [0.0] * network.submodel.num_exits
    teachers, largest = [], 0.0
    for images, targets in batches:
        logits = network(images)
        losses = [functional.cross_entropy(exit_logits, targets) for exit_logits in logits]
        running = [0.8 * m + 0.2 * ce.item() for m, ce in zip(running, losses, strict=True)]
        teacher = running.index(min(running))
        loss = torch.stack(losses).sum()
        for student in range(len(losses)):
            if student != teacher:
                loss = loss + weight * functional.kl_div(
                    logits[student].log_softmax(-1),
                    logits[teacher].softmax(-1).detach(),
                    reduction="batchmean",
                )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        largest = max(largest, *(float(p.grad.abs().max()) for p in trained if p.grad is not None))
        nn.utils.clip_grad_value_(trained, 1.0)
        optimizer.step()
        teachers.append(teacher)
    return teachers, largest


@pytest.mark.parametrize("regime", ["full", "frozen"])
def test_three_steps_agree_with_a_loop_written_by_hand(regime: Regime) -> None:
    network = tiny_network(num_exits=4, regime=regime)
    by_hand = lively_network(network.submodel)
    batches = [(normal_images(4, seed=seed), labels(4, seed=seed)) for seed in range(3)]

    parameters, running_losses = trained_parameters(network), torch.zeros(4)
    teachers = []
    for images, targets in batches:
        parameters, running_losses, metrics = local_step(
            network,
            parameters,
            running_losses,
            images,
            targets,
            torch.tensor(0.02),
            torch.tensor(0.5),
        )
        teachers.append(int(metrics.teacher_index))
    expected_teachers, largest = train_by_hand(by_hand, batches, rate=0.02, weight=0.5)

    assert teachers == expected_teachers
    assert largest > 1, "without large gradients the clipping would not be seen"
    expected = by_hand.state_dict()
    for name, array in parameters.items():
        torch.testing.assert_close(array, expected[name], atol=2e-5, rtol=1e-4)


def test_no_element_moves_further_than_the_learning_rate() -> None:
    network = tiny_network()
    before = trained_parameters(network)

    after = take_step(network, rate=0.1).parameters

    moves = torch.cat([(after[name] - before[name]).abs().flatten() for name in before])
    assert moves.max() == pytest.approx(0.1, rel=1e-4)  # clipped: a gradient above 1
    assert (moves < 0.01).any()  # one element at a time: others keep their gradient


def test_step_changes_neither_the_network_nor_what_it_is_given() -> None:
    network = tiny_network()
    arrays = {name: array.clone() for name, array in network.state_dict().items()}
    parameters, running_losses = trained_parameters(network), torch.zeros(2)

    local_step(
        network,
        parameters,
        running_losses,
        normal_images(4),
        labels(4),
        torch.tensor(0.1),
        torch.tensor(1.0),
    )

    assert all(torch.equal(array, arrays[name]) for name, array in network.state_dict().items())
    assert all(torch.equal(array, arrays[name]) for name, array in parameters.items())
    assert torch.equal(running_losses, torch.zeros(2))
    assert all(parameter.grad is None for parameter in network.parameters())


def test_step_reads_the_trained_arrays_it_is_given_not_the_networks() -> None:
    network = tiny_network()
    other = {name: torch.zeros_like(array) for name, array in trained_parameters(network).items()}

    output = local_step(
        network,
        other,
        torch.zeros(2),
        normal_images(4),
        labels(4),
        torch.tensor(0.1),
        torch.tensor(1.0),
    )

    # All-zero arrays give equal logits, whose loss is the logarithm of three classes.
    torch.testing.assert_close(output.metrics.exit_losses, torch.full((2,), 3.0).log())


def test_metrics_are_of_the_batch_before_the_step() -> None:
    network = tiny_network()
    with torch.no_grad():
        logits = network(normal_images(4))

    output = take_step(network)

    exit_losses = torch.stack([functional.cross_entropy(rows, labels(4)) for rows in logits])
    torch.testing.assert_close(output.metrics.exit_losses, exit_losses)
    torch.testing.assert_close(output.running_losses, 0.2 * exit_losses)
    assert int(output.metrics.teacher_index) == int(exit_losses.argmin())


def test_client_with_one_exit_has_its_cross_entropy_alone() -> None:
    network = tiny_network(max_exit=0)

    without, with_weight = take_step(network, weight=0.0), take_step(network, weight=1.0)

    assert torch.equal(without.metrics.loss, without.metrics.exit_losses.sum())
    for name, array in without.parameters.items():
        assert torch.equal(array, with_weight.parameters[name])


def test_distillation_moves_a_client_with_two_exits() -> None:
    network = tiny_network()

    without, with_weight = take_step(network, weight=0.0), take_step(network, weight=1.0)

    assert with_weight.metrics.loss > without.metrics.loss + 0.01
    name = "classifier.linear.weight"
    assert not torch.equal(without.parameters[name], with_weight.parameters[name])


def test_frozen_regime_trains_the_accumulator_and_classifier_only() -> None:
    parameters = trained_parameters(tiny_network(regime="frozen"))

    assert {name.split(".")[0] for name in parameters} == {"accumulator", "classifier"}
    assert set(take_step(tiny_network(regime="frozen")).parameters) == set(parameters)


def saved_for_backward(network: ReeFL) -> list[tuple[int, ...]]:
    """Return the shapes of what a step keeps from the forward pass for the backward pass."""
    shapes = []

    def note(tensor: Tensor) -> Tensor:
        shapes.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        take_step(network)
    return shapes


def test_frozen_weights_cost_no_gradient() -> None:
    # A weight's gradient needs its layer's input: fc2's is (B * N, 64), and nothing else needs it.
    fc2_input = (4 * 5, 64)

    assert saved_for_backward(tiny_network()).count(fc2_input) == 4
    assert saved_for_backward(tiny_network(regime="frozen")).count(fc2_input) == 0


def test_frozen_blocks_before_the_first_modulation_are_outside_the_graph() -> None:
    network = tiny_network(regime="frozen")
    in_graph = []
    for module in (network.patch_embed, *network.blocks):
        module.register_forward_hook(lambda *call: in_graph.append(call[2].requires_grad))

    take_step(network)

    assert in_graph == [False, False, True, True, True]


def test_step_traced_on_one_batch_computes_another() -> None:
    network = tiny_network(num_exits=4)
    names = list(trained_parameters(network))

    def step(*inputs: Tensor) -> list[Tensor]:
        parameters = dict(zip(names, inputs[5:], strict=True))
        output = local_step(network, parameters, *inputs[:5])
        return [*output.parameters.values(), output.running_losses, *output.metrics]

    def inputs(seed: int, running: list[float], rate: float) -> tuple[Tensor, ...]:
        return (
            torch.tensor(running),
            normal_images(4, seed=seed),
            labels(4, seed=seed),
            torch.tensor(rate),
            torch.tensor(0.5),
            *trained_parameters(network).values(),
        )

    first = inputs(0, [0.0, 9.0, 9.0, 9.0], 0.1)
    second = inputs(1, [9.0, 9.0, 0.0, 9.0], 0.01)
    traced = make_fx(step)(*first)

    expected = step(*second)
    assert int(step(*first)[-1]) == 0
    assert int(expected[-1]) == 2
    for actual, wanted in zip(traced(*second), expected, strict=True):
        torch.testing.assert_close(actual, wanted, atol=1e-6, rtol=1e-5)


def test_cross_entropies_agree_with_pytorch() -> None:
    logits = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)) * 50
    targets = torch.tensor([0, 4, 2, 2])

    expected = torch.stack([functional.cross_entropy(rows, targets) for rows in logits])
    torch.testing.assert_close(cross_entropies(logits, targets), expected)


@pytest.mark.parametrize("num_exits", [1, 4])
def test_a_batch_that_was_filled_up_trains_as_the_smaller_one(num_exits: int) -> None:
    network = tiny_network(num_exits=num_exits)
    images, targets = normal_images(3), labels(3)
    settings = torch.tensor(0.1), torch.tensor(0.7)
    parameters, running_losses = trained_parameters(network), torch.arange(float(num_exits))

    expected = local_step(network, parameters, running_losses, images, targets, *settings)
    filled = local_step(
        network,
        parameters,
        running_losses,
        torch.cat([images, normal_images(2, seed=9)]),
        torch.cat([targets, labels(2, seed=9)]),
        *settings,
        mask=torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0]),
    )

    torch.testing.assert_close(filled, expected, atol=1e-6, rtol=1e-5)


def test_the_lowest_loss_picks_the_teacher_whoever_else_is_named() -> None:
    network = tiny_network(num_exits=4)
    running_losses = torch.tensor([9.0, 0.0, 9.0, 9.0])
    last_teaches = torch.tensor([[0.0] * 4] * 3 + [[1.0, 1.0, 1.0, 0.0]])

    def step(**teaching: Tensor) -> StepOutput:
        return local_step(
            network,
            trained_parameters(network),
            running_losses,
            normal_images(4),
            labels(4),
            torch.tensor(0.1),
            torch.tensor(1.0),
            **teaching,
        )

    lowest, last = step(), step(teaches=last_teaches)
    assert (int(lowest.metrics.teacher_index), int(last.metrics.teacher_index)) == (1, 3)
    for is_best, expected in ((True, lowest), (False, last)):
        actual = step(teaches=last_teaches, best_teaches=torch.tensor(is_best))
        torch.testing.assert_close(actual, expected)
