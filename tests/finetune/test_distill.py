"""Does the right exit teach, and do the others alone learn?"""

import math

import pytest
import torch
from torch import Tensor

from reefl_edge.finetune.distill import distill_loss, lowest_teaches, update_running_losses
from reefl_edge.finetune.rounds import distill_weight


def divergence(teacher: Tensor, student: Tensor) -> float:
    """KL(teacher || student) of logits (B, C), mean over the batch, number by number."""
    total = 0.0
    for teacher_row, student_row in zip(teacher.tolist(), student.tolist(), strict=True):
        p = [math.exp(z) / sum(map(math.exp, teacher_row)) for z in teacher_row]
        q = [math.exp(z) / sum(map(math.exp, student_row)) for z in student_row]
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return total / len(teacher)


def random_logits() -> Tensor:
    return torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0))


def teacher_of(running_losses: Tensor) -> Tensor:
    return lowest_teaches(running_losses).sum(1).argmax()


def only_teacher(teacher_index: int) -> Tensor:
    return lowest_teaches((torch.arange(3) != teacher_index).float())


def test_teacher_of_two_batches_is_the_exit_with_the_lower_running_loss() -> None:
    running = torch.zeros(2)
    running = update_running_losses(running, torch.tensor([2.0, 1.0]))
    assert int(teacher_of(running)) == 1
    running = update_running_losses(running, torch.tensor([1.0, 3.0]))

    torch.testing.assert_close(running, torch.tensor([0.52, 0.76]))
    assert int(teacher_of(running)) == 0


def test_of_equal_exits_the_shallowest_teaches() -> None:
    assert int(teacher_of(torch.tensor([0.5, 0.2, 0.2, 0.2]))) == 1
    assert int(teacher_of(torch.zeros(12))) == 0


@pytest.mark.parametrize("teacher_index", [0, 1, 2])
def test_loss_sums_the_divergence_of_every_other_exit(teacher_index: int) -> None:
    logits = random_logits()
    students = [exit_index for exit_index in range(3) if exit_index != teacher_index]

    loss = distill_loss(logits, only_teacher(teacher_index))

    expected = sum(divergence(logits[teacher_index], logits[student]) for student in students)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_gradient_reaches_shallower_and_deeper_students_but_not_the_teacher() -> None:
    logits = random_logits().requires_grad_()

    torch.autograd.backward(distill_loss(logits, only_teacher(1)))

    assert logits.grad is not None
    largest = logits.grad.abs().amax((1, 2))
    assert largest[1] == 0
    assert largest[0] > 0.01
    assert largest[2] > 0.01


def test_exits_that_agree_lose_nothing() -> None:
    agreed = random_logits()[:1].expand(3, -1, -1)
    assert float(distill_loss(agreed, only_teacher(2))) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("server_round", "expected"),
    [(1, 0.007), (50, 0.031), (100, 0.1084), (150, 0.287), (200, 0.5738), (250, 0.870)],
)
def test_weight_ramps_up(server_round: int, expected: float) -> None:
    assert distill_weight(server_round) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("server_round", [300, 301, 1000])
def test_weight_is_one_from_round_300(server_round: int) -> None:
    assert distill_weight(server_round) == 1.0


def test_round_zero_has_no_weight() -> None:
    with pytest.raises(ValueError, match="rounds are counted from 1, got 0"):
        distill_weight(0)
