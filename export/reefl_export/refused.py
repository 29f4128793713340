"""Which operator did a converter refuse, and in which part of the network does it stand?

Converters name the operator, each in its own words; where it stands, the traced program knows.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from torch import fx
from torch._ops import OpOverload
from torch.export import ExportedProgram

from reefl_edge.errors import MissingToolchainError
from reefl_export.recipe import ExportRecipe
from reefl_export.segments import VIEW_PREFIX

# aten.relu.default, fx node relu; prims.bessel_j0, which was aten.special_bessel_j0
_OPERATOR = re.compile(r"(?:aten\.|prims\.|fx node )(\w+)")


@contextmanager
def naming_refused(
    recipe: ExportRecipe,
    programs: Mapping[str, ExportedProgram],
    *errors: type[Exception],
) -> Iterator[None]:
    """Report an operator that a converter refuses with the path of its module.

    Args:
        recipe: What is made.
        programs: What is converted, by segment.
        errors: What the converter raises; one that names no operator goes on as it is.

    Raises:
        MissingToolchainError: The converter refused an operator.
    """
    try:
        yield
    except errors as error:
        place = find_refused(programs, _messages(error))
        if place is None:
            raise
        raise MissingToolchainError(
            f"{recipe.title} cannot take {place}; install the releases that "
            f"'reefl-edge[{recipe.target}]' asks for, or write that part in other operators"
        ) from error


def find_refused(programs: Mapping[str, ExportedProgram], messages: Iterable[str]) -> str | None:
    """Return the first operator that messages name and the programs have, and where it stands.

    Args:
        programs: Traced programs, by segment.
        messages: What a converter said, the most telling first.
    """
    stands = {
        name: f"operator {name} in {_module_path(node)} ({segment})"
        for segment, program in programs.items()
        for node in program.graph.nodes
        if (name := _operator_name(node)) is not None
    }
    for message in messages:
        for name in _OPERATOR.findall(message):
            for operator, place in stands.items():
                if operator == name or operator.endswith(f"_{name}"):
                    return place
    return None


def _operator_name(node: fx.Node) -> str | None:
    if node.op != "call_function" or not isinstance(node.target, OpOverload):
        return None
    _, name = node.target._schema.name.split("::")
    return str(name)


def _module_path(node: fx.Node) -> str:
    """Return the path of the innermost module that calls a node, as in the network's own names."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    path = str(stack[-1][0]) if stack else ""
    _, is_below, below = path.rpartition(VIEW_PREFIX)
    return below if is_below else "the network itself"


def _messages(error: BaseException | None) -> list[str]:
    """Return the messages of an error and of what caused it, the innermost first."""
    messages: list[str] = []
    while error is not None:
        messages.insert(0, str(error))
        error = error.__cause__
    return messages
