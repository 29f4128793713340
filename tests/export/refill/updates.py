"""Updates as ``finetune`` writes them, without training."""

import numpy as np

from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.hashes import base_sha256
from reefl_edge.checkpoints.metadata import Provenance
from reefl_edge.checkpoints.update import Update
from reefl_edge.regimes import Regime


def update_of(
    checkpoint: Checkpoint, regime: Regime, *, max_exit: int | None = None, seed: int = 1
) -> Update:
    """Return an update whose arrays are all others than those of the checkpoint."""
    cut = checkpoint if max_exit is None else checkpoint.cut(max_exit)
    submodel = cut.submodel.with_regime(regime)
    generator = np.random.default_rng(seed)
    arrays = {
        spec.name: cut.arrays.get(spec.name, np.zeros(spec.shape, np.float32))
        + 0.1 * generator.standard_normal(spec.shape, np.float32)
        for spec in submodel.trained_arrays()
    }
    base = base_sha256(cut.arrays)
    provenance = Provenance(base_sha256=base, server_round=1, num_examples=8)
    return Update(submodel=submodel, arrays=arrays, provenance=provenance)
