"""Does a step compiled to ONNX compute the pure step with an exit after each of twelve blocks?"""

from collections.abc import Sequence
from pathlib import Path

import onnx_ir
import pytest
import torch
from torch import Tensor

from reefl_edge.models.arrays import arrays_of
from reefl_edge.runtimes.base import default_threads
from reefl_edge.runtimes.onnx import open_session
from reefl_export.onnx.step.assembly import assemble_step
from reefl_export.onnx.step.parts import pieces_of, trace_pieces
from reefl_export.onnx.step.templates import templates_of
from tests.fakes.compiled_steps import (
    Batch,
    hold_to_fifty_pure_steps,
    hold_to_pure_step,
    step_network,
)
from tests.fakes.submodels import tiny_submodel

pytestmark = pytest.mark.slow


def test_twelve_exits_train_as_the_pure_step_does(tmp_path: Path) -> None:
    submodel = tiny_submodel(num_blocks=12, num_exits=12)
    network = step_network(submodel)
    pieces = pieces_of(network, batch_size=3)
    graph = assemble_step(
        network, templates_of(pieces, trace_pieces(pieces)), arrays_of(network), batch_size=3
    )
    onnx_ir.save(graph, tmp_path / "step.onnx")
    session = open_session(tmp_path / "step.onnx", threads=default_threads(), packs_weights=False)
    names = [spec.name for spec in submodel.step_signature().inputs]

    def step(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        given = {name: array.numpy() for name, array in zip(names, inputs, strict=True)}
        return [torch.tensor(output) for output in session.run(None, given)]

    last_teaches = torch.zeros(12, 12)
    last_teaches[-1, :-1] = 1
    for batch in (
        Batch(running_losses=tuple(map(float, range(12, 0, -1)))),
        Batch(running_losses=(1.0,) * 12, num_examples=2, seed=1),
        Batch(teaches=last_teaches, seed=2),
    ):
        hold_to_pure_step(network, batch, step)
    hold_to_fifty_pure_steps(network, step, rate=0.01)
