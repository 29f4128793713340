"""What may a user, or a federation, set of a client's local training?"""

from dataclasses import dataclass

from reefl_edge.data.augment import Augmentation
from reefl_edge.finetune import rounds
from reefl_edge.finetune.batches import check_counts
from reefl_edge.finetune.modes import DistillMode


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTraining:
    """The settings of local training.

    Attributes:
        epochs: How often every example is seen.
        batch_size: Examples per step; an epoch's last batch may be smaller.
        learning_rate: Size of a step; None for that of ``server_round``.
        server_round: The federated round, 1-based: sets rate and weight.
        distill: Which exits teach which; ``dynamic`` holds a share of the examples out.
        augmentation: How images are varied at random.
        seed: Of the order of the examples, of how they are varied, and of new adapters.
        recompute: Compute parts of the forward pass again instead of keeping them:
            the same update in less memory and more time.

    Raises:
        ValueError: A number is out of range.
    """

    epochs: int = 1
    batch_size: int = 32
    learning_rate: float | None = None
    server_round: int = 300
    distill: DistillMode = "dynamic-ma"
    augmentation: Augmentation = "none"
    seed: int = 0
    recompute: bool = False

    def __post_init__(self) -> None:
        check_counts(epochs=self.epochs, batch_size=self.batch_size)
        rounds.check_round(self.server_round)
        rounds.check_rate(self.rate)

    @property
    def rate(self) -> float:
        """Size of every step: what was given, or that of the round."""
        if self.learning_rate is None:
            return rounds.learning_rate(self.server_round)
        return self.learning_rate

    @property
    def distill_weight(self) -> float:
        """What distillation counts at the round, beside the exits' own losses."""
        return rounds.distill_weight(self.server_round)
