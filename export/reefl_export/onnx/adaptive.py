"""How do the segments of a chain and the stop rule become one graph that is called once?

    logits = segment 0 (images)
    if max softmax(logits) >= threshold and threshold < 1: answer (logits, 0)
    else: logits = segment 1 (what segment 0 handed on), and so on

Each ``If`` holds the rest of the chain in its else branch, so that a segment behind the stop does
not run. The graph takes one image: a batch would have to stop all at once.
"""

from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from reefl_edge.files import write_bytes
from reefl_edge.submodel import Segment

ADAPTIVE_NAME = "adaptive.onnx"


def write_adaptive_graph(folder: Path, segments: tuple[Segment, ...]) -> None:
    """Write ``adaptive.onnx`` beside the segments' graphs, reading the same weights.

    Inputs are ``images`` (1, H, W, 3) and ``threshold`` (float32 scalar; 1 means never early),
    outputs ``logits`` (1, C) and ``exit_index`` (int64, (1,)). It stops where ``ConfidencePolicy``
    with that one threshold does.

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
    ]
    graph = _chain_from(0, models, outputs)
    graph.input.append(_for_one_image(first.graph.input[0]))
    graph.input.append(helper.make_tensor_value_info("threshold", TensorProto.FLOAT, []))
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
    if exit_index == len(models) - 1:
        nodes += _answer(logits, exit_index, outputs)
    else:
        stopped = _named(outputs, f"{prefix}stopped/")
        stop = helper.make_graph(_answer(logits, exit_index, stopped), f"{prefix}stop", [], stopped)
        proceed = _chain_from(exit_index + 1, models, _named(outputs, f"{prefix}proceeded/"))
        nodes += _stop_rule(logits, prefix)
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


def _stop_rule(logits: str, prefix: str) -> list[NodeProto]:
    """Compute whether the image stops at an exit; see ``ConfidencePolicy.stops``."""
    one = helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])
    return [
        helper.make_node("Softmax", [logits], [f"{prefix}probabilities"], axis=-1),
        helper.make_node(
            "ReduceMax", [f"{prefix}probabilities"], [f"{prefix}confidence"], keepdims=0
        ),
        helper.make_node(
            "GreaterOrEqual", [f"{prefix}confidence", "threshold"], [f"{prefix}is_confident"]
        ),
        helper.make_node("Constant", [], [f"{prefix}one"], value=one),
        helper.make_node("Less", ["threshold", f"{prefix}one"], [f"{prefix}may_stop"]),
        helper.make_node("And", [f"{prefix}is_confident", f"{prefix}may_stop"], [f"{prefix}stops"]),
    ]


def _answer(logits: str, exit_index: int, outputs: list[ValueInfoProto]) -> list[NodeProto]:
    """Answer with the logits of an exit."""
    return [
        helper.make_node("Identity", [logits], [outputs[0].name]),
        helper.make_node("Constant", [], [outputs[1].name], value_ints=[exit_index]),
    ]


def _named(values: list[ValueInfoProto], prefix: str) -> list[ValueInfoProto]:
    renamed = []
    for value, name in zip(values, ("logits", "exit_index"), strict=True):
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
