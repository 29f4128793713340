"""Which exit teaches on this batch, and what do the others learn from it?

In ReeFL's own mode, ``dynamic-ma``, the *teacher* is the exit with the lowest running training
loss, the *students* are all other exits, shallower and deeper. The other modes are told by a matrix
(E, E): how much the exit of a row teaches the exit of a column. Everything a step uses is free of
data-dependent Python, so that the step can be traced.

Letters: E exits, B batch, C classes.
Source: ReeFL, Lee et al. 2024; royson/reefl 61b18c1, whose modes are called ``dynamic_ma``,
``dynamic``, ``all``, ``forward`` and nothing. The ramp of the weight is DepthFL's.
"""

import math

import torch
from torch import Tensor

from reefl_edge.finetune.schedule import check_round

# How much of the running loss stays at each step.
RUNNING_DECAY = 0.8
# The round from which distillation counts in full.
FULL_WEIGHT_ROUND = 300


def update_running_losses(running_losses: Tensor, exit_losses: Tensor) -> Tensor:
    """Move the running losses (E,) towards those of this batch (E,).

    They start at zero, which biases all exits alike and so does not change which is lowest.
    """
    return RUNNING_DECAY * running_losses + (1 - RUNNING_DECAY) * exit_losses


def teacher_of(running_losses: Tensor) -> Tensor:
    """Return the exit with the lowest running loss, the shallowest of equals, as a 0-d tensor."""
    return running_losses.argmin()


def distill_loss(logits: Tensor, teacher_index: Tensor) -> Tensor:
    """Sum the divergence of every student from the teacher, at temperature 1.

    Args:
        logits: Logits of all exits, (E, B, C).
        teacher_index: The exit that teaches, 0-d; no gradient reaches it.

    Returns:
        KL(teacher || student), mean over the batch, summed over the students, 0-d.
    """
    log_probs = logits.log_softmax(-1)
    teacher = log_probs.index_select(0, teacher_index.reshape(1)).detach()  # (1, B, C)
    divergences = (teacher.exp() * (teacher - log_probs)).sum(-1).mean(-1)  # (E,)
    is_student = torch.arange(len(logits), device=logits.device) != teacher_index
    return torch.where(is_student, divergences, 0.0).sum()


def nobody_teaches(num_exits: int) -> Tensor:
    """Return who teaches whom, (E, E), where every exit learns from the labels alone."""
    return torch.zeros(num_exits, num_exits)


def deepest_teaches(num_exits: int) -> Tensor:
    """Return who teaches whom, (E, E), where the deepest exit teaches all earlier ones."""
    return one_teaches(torch.tensor(num_exits - 1), num_exits)


def all_teach(num_exits: int) -> Tensor:
    """Return who teaches whom, (E, E): every exit every other, so that each learns a mean."""
    # A single exit has no other; nothing is divided by zero.
    return (1 - torch.eye(num_exits)) / max(1, num_exits - 1)


def one_teaches(teacher_index: Tensor, num_exits: int) -> Tensor:
    """Return who teaches whom, (E, E), where the exit of a 0-d index teaches all others."""
    is_teacher = torch.arange(num_exits, device=teacher_index.device) == teacher_index
    return (is_teacher[:, None] & ~is_teacher[None, :]).float()


def taught_loss(logits: Tensor, teaches: Tensor) -> Tensor:
    """Sum the divergence of every student from every teacher, at temperature 1.

    Args:
        logits: Logits of all exits, (E, B, C).
        teaches: How much the exit of a row teaches the exit of a column, (E, E).

    Returns:
        KL(teacher || student), mean over the batch, weighted and summed, 0-d; no gradient reaches
        a teacher for teaching.
    """
    log_probs = logits.log_softmax(-1).flatten(1)  # (E, BC)
    teachers = log_probs.detach()
    negative_entropies = (teachers.exp() * teachers).sum(-1, keepdim=True)  # (E, 1)
    divergences = negative_entropies - teachers.exp() @ log_probs.mT  # (E, E)
    return (teaches * divergences).sum() / logits.shape[1]


def distill_weight(server_round: int) -> float:
    """Return what distillation counts at a round, beside the exits' own losses.

    >>> [round(distill_weight(server_round), 4) for server_round in (1, 100, 200, 300)]
    [0.007, 0.1084, 0.5738, 1.0]

    Raises:
        ValueError: ``server_round`` is less than 1.
    """
    check_round(server_round)
    missing = 1 - min(server_round, FULL_WEIGHT_ROUND) / FULL_WEIGHT_ROUND
    return math.exp(-5 * missing**2)
