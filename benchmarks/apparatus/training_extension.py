"""How does ExecuTorch's own training extension take a fine-tuning step?

The loss of a step is lowered with its gradients, as ExecuTorch's documentation does, and its SGD
changes the arrays: no delegate takes part in training, and gradients are not clipped.

Letters: B batch, H and W image size, E exits.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from reefl_edge.data.dataset import Images, Labels
from reefl_edge.finetune.step import step_loss, trained_parameters
from reefl_edge.models.preprocess import normalise
from reefl_edge.models.reefl import ReeFL
from reefl_edge.runtimes.executorch import quiet_engine
from reefl_export.quiet import quiet
from reefl_export.segments import OtherForms

_METHOD = "forward"


class _Loss(nn.Module):
    def __init__(self, network: ReeFL) -> None:
        super().__init__()
        trained = trained_parameters(network).keys()
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in trained)
        self.network = network

    def forward(
        self, images: Tensor, labels: Tensor, running_losses: Tensor, distill_weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        architecture = self.network.submodel.architecture
        logits = self.network(normalise(images, architecture.mean, architecture.std))
        loss, running_losses, _ = step_loss(logits, labels, running_losses, distill_weight)
        return loss, running_losses


@quiet("torch.utils._pytree")
def lower_for_training(network: ReeFL, path: Path, *, batch_size: int) -> None:
    """Write the step of a network's regime for the training extension; changes the network."""
    from executorch.exir import EdgeCompileConfig, to_edge
    from torch.export.experimental import _export_forward_backward

    edge = network.submodel.architecture.image_size
    inputs = (
        torch.zeros(batch_size, edge, edge, 3, dtype=torch.uint8),
        torch.zeros(batch_size, dtype=torch.int64),
        torch.zeros(network.submodel.num_exits),
        torch.tensor(0.5),
    )
    # The fused attention's backward pass is none of ExecuTorch's operators.
    with OtherForms({functional.scaled_dot_product_attention: _attend}):
        program = torch.export.export(_Loss(network), inputs, strict=False)
    joint = _export_forward_backward(program)
    lowered = to_edge(joint, compile_config=EdgeCompileConfig(_check_ir_validity=False))
    path.write_bytes(lowered.to_executorch().buffer)


class ExtensionStepper:
    """Takes steps with the training extension."""

    def __init__(self, path: Path, *, num_exits: int, learning_rate: float) -> None:
        with quiet_engine():
            from executorch.extension.training import (
                _load_for_executorch_for_training,
                get_sgd_optimizer,
            )

            self._module: Any = _load_for_executorch_for_training(str(path))
        self._running_losses = torch.zeros(num_exits)
        self._learning_rate = learning_rate
        self._optimizer_of = get_sgd_optimizer
        self._optimizer: Any = None

    def step(self, images: Images, labels: Labels, *, distill_weight: float) -> float:
        """Train on one batch; return the loss."""
        inputs = (
            torch.from_numpy(images),
            torch.from_numpy(labels),
            self._running_losses,
            torch.tensor(distill_weight),
        )
        loss, running_losses = self._module.forward_backward(_METHOD, inputs)
        if self._optimizer is None:
            parameters = self._module.named_parameters()
            self._optimizer = self._optimizer_of(parameters, self._learning_rate)
        self._optimizer.step(self._module.named_gradients())
        self._running_losses = running_losses.clone()
        return float(loss)


def _attend(query: Tensor, key: Tensor, value: Tensor, *, scale: float | None = None) -> Tensor:
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    return (query * factor @ key.transpose(-1, -2)).softmax(-1) @ value
