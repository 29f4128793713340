"""When may an array be changed where it lies?

When everything that reads it has done so. A step then holds its trained arrays once: what it writes
goes where it was read from. So the descent of an array waits, at a gate, for each reader that its
gradient does not depend on anyway, and no runtime can compute them the other way round.
"""

from collections.abc import Iterator

import onnx_ir

from reefl_export.onnx.step.gate import gate

# What these give may lie where what they read lies: whoever reads the one reads the other.
_VIEWS = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


class Readers:
    """Knows what reads an array in a graph, and what depends on what.

    Args:
        graph: In order, without nodes that nobody needs.
    """

    def __init__(self, graph: onnx_ir.Graph) -> None:
        self._graph = graph
        # A bit for every node; what a node depends on, itself included, as a set of bits.
        self._depends: dict[onnx_ir.Node, int] = {}
        for index, node in enumerate(graph):
            self._depends[node] = 1 << index
            for value in node.inputs:
                self._depends[node] |= 0 if value is None else self._of(value)

    def _of(self, value: onnx_ir.Value) -> int:
        node = value.producer()
        return 0 if node is None else self._depends[node]

    def wait_for(self, array: onnx_ir.Value, gradient: onnx_ir.Value) -> onnx_ir.Value:
        """Append a gate if need be; return the array as it is once all its readers are done.

        Args:
            array: What is to be changed.
            gradient: What changes it, which must be known anyway.
        """
        assert array.shape is not None  # inputs have one
        known = self._of(gradient)
        done = []
        # The last one first: what it depends on is done by then.
        for reader in sorted(_readers(array), key=self._depends.__getitem__, reverse=True):
            if self._depends[reader] & ~known:
                known |= self._depends[reader]
                done.append(next(value for value in reader.outputs if value.uses()))
        if not done:
            return array
        nodes, waiting = gate(array, after=done, shape=array.shape.numpy())
        self._graph.extend(nodes)
        return waiting


def _readers(array: onnx_ir.Value) -> Iterator[onnx_ir.Node]:
    """Give all nodes that compute with an array, also those that see it in another shape."""
    for node, _ in array.uses():
        if node.op_type in _VIEWS:
            yield from _readers(node.outputs[0])
        else:
            yield node
