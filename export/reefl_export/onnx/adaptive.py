"""How do the segments of a chain and the stop rule become one graph that is called once?

    logits = segment 0 (images)
    sureness = measure (softmax (logits / temperatures[0]))
    if sureness >= thresholds[0] and thresholds[0] < 1: answer (logits, 0)
    else: logits = segment 1 (what segment 0 handed on), and so on

Each ``If`` holds the rest of the chain in its else branch, so that a segment behind the stop does
not run. The graph takes one image: a batch would have to stop all at once. Thresholds,
temperatures and measure are inputs, so that calibrating never exports; all measures are computed,
which for one image takes next to nothing.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from reefl_edge.confidence import MEASURES, ConfidenceMeasure
from reefl_edge.files import write_bytes
from reefl_edge.submodel import Segment

ADAPTIVE_NAME = "adaptive.onnx"

# Times the two largest: how far the first is above the second.
_DIFFERENCE = helper.make_tensor("difference", TensorProto.FLOAT, [2], [1.0, -1.0])


def write_adaptive_graph(folder: Path, segments: tuple[Segment, ...]) -> None:
    """Write ``adaptive.onnx`` beside the segments' graphs, reading the same weights.

    Inputs are ``images`` (1, H, W, 3); ``thresholds``, float32, (E - 1), of which 1 means never to
    stop there; ``temperatures``, float32, (E), 1 for none; and ``measure``, int64, a scalar, the
    index in ``confidence.MEASURES``. Outputs are ``logits`` (1, C); ``exit_index``, int64, (1); and
    ``confidence``, float32, (1), the probability of the likeliest class at the exit's temperature.
    It stops where ``ConfidencePolicy`` does.

    Args:
        folder: Where the segments' graphs and their weights lie.
        segments: The chain.
    """
    models = [
        onnx.load(folder / f"{segment.name}.onnx", load_external_data=False) for segment in segments
    ]
    first = models[0]
    outputs = [
        _for_one_image(first.graph.output[-1]),
        helper.make_tensor_value_info("exit_index", TensorProto.INT64, [1]),
        helper.make_tensor_value_info("confidence", TensorProto.FLOAT, [1]),
    ]
    graph = _chain_from(0, models, outputs)
    graph.input.append(_for_one_image(first.graph.input[0]))
    num_exits = len(models)
    graph.input.extend(
        [
            helper.make_tensor_value_info("thresholds", TensorProto.FLOAT, [num_exits - 1]),
            helper.make_tensor_value_info("temperatures", TensorProto.FLOAT, [num_exits]),
            helper.make_tensor_value_info("measure", TensorProto.INT64, []),
        ]
    )
    # In the outermost graph, where the segments in the branches find them, each once.
    weights = {tensor.name: tensor for model in models for tensor in _weights(model)}
    graph.initializer.extend(weights.values())
    adaptive = helper.make_model(
        graph, opset_imports=first.opset_import, ir_version=first.ir_version
    )
    adaptive.metadata_props.extend(first.metadata_props)
    write_bytes(folder / ADAPTIVE_NAME, adaptive.SerializeToString(deterministic=True))


def _chain_from(
    exit_index: int, models: list[ModelProto], outputs: list[ValueInfoProto]
) -> GraphProto:
    """Return the chain from the segment of an exit on, answering under the outputs' names."""
    model = models[exit_index].graph
    prefix = f"segment_{exit_index}/"
    names = _new_names(models, exit_index)
    nodes = [_renamed(node, names, prefix) for node in model.node]
    logits = names[model.output[-1].name]
    num_classes = model.output[-1].type.tensor_type.shape.dim[-1].dim_value
    nodes += _probabilities(logits, exit_index, prefix)
    if exit_index == len(models) - 1:
        nodes += _answer(logits, exit_index, outputs)
    else:
        stopped = _named(outputs, f"{prefix}stopped/")
        stop = helper.make_graph(_answer(logits, exit_index, stopped), f"{prefix}stop", [], stopped)
        proceed = _chain_from(exit_index + 1, models, _named(outputs, f"{prefix}proceeded/"))
        nodes += _stop_rule(exit_index, num_classes, prefix)
        nodes.append(
            helper.make_node(
                "If",
                [f"{prefix}stops"],
                [output.name for output in outputs],
                then_branch=stop,
                else_branch=proceed,
            )
        )
    constants = [_constant(tensor, names) for tensor in model.initializer if not _is_weight(tensor)]
    return helper.make_graph(nodes, f"{prefix}chain", [], outputs, constants)


def _new_names(models: list[ModelProto], exit_index: int) -> dict[str, str]:
    """Map a segment's names to names of its own, its inputs to what the last segment gives."""
    graph = models[exit_index].graph
    produced = [name for node in graph.node for name in node.output]
    constants = [tensor.name for tensor in graph.initializer if not _is_weight(tensor)]
    names = {name: f"segment_{exit_index}/{name}" for name in (*produced, *constants)}
    if exit_index:
        handed_on = models[exit_index - 1].graph.output
        for value, origin in zip(graph.input, handed_on[:-1], strict=True):
            names[value.name] = f"segment_{exit_index - 1}/{origin.name}"
    return names


def _renamed(node: NodeProto, names: dict[str, str], prefix: str) -> NodeProto:
    renamed = NodeProto()
    renamed.CopyFrom(node)
    renamed.name = f"{prefix}{node.name}"
    renamed.input[:] = [names.get(name, name) for name in node.input]
    renamed.output[:] = [names.get(name, name) for name in node.output]
    return renamed


def _constant(tensor: TensorProto, names: dict[str, str]) -> TensorProto:
    renamed = TensorProto()
    renamed.CopyFrom(tensor)
    renamed.name = names[tensor.name]
    return renamed


def _probabilities(logits: str, exit_index: int, prefix: str) -> list[NodeProto]:
    """Compute the probabilities at the exit's temperature, and the largest of them."""
    return [
        *_element("temperatures", exit_index, f"{prefix}temperature"),
        helper.make_node("Div", [logits, f"{prefix}temperature"], [f"{prefix}tempered"]),
        helper.make_node("Softmax", [f"{prefix}tempered"], [f"{prefix}probabilities"], axis=-1),
        *_last_axis("ReduceMax", f"{prefix}probabilities", f"{prefix}largest-softmax"),
    ]


def _stop_rule(exit_index: int, num_classes: int, prefix: str) -> list[NodeProto]:
    """Compute whether the image stops at an exit; see ``ConfidencePolicy.stops``."""
    measures = [f"{prefix}{measure}" for measure in MEASURES]
    return [
        *(node for measure in MEASURES for node in _measure(measure, num_classes, prefix)),
        helper.make_node("Concat", measures, [f"{prefix}measures"], axis=0),
        helper.make_node("Gather", [f"{prefix}measures", "measure"], [f"{prefix}sureness"]),
        *_element("thresholds", exit_index, f"{prefix}threshold"),
        helper.make_node(
            "GreaterOrEqual", [f"{prefix}sureness", f"{prefix}threshold"], [f"{prefix}is_sure"]
        ),
        _number(f"{prefix}one", 1.0),
        helper.make_node("Less", [f"{prefix}threshold", f"{prefix}one"], [f"{prefix}may_stop"]),
        helper.make_node("And", [f"{prefix}is_sure", f"{prefix}may_stop"], [f"{prefix}stops"]),
    ]


def _measure(measure: ConfidenceMeasure, num_classes: int, prefix: str) -> list[NodeProto]:
    """Compute how sure an exit is, (1,), from its probabilities; see ``confidence.confidence``."""
    probabilities, found = f"{prefix}probabilities", f"{prefix}{measure}"
    if measure == "largest-softmax":
        return []  # which ``_probabilities`` has computed
    if num_classes == 1:
        return [helper.make_node("Identity", [f"{prefix}largest-softmax"], [found])]
    if measure == "margin":
        return [
            helper.make_node("Constant", [], [f"{prefix}two"], value_ints=[2]),
            helper.make_node(
                "TopK", [probabilities, f"{prefix}two"], [f"{prefix}highest", f"{prefix}classes"]
            ),
            helper.make_node("Constant", [], [f"{prefix}difference"], value=_DIFFERENCE),
            helper.make_node("MatMul", [f"{prefix}highest", f"{prefix}difference"], [found]),
        ]
    return [
        _number(f"{prefix}tiny", float(np.finfo(np.float32).tiny)),
        helper.make_node("Max", [probabilities, f"{prefix}tiny"], [f"{prefix}positive"]),
        helper.make_node("Log", [f"{prefix}positive"], [f"{prefix}logarithms"]),
        helper.make_node("Mul", [probabilities, f"{prefix}logarithms"], [f"{prefix}terms"]),
        *_last_axis("ReduceSum", f"{prefix}terms", f"{prefix}negative_entropy"),
        _number(f"{prefix}most", float(np.log(np.float32(num_classes)))),
        helper.make_node("Div", [f"{prefix}negative_entropy", f"{prefix}most"], [f"{prefix}share"]),
        _number(f"{prefix}whole", 1.0),
        helper.make_node("Add", [f"{prefix}whole", f"{prefix}share"], [f"{prefix}rest"]),
        _number(f"{prefix}zero", 0.0),
        helper.make_node("Clip", [f"{prefix}rest", f"{prefix}zero", f"{prefix}whole"], [found]),
    ]


def _element(vector: str, index: int, name: str) -> list[NodeProto]:
    """Take a number out of a vector, as a scalar."""
    where = helper.make_tensor("index", TensorProto.INT64, [], [index])
    return [
        helper.make_node("Constant", [], [f"{name}_index"], value=where),
        helper.make_node("Gather", [vector, f"{name}_index"], [name]),
    ]


def _last_axis(operator: str, value: str, name: str) -> list[NodeProto]:
    """Reduce the classes of (1, C) to (1,)."""
    return [
        helper.make_node("Constant", [], [f"{name}_axis"], value_ints=[-1]),
        helper.make_node(operator, [value, f"{name}_axis"], [name], keepdims=0),
    ]


def _number(name: str, value: float) -> NodeProto:
    return helper.make_node(
        "Constant", [], [name], value=helper.make_tensor(name, TensorProto.FLOAT, [], [value])
    )


def _answer(logits: str, exit_index: int, outputs: list[ValueInfoProto]) -> list[NodeProto]:
    """Answer with the logits of an exit, and how likely its answer is."""
    return [
        helper.make_node("Identity", [logits], [outputs[0].name]),
        helper.make_node("Constant", [], [outputs[1].name], value_ints=[exit_index]),
        helper.make_node("Identity", [f"segment_{exit_index}/largest-softmax"], [outputs[2].name]),
    ]


def _named(values: list[ValueInfoProto], prefix: str) -> list[ValueInfoProto]:
    renamed = []
    for value, name in zip(values, ("logits", "exit_index", "confidence"), strict=True):
        copy = ValueInfoProto()
        copy.CopyFrom(value)
        copy.name = f"{prefix}{name}"
        renamed.append(copy)
    return renamed


def _for_one_image(value: ValueInfoProto) -> ValueInfoProto:
    copy = ValueInfoProto()
    copy.CopyFrom(value)
    copy.type.tensor_type.shape.dim[0].dim_value = 1
    return copy


def _weights(model: ModelProto) -> list[TensorProto]:
    return [tensor for tensor in model.graph.initializer if _is_weight(tensor)]


def _is_weight(tensor: TensorProto) -> bool:
    """Tell whether an initialiser lies in the shared file."""
    return tensor.data_location == TensorProto.EXTERNAL
