"""How is one function of a Core ML program run?

When it is loaded, every operator and its inputs are held to what ``operators`` knows, and whatever
depends on constants alone is computed: weights are widened and unpacked once. Each result takes the
type that the program declares, half precision rounded operator by operator, and is dropped after
its last use.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reefl_edge.errors import ParityError
from reefl_export.coreml.mil.constants import Constants, TensorType, type_of
from reefl_export.coreml.mil.constants import Value as Stored
from reefl_export.coreml.mil.operators import MOVING, OPERATORS, Operator, UnsupportedError

# An array, of no axes for a number or a truth value, or text.
Value = Tensor | str

# An input made of several values, as operators take it; the others are made of one.
_SEVERAL = "values"
# How results of a type of MIL.proto are held: half precision as the float32 of the same value.
_HELD: dict[str, Callable[[Tensor], Tensor]] = {
    "FLOAT16": lambda result: result.half().float(),
    "FLOAT32": Tensor.float,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One operation: an operator, where its inputs come from, and what comes out.

    Attributes:
        operator: What it computes.
        label: The function and the operator, for messages.
        moves: Whether it puts numbers elsewhere and gives no other ones: none is to be rounded.
        inputs: The names of the values of each input.
        outputs: Name and type of each result.
    """

    operator: Operator
    label: str
    moves: bool
    inputs: dict[str, tuple[str, ...]]
    outputs: dict[str, TensorType]

    def run(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return its results by name.

        Raises:
            ParityError: It cannot take these values, or its results are not as declared.
        """
        taken = {
            name: tuple(values[source] for source in sources)
            if name == _SEVERAL
            else values[sources[0]]
            for name, sources in self.inputs.items()
        }
        try:
            given = self.operator(**taken)
        except (UnsupportedError, RuntimeError, ValueError, IndexError) as error:
            raise ParityError(f"{self.label} cannot be checked: {error}") from error
        results = given if isinstance(given, tuple) else (given,)
        shapes = [tuple(result.shape) for result in results]
        declared = [each.shape for each in self.outputs.values()]
        if shapes != declared:
            raise ParityError(f"{self.label} gives {shapes}, where {declared} are declared")
        if self.moves:
            return dict(zip(self.outputs, results, strict=True))
        named = zip(self.outputs.items(), results, strict=True)
        return {name: _HELD[tensor_type.name](result) for (name, tensor_type), result in named}


class Function:
    """One function of a program, ready to run.

    Args:
        name: Its name, for messages.
        message: The ``Function`` message of Apple's MIL.proto.
        constants: The constants of its program.

    Raises:
        ParityError: It uses an operator, or an input of one, that is not known here.
    """

    def __init__(self, name: str, message: Any, constants: Constants) -> None:
        block = message.block_specializations[message.opset]
        self._name = name
        self._inputs = {each.name: type_of(each.type) for each in message.inputs}
        self._outputs = tuple(block.outputs)
        self._constants: dict[str, Value] = {}
        steps = []
        for operation in block.operations:
            if operation.type == "const":
                value = constants.value(operation.attributes["val"])
                self._constants[operation.outputs[0].name] = _taken(value)
                continue
            step = self._step(operation, constants)
            if all(source in self._constants for source in _sources(step)):
                self._constants |= step.run(self._constants)
            else:
                steps.append(step)
        # What only other constants were made of is forgotten.
        used = {*self._outputs, *(source for step in steps for source in _sources(step))}
        self._constants = {name: self._constants[name] for name in used & self._constants.keys()}
        self._steps = tuple(zip(steps, _spent(steps, self._outputs), strict=True))

    @torch.inference_mode()
    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the function's outputs by name.

        Args:
            inputs: An array for each input, of its shape.

        Raises:
            ParityError: An operator is used in a way that is not known here, or a result does not
                have the declared shape.
            ValueError: An input is missing, left over, or of another shape.
        """
        shapes = {name: each.shape for name, each in self._inputs.items()}
        given = {name: array.shape for name, array in inputs.items()}
        if given != shapes:
            raise ValueError(f"{self._name} takes {shapes}, got {given}")
        values: dict[str, Any] = dict(self._constants)
        values |= {
            name: _HELD[self._inputs[name].name](_tensor(array)) for name, array in inputs.items()
        }
        for step, spent in self._steps:
            values |= step.run(values)
            for name in spent:
                values.pop(name, None)
        return {name: values[name].numpy() for name in self._outputs}

    def _step(self, operation: Any, constants: Constants) -> _Step:
        """Prepare an operation; what stands in its inputs themselves becomes a constant."""
        operator = OPERATORS.get(operation.type)
        if operator is None:
            raise ParityError(
                f"{self._name} uses {operation.type}, which the check of Core ML programs does not "
                f"know; it knows {', '.join(sorted(OPERATORS))}"
            )
        label = f"{self._name}: {operation.type} {operation.outputs[0].name}"
        try:
            inspect.signature(operator).bind(**operation.inputs)
        except TypeError as error:
            raise ParityError(f"{label} cannot be checked: {error}") from error
        inputs = {
            name: tuple(self._source(label, each, constants) for each in argument.arguments)
            for name, argument in operation.inputs.items()
        }
        if any(len(inputs[name]) != 1 for name in inputs if name != _SEVERAL):
            raise ParityError(f"{label} has several values for one input")
        outputs = {each.name: type_of(each.type) for each in operation.outputs}
        for each in outputs.values():
            if each.name not in _HELD:
                raise ParityError(f"{label} gives {each.name}, which is not known here")
        return _Step(
            operator=operator,
            label=label,
            moves=operation.type in MOVING,
            inputs=inputs,
            outputs=outputs,
        )

    def _source(self, label: str, binding: Any, constants: Constants) -> str:
        if binding.WhichOneof("binding") == "name":
            return str(binding.name)
        name = f"{label}, constant {len(self._constants)}"
        self._constants[name] = _taken(constants.value(binding.value))
        return name


def _taken(value: Stored) -> Value:
    """Return a constant as operators take it."""
    return value if isinstance(value, str) else _tensor(value)


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.require(array, requirements=("C", "W")))


def _sources(step: _Step) -> Iterable[str]:
    return (source for sources in step.inputs.values() for source in sources)


def _spent(steps: list[_Step], outputs: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return, for each step, which values no later one needs."""
    needed = set(outputs)
    spent = []
    for step in reversed(steps):
        spent.append(tuple(set(_sources(step)) - needed))
        needed.update(spent[-1])
    return spent[::-1]
