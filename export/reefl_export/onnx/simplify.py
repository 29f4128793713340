"""How is a graph simplified that PyTorch has converted?"""

import onnx_ir
import onnx_ir.passes.common as passes
import onnxscript
import onnxscript.rewriter.rules.common as common

_RULES = (
    common.add_0_rule,
    common.cast_cast_rule,
    common.div_by_1_rule,
    common.mul_by_1_rule,
    common.no_op_cast_rule,
    common.no_op_expand_rule,
    common.no_op_static_scatter_nd_rule,
    common.no_op_transpose_rule,
    common.reshape_reshape_rule,
    common.sub_0_rule,
    common.transpose_transpose_rule,
)
_PASSES = (
    passes.RemoveUnusedNodesPass(),
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
    passes.DeduplicateInitializersPass(),
    passes.CommonSubexpressionEliminationPass(),
    passes.OutputFixPass(),
    passes.NameFixPass(),
)


def simplify(model: onnx_ir.Model) -> None:
    """Fold constants, drop what changes nothing, and compute once what is computed twice.

    ``onnxscript.optimizer.optimize`` without the rules that have nothing to do here: to look for
    all its patterns at every node takes it longer than all else.
    """
    for _ in range(2):
        onnxscript.optimizer.fold_constants(model, onnx_shape_inference=True)
        onnxscript.rewriter.rewrite(model, _RULES)
    for each in _PASSES:
        each(model)
