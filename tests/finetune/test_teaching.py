"""Does each mode of distillation teach what it says, with any number of exits?"""

import math
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.finetune.batches import ShuffledBatches
from reefl_edge.finetune.client import train_client
from reefl_edge.finetune.distill import distill_loss, lowest_teaches
from reefl_edge.finetune.loop import History, train
from reefl_edge.finetune.modes import DistillMode
from reefl_edge.finetune.steppers.eager import EagerStepper
from reefl_edge.finetune.teaching import Teaches, all_teach, hold_out, one_teaches, teaching
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.models.arrays import random_network
from reefl_edge.models.preprocess import network_input
from reefl_edge.models.reefl import ReeFL
from tests.fakes.images import random_images
from tests.fakes.networks import checkpoint_of
from tests.fakes.steppers import FakeStepper
from tests.fakes.submodels import tiny_submodel

EXITS = [1, 2, 4]


def divergence(teacher: Tensor, student: Tensor) -> float:
    """KL(teacher || student) of logits (B, C), mean over the batch, number by number."""
    total = 0.0
    for teacher_row, student_row in zip(teacher.tolist(), student.tolist(), strict=True):
        p = [math.exp(z) / sum(map(math.exp, teacher_row)) for z in teacher_row]
        q = [math.exp(z) / sum(map(math.exp, student_row)) for z in student_row]
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return total / len(teacher)


def random_logits(num_exits: int) -> Tensor:
    return torch.randn(num_exits, 3, 5, generator=torch.Generator().manual_seed(0))


def tiny_network(num_exits: int) -> ReeFL:
    return random_network(tiny_submodel(num_exits=num_exits), seed=0)


def tiny_dataset(count: int = 10) -> ArrayDataset:
    return ArrayDataset(random_images(count), np.arange(count) % 3, ("a", "b", "c"), 16)


def finetune(network: ReeFL, dataset: ArrayDataset, **settings: Any) -> History:
    """Train what a network holds, under its own regime."""
    return train_client(
        checkpoint_of(network), network.submodel.regime, dataset, LocalTraining(**settings)
    ).history


def loss_of(logits: Tensor, teaches: Teaches) -> Tensor:
    return distill_loss(logits, torch.from_numpy(teaches))


@pytest.mark.parametrize("num_exits", EXITS)
def test_without_teaching_there_is_nothing_to_learn(num_exits: int) -> None:
    nobody = np.zeros((num_exits, num_exits), np.float32)

    assert float(loss_of(random_logits(num_exits), nobody)) == 0


@pytest.mark.parametrize("num_exits", EXITS)
def test_one_exit_teaches_all_others(num_exits: int) -> None:
    logits = random_logits(num_exits)
    for teacher in range(num_exits):
        loss = loss_of(logits, one_teaches(teacher, num_exits))

        students = [j for j in range(num_exits) if j != teacher]
        expected = sum(divergence(logits[teacher], logits[j]) for j in students)
        assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("num_exits", EXITS)
def test_all_every_exit_teaches_every_other_divided_by_the_tier(num_exits: int) -> None:
    logits = random_logits(num_exits)

    loss = loss_of(logits, all_teach(num_exits))

    tier = num_exits - 1
    pairs = [(i, j) for i in range(num_exits) for j in range(num_exits) if i != j]
    expected = sum(divergence(logits[i], logits[j]) for i, j in pairs) / tier if tier else 0
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("num_exits", EXITS)
def test_the_best_exit_is_found_inside_the_step_as_outside(num_exits: int) -> None:
    for best in range(num_exits):
        losses = torch.ones(num_exits)
        losses[best] = 0.5

        teaches = lowest_teaches(losses)

        np.testing.assert_array_equal(teaches.numpy(), one_teaches(best, num_exits))


def test_no_gradient_reaches_a_teacher_for_teaching() -> None:
    logits = random_logits(3).requires_grad_()

    (gradient,) = torch.autograd.grad(loss_of(logits, all_teach(3)), logits)

    log_probs = logits.log_softmax(-1).detach()
    for student in range(3):
        # d KL(p || softmax(z)) / dz = softmax(z) - p
        others = [log_probs[teacher].exp() for teacher in range(3) if teacher != student]
        expected = sum((log_probs[student].exp() - p for p in others), torch.zeros(3, 5)) / 2 / 3
        torch.testing.assert_close(gradient[student], expected)


@pytest.mark.parametrize("num_exits", EXITS)
@pytest.mark.parametrize("mode", ["none", "forward", "all"])
def test_a_step_minimises_labels_plus_weighted_teaching(num_exits: int, mode: DistillMode) -> None:
    network, dataset = tiny_network(num_exits), tiny_dataset()
    images, labels = dataset.images(np.arange(10)), torch.from_numpy(dataset.labels)
    stepper = EagerStepper(network)
    teaches = teaching(mode, stepper, None, None)

    metrics = stepper.step(
        images, dataset.labels, learning_rate=0.1, distill_weight=0.5, teaches=teaches()
    )

    with torch.no_grad():
        logits = network(network_input(images, network.submodel.architecture))
    learnt = sum(float(torch.nn.functional.cross_entropy(exit_, labels)) for exit_ in logits)
    pairs = {
        "none": [],
        "forward": [(num_exits - 1, j) for j in range(num_exits - 1)],
        "all": [(i, j) for i in range(num_exits) for j in range(num_exits) if i != j],
    }[mode]
    taught = sum(divergence(logits[i], logits[j]) for i, j in pairs)
    share = max(1, num_exits - 1) if mode == "all" else 1
    assert metrics.loss == pytest.approx(learnt + 0.5 * taught / share, rel=1e-4)


@pytest.mark.parametrize("num_exits", EXITS)
def test_dynamic_the_best_exit_on_the_held_out_batch_teaches(num_exits: int) -> None:
    network, held_out = tiny_network(num_exits), tiny_dataset(3)
    batches = ShuffledBatches(3, epochs=2, batch_size=3, generator=np.random.default_rng(0))
    says = teaching("dynamic", EagerStepper(network), held_out, batches)

    images = network_input(held_out.images(np.arange(3)), network.submodel.architecture)
    with torch.no_grad():
        logits = network(images)
    labels = torch.from_numpy(held_out.labels)
    losses = [float(torch.nn.functional.cross_entropy(exit_, labels)) for exit_ in logits]
    best = losses.index(min(losses))
    for _ in range(2):
        teaches = says()
        assert teaches is not None
        np.testing.assert_array_equal(teaches, one_teaches(best, num_exits))


def test_a_stepper_that_cannot_judge_exits_refuses_dynamic() -> None:
    stepper = FakeStepper(tiny_submodel())

    with pytest.raises(ValueError, match="FakeStepper does not"):
        train(stepper, tiny_dataset(), LocalTraining(distill="dynamic"))


def test_dynamic_holds_a_fifth_out_and_never_trains_on_it() -> None:
    dataset = tiny_dataset()
    training, held_out = hold_out(dataset, "dynamic", np.random.default_rng(0))

    assert held_out is not None
    assert (len(training.labels), len(held_out.labels)) == (8, 2)
    first = {image.tobytes() for image in training.originals(np.arange(8))}
    assert not first & {image.tobytes() for image in held_out.originals(np.arange(2))}
    result = finetune(tiny_network(2), dataset, batch_size=4, distill="dynamic")
    assert (result.num_steps, result.num_examples) == (2, 8)
    with pytest.raises(ValueError, match="needs 2 examples at least, got 1"):
        finetune(tiny_network(2), tiny_dataset(1), distill="dynamic")


@pytest.mark.parametrize("num_exits", EXITS)
@pytest.mark.parametrize("mode", get_args(DistillMode))
def test_who_taught_is_counted_and_runs_repeat(num_exits: int, mode: DistillMode) -> None:
    network, dataset = tiny_network(num_exits), tiny_dataset()

    first, again = (
        finetune(network, dataset, batch_size=4, distill=mode, augmentation="crop-flip")
        for _ in range(2)
    )

    assert first.losses == again.losses
    assert len(first.teacher_counts) == num_exits
    steps = first.num_steps
    expected = {"none": 0, "all": steps * num_exits}.get(mode, steps)
    assert sum(first.teacher_counts) == (expected if num_exits > 1 else 0)  # none teaches itself
    if mode == "forward" and num_exits > 1:
        assert first.teacher_counts[-1] == steps


def test_augmentation_changes_the_images_but_not_their_order() -> None:
    plain, varied = (
        finetune(tiny_network(2), tiny_dataset(), batch_size=4, augmentation=augmentation)
        for augmentation in ("none", "crop")
    )

    assert plain.losses != varied.losses
    assert plain.num_steps == varied.num_steps
