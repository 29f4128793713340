"""How is the graph of a training step made smaller, and its products such as XNNPACK takes?

What is known beforehand is computed here, once; what is computed twice is computed once; weights
lie in the program as they lie in the checkpoint, for the forward and the backward pass alike.

Letters: M rows, K what is summed over, N columns.
"""

import hashlib
from collections.abc import Callable
from operator import attrgetter
from typing import Any, cast

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

aten = torch.ops.aten

_VIEWS = (aten.view.default, aten._unsafe_view.default)


def fold_constants(module: GraphModule) -> None:
    """Compute what depends on constants alone; equal constants become one."""
    values: dict[Node, Any] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            values[node] = _held(module, node)
        elif node.op == "call_function" and all(each in values for each in node.all_input_nodes):
            args, kwargs = map_arg((node.args, node.kwargs), values.__getitem__)
            values[node] = node.target(*args, **kwargs)
    for node, value in values.items():
        if any(user not in values for user in node.users):
            constant = _constant(module, value.detach())
            node.replace_all_uses_with(constant, lambda user: user not in values)
    module.graph.eliminate_dead_code()


def write_products(module: GraphModule) -> None:
    """Turn products of matrices into XNNPACK's: ``linear`` and ``bmm``.

    A constant that was transposed is the weight of a linear layer; one that was not has been
    transposed back by the backward pass. Rows of images and tokens stay in two axes.
    """
    graph = module.graph
    for node in list(graph.nodes):
        if node.target not in (aten.mm.default, aten.addmm.default):
            continue
        *bias, rows, matrix = node.args
        num_rows, num_columns = node.meta["val"].shape
        with graph.inserting_before(node):
            weight = _linear_weight(module, matrix)
            if weight is None:
                product = _as_bmm(graph, rows, matrix)
            else:
                is_whole = all(each.op == "get_attr" for each in bias)
                fused, bias = (bias, []) if is_whole else ([], bias)
                while rows.target in _VIEWS and _keeps_columns(rows):
                    rows = rows.args[0]
                product = _call(graph, aten.linear.default, rows, weight, *fused)
            for array in bias:
                product = _call(graph, aten.add.Tensor, product, array)
            result = _call(graph, aten.view.default, product, [num_rows, num_columns])
        node.replace_all_uses_with(result)
    graph.eliminate_dead_code()


def merge_equal(module: GraphModule) -> None:
    """Compute once what is computed several times, and view nothing twice in a row."""
    seen: dict[tuple[Any, ...], Node] = {}
    for node in list(module.graph.nodes):
        if node.op != "call_function":
            continue
        if node.target in _VIEWS:
            _shorten(node)
        key = (node.target, repr(node.args), repr(node.kwargs))
        same = seen.setdefault(key, node)
        if same is not node:
            node.replace_all_uses_with(same)
    module.graph.eliminate_dead_code()


def write_copies(module: GraphModule) -> GraphModule:
    """Let every node give an array of its own in plain order, as ExecuTorch's operators do.

    Returns:
        The graph as a new module, which holds the constants that it reads, and no others.
    """
    graph = module.graph
    for node in list(graph.nodes):
        match node.target:
            case aten.clone.default:
                node.replace_all_uses_with(node.args[0])
            case aten.view.default | aten._unsafe_view.default:
                node.target = aten.view_copy.default
            case aten.slice.Tensor:
                node.target = aten.slice_copy.Tensor
            case aten.permute.default:
                node.target = aten.permute_copy.default
            case aten.transpose.int | aten.t.default:
                _permute(node)
    graph.eliminate_dead_code()
    # In memory of their own: XNNPACK's serialiser writes all that lies behind a part of an array.
    constants = {
        node.target: _held(module, node).clone(memory_format=torch.contiguous_format)
        for node in graph.find_nodes(op="get_attr")
    }
    graph.lint()
    return GraphModule(constants, graph)


def _constant(module: GraphModule, value: Tensor) -> Node:
    """Return the node of a constant, known by what it holds."""
    content = hashlib.sha256(value.cpu().contiguous().numpy().tobytes())
    content.update(f"{value.dtype} {value.shape} {value.stride()}".encode())
    name = f"constant_{content.hexdigest()[:32]}"
    known = [each for each in module.graph.find_nodes(op="get_attr") if each.target == name]
    if known:
        return cast(Node, known[0])
    module.register_buffer(name, value)
    with module.graph.inserting_before(next(iter(module.graph.nodes))):
        node = module.graph.get_attr(name)
    node.meta["val"] = value
    return node


def _held(module: GraphModule, constant: Node) -> Tensor:
    value: Tensor = attrgetter(str(constant.target))(module)
    return value


def _linear_weight(module: GraphModule, matrix: Node) -> Node | None:
    """Return the weight (N, K) of a linear layer for which a matrix (K, N) stands, if it is one."""
    if matrix.op != "get_attr":
        return None
    value = _held(module, matrix)
    return _constant(module, value.t()) if value.t().is_contiguous() else None


def _as_bmm(graph: Graph, rows: Node, matrix: Node) -> Node:
    (num_rows, inner), (_, num_columns) = _shape(rows), _shape(matrix)
    left = _call(graph, aten.view.default, rows, [1, num_rows, inner])
    right = _call(graph, aten.view.default, matrix, [1, inner, num_columns])
    return _call(graph, aten.bmm.default, left, right)


def _keeps_columns(view: Any) -> bool:
    return _shape(view)[-1] == _shape(view.args[0])[-1]


def _shorten(view: Node) -> None:
    source: Any = view.args[0]
    while source.target in _VIEWS:
        source = source.args[0]
    view.target, view.args = aten.view.default, (source, _shape(view))
    if _shape(source) == _shape(view):
        view.replace_all_uses_with(source)


def _permute(node: Node) -> None:
    source, *axes = cast(list[Any], node.args)
    dims = list(range(node.meta["val"].dim()))
    first, second = axes or (0, 1)
    dims[first], dims[second] = dims[second], dims[first]
    node.target, node.args = aten.permute_copy.default, (source, dims)


def _call(graph: Graph, target: Callable[..., Any], *args: Any) -> Node:
    """Insert a call of an operator; what it gives is known by its shape."""
    node = graph.call_function(target, args)
    node.meta["val"] = target(*map_arg(args, lambda each: torch.empty(_shape(each), device="meta")))
    return node


def _shape(node: Any) -> list[int]:
    return list(node.meta["val"].shape)
