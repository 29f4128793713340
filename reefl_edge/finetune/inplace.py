"""How does a client take a local step in little memory?

Gradients are clipped by value and SGD has no momentum: what an array changes by depends on its own
gradient alone. So every array can change inside the backward pass, as soon as its gradient is
known, and no gradient outlives that moment. The pure ``local_step`` defines what is computed; this
computes the same, in place, and is what the trainer runs.

Letters: B batch, H and W image size, E exits, C classes.
Source: updating inside the backward pass, Lv et al. 2023 (LOMO).
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from reefl_edge.finetune.recompute import recomputing
from reefl_edge.finetune.step import GRADIENT_LIMIT, StepMetrics, step_loss
from reefl_edge.models.reefl import ReeFL


class InPlaceOutput(NamedTuple):
    """What a step in place gives to the next one, and to whoever watches."""

    running_losses: Tensor
    metrics: StepMetrics


def trainable_copy(network: ReeFL) -> ReeFL:
    """Return a network whose trained arrays are its own, and which shares the frozen ones.

    The trained arrays, and only they, require a gradient.
    """
    trained = {spec.name for spec in network.submodel.trained_arrays()}
    arrays = {
        id(parameter): nn.Parameter(parameter.detach().clone())
        if name in trained
        else nn.Parameter(parameter.detach(), requires_grad=False)
        for name, parameter in network.named_parameters()
    }
    return deepcopy(network, arrays)


def step_in_place(
    network: ReeFL,
    running_losses: Tensor,
    images: Tensor,
    labels: Tensor,
    *,
    learning_rate: float,
    distill_weight: float,
    teaches: Tensor | None = None,
    recompute: bool = False,
) -> InPlaceOutput:
    """Take one step of SGD on one batch, changing the arrays that require a gradient.

    Args:
        network: As ``trainable_copy`` gives it.
        running_losses: Running loss of each exit, (E,); zeros at the start.
        images: Normalised pixels, float32, (B, 3, H, W).
        labels: Class of every image, (B,).
        learning_rate: Size of the step.
        distill_weight: What distillation counts beside the exits' own losses.
        teaches: How much the exit of a row teaches the exit of a column, (E, E); None: the exit
            with the lowest running loss teaches all others.
        recompute: Keep a block's input only, and compute the rest again: less memory,
            up to half as much time again.

    Returns:
        The running losses with this batch, and the metrics.
    """
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    with recomputing(network) if recompute else nullcontext():
        logits = network(images)  # (E, B, C)
        loss, running_losses, metrics = step_loss(
            logits, labels, running_losses, distill_weight, teaches
        )
        with _descending(trained, learning_rate):
            torch.autograd.backward(loss)
    return InPlaceOutput(running_losses, metrics)


@contextmanager
def _descending(parameters: list[nn.Parameter], learning_rate: float) -> Iterator[None]:
    """Change each parameter by its whole gradient, as soon as a backward pass has it."""

    @torch.no_grad()
    def descend(parameter: Tensor) -> None:
        assert parameter.grad is not None
        gradient = parameter.grad.clamp_(-GRADIENT_LIMIT, GRADIENT_LIMIT)
        parameter.add_(gradient, alpha=-learning_rate)
        parameter.grad = None

    handles = [
        parameter.register_post_accumulate_grad_hook(descend)  # type: ignore[no-untyped-call]
        for parameter in parameters
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
