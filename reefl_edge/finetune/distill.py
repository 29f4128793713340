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


def lowest_teaches(losses: Tensor) -> Tensor:
    """Return who teaches whom, (E, E), where the exit with the lowest loss teaches all others.

    Args:
        losses: Of each exit, (E,); of equals, the shallowest teaches.
    """
    is_teacher = torch.arange(len(losses), device=losses.device) == losses.argmin()
    return (is_teacher[:, None] & ~is_teacher[None, :]).float()


def distill_loss(logits: Tensor, teaches: Tensor, mask: Tensor | None = None) -> Tensor:
    """Sum the divergence of every student from every teacher, at temperature 1.

    Args:
        logits: Logits of all exits, (E, B, C).
        teaches: How much the exit of a row teaches the exit of a column, (E, E).
        mask: 1 where the batch holds an example, else 0, (B,); None: it is full.

    Returns:
        KL(teacher || student), mean over the batch, weighted and summed, 0-d; no gradient reaches
        a teacher for teaching.
    """
    log_probs = logits.log_softmax(-1)  # (E, B, C)
    teachers = log_probs.detach()
    probs = teachers.exp() if mask is None else teachers.exp() * mask[:, None]
    negative_entropies = (probs * teachers).flatten(1).sum(-1, keepdim=True)  # (E, 1)
    divergences = negative_entropies - probs.flatten(1) @ log_probs.flatten(1).mT  # (E, E)
    num_examples = logits.shape[1] if mask is None else mask.sum()
    return (teaches * divergences).sum() / num_examples
