"""Compiled training steps of tiny networks, for onnxruntime; each kind of network traced once."""

from functools import cache
from pathlib import Path

import onnx_ir

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.finetune.steppers.onnx import OnnxStepper
from reefl_edge.models.arrays import arrays_of
from reefl_edge.models.reefl import ReeFL
from reefl_edge.regimes import Regime
from reefl_edge.runtimes.base import default_threads
from reefl_edge.runtimes.onnx import open_session
from reefl_edge.submodel import Submodel
from reefl_export.onnx.step.assembly import assemble_step
from reefl_export.onnx.step.parts import pieces_of, trace_pieces
from reefl_export.onnx.step.templates import Template, templates_of
from tests.fakes.networks import lively_network

BATCH_SIZE = 4


def stepper_of(network: ReeFL, folder: Path, *, recompute: bool = False) -> OnnxStepper:
    """Compile a network's step, and load it."""
    path = folder / "step.onnx"
    onnx_ir.save(step_graph_of(network, recompute=recompute), path)
    return OnnxStepper(
        open_session(path, threads=default_threads()),
        network.submodel,
        batch_size=BATCH_SIZE,
        arrays=trained_arrays_of(network),
    )


def step_graph_of(network: ReeFL, *, recompute: bool = False) -> onnx_ir.Model:
    """Compile a network's step."""
    return assemble_step(
        network,
        _templates(network.submodel.with_regime(_traced_as(network.submodel.regime))),
        arrays_of(network),
        batch_size=BATCH_SIZE,
        recompute=recompute,
    )


def trained_arrays_of(network: ReeFL) -> Arrays:
    """Return the arrays that a network's regime trains."""
    arrays = arrays_of(network)
    return {spec.name: arrays[spec.name] for spec in network.submodel.trained_arrays()}


def _traced_as(regime: Regime) -> Regime:
    return "full" if regime == "frozen" else regime


@cache
def _templates(submodel: Submodel) -> dict[str, Template]:
    pieces = pieces_of(lively_network(submodel), batch_size=BATCH_SIZE)
    return templates_of(pieces, trace_pieces(pieces))
