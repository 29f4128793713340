"""How does a training step become an ONNX graph, beside the weights that inference reads?"""

import onnx_ir
import torch

from reefl_edge.bundles.facts import METADATA_KEY
from reefl_edge.models.reefl import ReeFL
from reefl_edge.runtimes.onnx_graph import IN_PLACE_KEY
from reefl_export.onnx.step.assembly import assemble_step
from reefl_export.onnx.step.parts import pieces_of, trace_pieces
from reefl_export.onnx.step.templates import Template, templates_of
from reefl_export.onnx.weights import point_at_weights
from reefl_export.recipe import recipe_for
from reefl_export.refused import naming_refused
from reefl_export.training import StepConversion


def export_step(conversion: StepConversion) -> None:
    """Write the graph of a training step.

    Raises:
        MissingToolchainError: An operator of the network has no translation.
    """
    graph = assemble_step(
        conversion.network,
        _templates(conversion),
        conversion.start.arrays,
        batch_size=conversion.batch_size,
        recompute=conversion.recompute,
    )
    graph.metadata_props[METADATA_KEY] = conversion.facts
    graph.metadata_props[IN_PLACE_KEY] = "1"
    for weights in conversion.weights:
        point_at_weights(graph, weights, root=conversion.path.parent)
    onnx_ir.save(graph, conversion.path)


def _templates(conversion: StepConversion) -> dict[str, Template]:
    """Return the pieces of the step: the same ones for all regimes whose networks are alike."""

    def make() -> dict[str, Template]:
        conversion.say("trace")
        pieces = pieces_of(conversion.network, batch_size=conversion.batch_size)
        program = trace_pieces(pieces)
        conversion.say("convert")
        recipe = recipe_for("onnx")
        with naming_refused(recipe, {"a training step": program}, torch.onnx.OnnxExporterError):
            return templates_of(pieces, program)

    return conversion.shared.once(("step", _modules_of(conversion.network)), make)


def _modules_of(network: ReeFL) -> str:
    """Say of which modules a network is; what it trains does not count."""
    return repr(network)
