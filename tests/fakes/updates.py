"""Updates that nobody trained, with numbers that a test can follow."""

import numpy as np

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.checkpoints.metadata import Provenance
from reefl_edge.checkpoints.update import Update
from reefl_edge.submodel import Submodel


def filled_arrays(submodel: Submodel, value: float) -> Arrays:
    """Return the trained arrays of a sub-model, all of one value."""
    return {spec.name: np.full(spec.shape, value, np.float32) for spec in submodel.trained_arrays()}


def drawn_arrays(
    submodel: Submodel, generator: np.random.Generator, *, scale: float = 1.0
) -> Arrays:
    """Return the trained arrays of a sub-model, drawn around zero."""
    return {
        spec.name: (scale * generator.standard_normal(spec.shape)).astype(np.float32)
        for spec in submodel.trained_arrays()
    }


def update_of(
    submodel: Submodel,
    arrays: Arrays,
    *,
    base_sha256: str = "0" * 64,
    server_round: int = 1,
    num_examples: int = 10,
) -> Update:
    """Return an update with such arrays."""
    provenance = Provenance(
        base_sha256=base_sha256, server_round=server_round, num_examples=num_examples
    )
    return Update(submodel=submodel, arrays=arrays, provenance=provenance)
