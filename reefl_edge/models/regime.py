"""How does a checkpoint come under another fine-tuning regime?

What it learnt stays: adapters that fold are folded into its weights first. What the new regime adds
is drawn as the released code draws it.
"""

from dataclasses import replace

from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.models.arrays import arrays_of, random_network
from reefl_edge.submodel import Regime


def with_regime(checkpoint: Checkpoint, regime: Regime, *, seed: int) -> Checkpoint:
    """Return a checkpoint to be trained under ``regime``.

    A checkpoint that has the regime's adapters keeps them as they are.

    Args:
        checkpoint: Of any regime.
        regime: The one to train.
        seed: Of the adapters, where new ones are needed.

    Raises:
        ValueError: The checkpoint has adapters that do not fold, of another regime.
    """
    submodel = checkpoint.submodel.with_regime(regime)
    if regime == checkpoint.submodel.regime:
        return checkpoint
    arrays = checkpoint.folded().arrays
    if len(submodel.arrays()) > len(arrays):
        arrays = arrays_of(random_network(submodel, seed=seed)) | arrays
    return replace(checkpoint, submodel=submodel, arrays=arrays)
