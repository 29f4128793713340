"""What do the students learn from the exit, or the exits, that teach?

Who teaches whom is a matrix (E, E): how much the exit of a row teaches the exit of a column. In
ReeFL's own mode the *teacher* is the exit with the lowest running training loss, the *students* are
all other exits, shallower and deeper; in the other modes the matrix comes from outside
(``teaching.py``). Free of data-dependent Python, so that a step can be traced.

Letters: E exits, B batch, C classes.
Source: ReeFL, Lee et al. 2024; royson/reefl 61b18c1.
"""

import torch
from torch import Tensor

# How much of the running loss stays at each step.
RUNNING_DECAY = 0.8


def update_running_losses(running_losses: Tensor, exit_losses: Tensor) -> Tensor:
    """Move the running losses (E,) towards those of this batch (E,).

    They start at zero, which biases all exits alike and so does not change which is lowest.
    """
    return RUNNING_DECAY * running_losses + (1 - RUNNING_DECAY) * exit_losses


def best_teaches(losses: Tensor) -> Tensor:
    """Return who teaches whom, (E, E), where the exit with the lowest loss teaches all others.

    Args:
        losses: Of each exit, (E,); of equals, the shallowest teaches.
    """
    is_teacher = torch.arange(len(losses), device=losses.device) == losses.argmin()
    return (is_teacher[:, None] & ~is_teacher[None, :]).float()


def distill_loss(logits: Tensor, teaches: Tensor) -> Tensor:
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
