"""What may be set of a federation?

One flat table, as Flower's run configuration is: keys in kebab-case, values that are numbers, texts
or truth values. What is left out has the paper's value, where the paper has one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from reefl_edge import schema
from reefl_edge.data.augment import Augmentation
from reefl_edge.data.clients.part import Sharing
from reefl_edge.federation.depths import Tiers
from reefl_edge.federation.privacy import Privacy
from reefl_edge.federation.rules import RoundRules
from reefl_edge.finetune.compiled import StepperName
from reefl_edge.finetune.modes import DistillMode
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.submodel import Regime


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationSettings:
    """The settings of a federation.

    Attributes:
        model: What is trained: the file of a checkpoint, or the folder of a bundle.
        regime: Which of its arrays are trained.
        num_rounds: How many rounds there are.
        num_clients: Clients of a simulation, all in one place; 0 where every node is a client.
        expected_clients: Nodes of a deployment that a round draws from; only noise needs it.
        clients_per_round: How many are asked in a round.
        min_clients: How many updates it takes for a round to count.
        round_deadline_s: How long the server waits for replies; 0 for as long as it takes.
        max_attempts: How often a round is begun before the federation gives up.
        wait_for_clients_s: How long the server waits for ``min_clients`` nodes before a round.
        tiers: How deep clients go: ``assignment`` by the file of that name, ``device`` as each
            node says itself, others by the client's number.
        assignment: An assignment's file.
        data: Where simulated clients' examples are, with a split after ``#``.
        natural: A simulated client is a writer or a speaker.
        alpha: Label skew of simulated clients, where they are not natural.
        test_data: What the server evaluates on; empty for nothing.
        evaluate_every: After how many rounds the server evaluates; after the last one, always.
        epochs: How often a client sees each of its examples in a round.
        batch_size: Examples per step.
        learning_rate: Size of a step; 0 for that of the round.
        distill: Which exits teach which.
        augmentation: How images are varied at random.
        recompute: Clients compute parts of the forward pass again, to save memory.
        seed: Of everything random.
        runtime: What computes the steps of simulated clients.
        torch_device: Where PyTorch computes, here and at simulated clients.
        threads: Threads of a simulated client.
        max_examples: The most examples that an update may say it was trained on.
        server_optimizer: What is made of an average.
        server_learning_rate: Of ``fedadam``.
        clip_norm: How far an update may move the arrays, all taken as one vector; a longer one is
            shortened. 0 for as far as it likes.
        noise_multiplier: Standard deviation of the noise on the sum of a round's updates, in
            ``clip_norm``; 0 for none. With noise clients count alike, and each is taken with the
            same probability, so that on average ``clients_per_round`` are.
        delta: With which probability the bound on what the models tell of a client may fail.
        output: The folder where the model, the rounds and the report go.
        resume: Go on from the last round that the folder holds.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "alias_generator": schema.kebab}

    model: str
    regime: Regime = "frozen"
    num_rounds: int = 10
    num_clients: int = 0
    expected_clients: int = 0
    clients_per_round: int = 10
    min_clients: int = 1
    round_deadline_s: float = 0.0
    max_attempts: int = 3
    wait_for_clients_s: float = 60.0
    tiers: Literal["assignment", "device", Tiers] = "round-robin"
    assignment: str = ""
    data: str = ""
    natural: bool = False
    alpha: float = 1.0
    test_data: str = ""
    evaluate_every: int = 1
    epochs: int = 1
    batch_size: int = 32
    learning_rate: float = 0.0
    distill: DistillMode = "dynamic-ma"
    augmentation: Augmentation = "none"
    recompute: bool = False
    seed: int = 0
    runtime: StepperName = "eager"
    torch_device: str = "cpu"
    threads: int = 1
    max_examples: int = 1_000_000
    server_optimizer: Literal["fedavg", "fedadam"] = "fedavg"
    server_learning_rate: float = 1e-3
    clip_norm: float = 0.0
    noise_multiplier: float = 0.0
    delta: float = 1e-5
    output: str = "federation"
    resume: bool = False

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_simulation()
        if (self.tiers == "assignment") != bool(self.assignment):
            raise ValueError("tiers = 'assignment' goes with the file of an assignment")
        if self.noise_multiplier and not self.clip_norm:
            raise ValueError("noise is measured in clip-norm; set that, too")
        if self.noise_multiplier and not (self.is_simulation or self.expected_clients):
            raise ValueError("with noise, say of how many nodes a round draws: expected-clients")
        self.rules()
        self.training()
        self.privacy()
        self.sharing()

    def _check_numbers(self) -> None:
        for name in ("num_rounds", "evaluate_every", "threads", "max_examples"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{schema.kebab(name)} must be at least 1, got {getattr(self, name)}"
                )
        for name in ("num_clients", "expected_clients", "wait_for_clients_s", "clip_norm"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"{schema.kebab(name)} must not be negative, got {getattr(self, name)}"
                )

        if not 0 < self.server_learning_rate < math.inf:
            raise ValueError(
                f"server-learning-rate must be positive, got {self.server_learning_rate}"
            )
        if not 0 < self.delta < 1:
            raise ValueError(f"delta must be between 0 and 1, got {self.delta}")

    def _check_simulation(self) -> None:
        if not self.is_simulation:
            return
        if not self.data:
            raise ValueError("simulated clients need data, such as data = 'cifar100.npz#train'")
        if self.clients_per_round > self.num_clients:
            raise ValueError(
                f"clients-per-round is {self.clients_per_round}, but there are only "
                f"{self.num_clients} clients"
            )
        if self.tiers == "device":
            raise ValueError(
                "simulated clients have no device; set tiers = 'round-robin', or another"
            )

    @property
    def is_simulation(self) -> bool:
        """Clients are simulated: nodes are only places to compute."""
        return self.num_clients > 0

    def rules(self) -> RoundRules:
        """Return what makes a round."""
        return RoundRules(
            clients_per_round=self.clients_per_round,
            min_clients=self.min_clients,
            deadline_s=self.round_deadline_s or None,
            max_attempts=self.max_attempts,
            seed=self.seed,
        )

    def training(self) -> LocalTraining:
        """Return what a client does in a round; round and seed are the server's to set."""
        return LocalTraining(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate or None,
            distill=self.distill,
            augmentation=self.augmentation,
            recompute=self.recompute,
        )

    def sharing(self) -> Sharing:
        """Return how simulated clients share the data."""
        return Sharing(
            num_clients=self.num_clients or None,
            alpha=None if self.natural or not self.is_simulation else self.alpha,
        )

    def privacy(self) -> Privacy | None:
        """Return how much of a client may show; None where nothing is hidden."""
        if not self.noise_multiplier:
            return None
        num_clients = self.num_clients or self.expected_clients
        return Privacy(
            clip_norm=self.clip_norm,
            noise_multiplier=self.noise_multiplier,
            sampling_rate=min(1.0, self.clients_per_round / num_clients),
        )


def read_settings(values: Mapping[str, Any]) -> FederationSettings:
    """Read settings from a run configuration.

    Raises:
        InputError: A key is unknown, or a value is not what it must be.
    """
    return schema.from_values(FederationSettings, values, source="run config")
