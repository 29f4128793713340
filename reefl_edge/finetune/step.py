"""What does one local step compute?

One pure function from parameters to parameters: the trainer runs it, and an exporter can trace it.
Neither the network nor any argument is changed; the frozen arrays are constants and cost no
gradient.

Letters: B batch, H and W image size, E exits, C classes.
Source: royson/reefl 61b18c1: sum of the exits' losses plus self-distillation, gradients clipped by
value, SGD without momentum.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from reefl_edge.finetune.distill import distill_loss, lowest_teaches, update_running_losses
from reefl_edge.models.reefl import ReeFL

Parameters = dict[str, Tensor]

# Every element of every gradient is held within plus and minus this.
GRADIENT_LIMIT = 1.0


class StepMetrics(NamedTuple):
    """What a step saw before it changed the parameters.

    Attributes:
        loss: What was minimised, 0-d.
        exit_losses: Mean cross-entropy of each exit, (E,).
        teacher_index: The exit that taught, 0-d; of several, the one that taught most.
    """

    loss: Tensor
    exit_losses: Tensor
    teacher_index: Tensor


class StepLoss(NamedTuple):
    """What a step minimises, 0-d and still in the graph; the running losses with this batch."""

    loss: Tensor
    running_losses: Tensor
    metrics: StepMetrics


class StepOutput(NamedTuple):
    """What a step gives to the next one, and to whoever watches."""

    parameters: Parameters
    running_losses: Tensor
    metrics: StepMetrics


def trained_parameters(network: ReeFL) -> Parameters:
    """Return the arrays that the network's regime trains, by name, outside any graph."""
    parameters = dict(network.named_parameters())
    return {spec.name: parameters[spec.name].detach() for spec in network.submodel.trained_arrays()}


def local_step(
    network: ReeFL,
    parameters: Parameters,
    running_losses: Tensor,
    images: Tensor,
    labels: Tensor,
    learning_rate: Tensor,
    distill_weight: Tensor,
    teaches: Tensor | None = None,
    best_teaches: Tensor | None = None,
    mask: Tensor | None = None,
) -> StepOutput:
    """Take one step of SGD on one batch.

    Args:
        network: Gives the computation and the frozen arrays; its trained ones are not read.
        parameters: The trained arrays, by name.
        running_losses: Running loss of each exit, (E,); zeros at the start.
        images: Normalised pixels, float32, (B, 3, H, W).
        labels: Class of every image, (B,).
        learning_rate: Size of the step, 0-d.
        distill_weight: What distillation counts beside the exits' own losses, 0-d.
        teaches: How much the exit of a row teaches the exit of a column, (E, E); None: the exit
            with the lowest running loss teaches all others.
        best_teaches: Whether, in spite of ``teaches``, the exit with the lowest running loss
            teaches all others, bool, 0-d: for a traced step, which must be able to do both.
        mask: 1 where the batch holds an example and 0 where it was filled up, (B,); None: it is
            full.

    Returns:
        The parameters after the step, the running losses with this batch, and the metrics.
    """
    leaves = {name: array.detach().requires_grad_() for name, array in parameters.items()}
    logits = functional_call(network, leaves, (images,))  # (E, B, C)
    loss, running_losses, metrics = step_loss(
        logits, labels, running_losses, distill_weight, teaches, best_teaches, mask
    )
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    updated = {
        name: descend(array.detach(), gradient, learning_rate)
        for (name, array), gradient in zip(leaves.items(), gradients, strict=True)
    }
    return StepOutput(updated, running_losses, metrics)


def descend(array: Tensor, gradient: Tensor, learning_rate: Tensor) -> Tensor:
    """Return what an array becomes: SGD without momentum, the gradient clipped by value."""
    return array - learning_rate * gradient.clamp(-GRADIENT_LIMIT, GRADIENT_LIMIT)


def step_loss(
    logits: Tensor,
    labels: Tensor,
    running_losses: Tensor,
    distill_weight: Tensor | float,
    teaches: Tensor | None = None,
    best_teaches: Tensor | None = None,
    mask: Tensor | None = None,
) -> StepLoss:
    """Compute what a step minimises.

    Args:
        logits: Logits of all exits, (E, B, C).
        labels: Class of every image, (B,).
        running_losses: Running loss of each exit before this batch, (E,).
        distill_weight: What distillation counts beside the exits' own losses.
        teaches: How much the exit of a row teaches the exit of a column, (E, E); None: the exit
            with the lowest running loss teaches all others.
        best_teaches: Whether, in spite of ``teaches``, the exit with the lowest running loss
            teaches all others, bool, 0-d: for a traced step, which must be able to do both.
        mask: 1 where the batch holds an example and 0 where it was filled up, (B,); None: it is
            full.
    """
    exit_losses = cross_entropies(logits, labels, mask)
    # This batch counts before the teacher is picked.
    running_losses = update_running_losses(running_losses, exit_losses.detach())
    if teaches is None:
        teaches = lowest_teaches(running_losses)
    elif best_teaches is not None:
        teaches = torch.where(best_teaches, lowest_teaches(running_losses), teaches)
    loss = exit_losses.sum()
    if len(logits) > 1:
        loss = loss + distill_weight * distill_loss(logits, teaches, mask)
    teacher_index = teaches.sum(1).argmax()
    metrics = StepMetrics(loss.detach(), exit_losses.detach(), teacher_index)
    return StepLoss(loss, running_losses, metrics)


def cross_entropies(logits: Tensor, labels: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy of each exit, (E,).

    The label is picked by comparison: gathering by index has a backward pass that scatters, which
    the runtimes do not take.

    Args:
        logits: Logits of all exits, (E, B, C).
        labels: Class of every image, (B,).
        mask: 1 where the batch holds an example, else 0, (B,); None: it is full.
    """
    classes = torch.arange(logits.shape[-1], device=logits.device)
    is_label = labels[:, None] == classes  # (B, C)
    losses = -torch.where(is_label, logits.log_softmax(-1), 0.0).sum(-1)  # (E, B)
    return losses.mean(-1) if mask is None else (losses * mask).sum(-1) / mask.sum()
