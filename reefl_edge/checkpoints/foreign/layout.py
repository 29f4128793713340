"""How do the arrays of somebody else's file correspond to ours?

A *layout* says of each of our arrays which *parts* it has in a foreign file: one array under
another name, or several that we keep fused, such as query, key and value. Read forwards the parts
are joined along the first axis, read backwards they are split again: one table serves both ways.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.checkpoints.metadata import differences
from reefl_edge.errors import InputError
from reefl_edge.submodel import ArraySpec, Shape


@dataclass(frozen=True, slots=True)
class Part:
    """One array of a foreign file."""

    name: str
    shape: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The names and shapes of somebody else's files.

    Attributes:
        title: Whose it is, for people.
        parts: What one of our arrays is there.
        dropped: Beginnings of the names that we have no use for.
        is_whole: The files hold an accumulator and a classifier, not a backbone only.
    """

    title: str
    parts: Callable[[ArraySpec], tuple[Part, ...]]
    dropped: tuple[str, ...] = ()
    is_whole: bool = False

    def name_of(self, name: str) -> str:
        """Return the name of the (first) array that is our ``name``."""
        spec = ArraySpec(name=name, shape=(1,), is_trained=False, is_row_wise=False)
        return self.parts(spec)[0].name


def stacked(names: tuple[str, ...], shape: Shape) -> tuple[Part, ...]:
    """Return equal parts which, one below the other, make an array of ``shape``."""
    return tuple(Part(name, (shape[0] // len(names), *shape[1:])) for name in names)


def join(arrays: Arrays, specs: Iterable[ArraySpec], layout: Layout, *, source: str) -> Arrays:
    """Turn the arrays of a foreign file into ours.

    Raises:
        InputError: Arrays are missing, left over or of another shape; all of them are listed.
    """
    wanted = {spec.name: layout.parts(spec) for spec in specs}
    expected = {part.name: part.shape for parts in wanted.values() for part in parts}
    kept = {name: array for name, array in arrays.items() if not name.startswith(layout.dropped)}
    if problems := differences(kept, expected):
        raise InputError(f"{source} does not fit {layout.title}: {'; '.join(problems)}")
    shapes = {spec.name: spec.shape for spec in specs}
    return {
        name: _joined([arrays[part.name] for part in parts]).reshape(shapes[name])
        for name, parts in wanted.items()
    }


def split(arrays: Arrays, specs: Iterable[ArraySpec], layout: Layout) -> Arrays:
    """Turn our arrays into those of a foreign file."""
    foreign: Arrays = {}
    for spec in specs:
        parts = layout.parts(spec)
        pieces = np.split(arrays[spec.name], len(parts)) if len(parts) > 1 else [arrays[spec.name]]
        for part, piece in zip(parts, pieces, strict=True):
            foreign[part.name] = piece.reshape(part.shape)
    return foreign


def _joined(pieces: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
