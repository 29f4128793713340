"""What is a federation put together of, by its settings?

The server's half, and that of simulated clients: all in one place, by number, each with its part of
the same data.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from reefl_edge import schema
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.checkpoint import bundled_checkpoint
from reefl_edge.bundles.manifest import MANIFEST_NAME
from reefl_edge.checkpoints.checkpoint import Checkpoint, read_checkpoint
from reefl_edge.checkpoints.hashes import weights_sha256
from reefl_edge.data.clients.part import Partition
from reefl_edge.data.dataset import Dataset
from reefl_edge.data.reading import read_dataset
from reefl_edge.errors import InputError
from reefl_edge.extras import needs_extra
from reefl_edge.federation.client import FederatedClient, Trainer
from reefl_edge.federation.depths import AssignedDepths, Depths, TierDepths
from reefl_edge.federation.evaluation import Evaluate, evaluate
from reefl_edge.federation.guard import Guard
from reefl_edge.federation.optimizer import FedAdam, FedAvg, ServerOptimizer
from reefl_edge.federation.rules import Participant
from reefl_edge.federation.run import Federation
from reefl_edge.federation.server import Server
from reefl_edge.federation.settings import FederationSettings
from reefl_edge.federation.state_file import FederationIdentity, StateFiles
from reefl_edge.profiling.assignment import read_assignment
from reefl_edge.submodel import Submodel

# What of the settings may be otherwise when a federation goes on: it says where things are (which
# model it is, its hash says), how long somebody waits and what is enough, but not what a round is.
_OF_NO_MATTER = (
    *("model", "test_data", "output", "resume", "threads", "torch_device"),
    *("num_rounds", "evaluate_every"),
    *("min_clients", "wait_for_clients_s", "round_deadline_s", "max_attempts"),
)


def read_model(path: Path) -> Checkpoint:
    """Read the whole model of a federation.

    Raises:
        InputError: There is no checkpoint of ours, or it is damaged.
    """
    if (path / MANIFEST_NAME).is_file():
        return bundled_checkpoint(Bundle.open(path))[0]
    return read_checkpoint(path)


def start_of(settings: FederationSettings, model: Checkpoint) -> Checkpoint:
    """Return the model as it is before the first round: under the regime, adapters drawn.

    Raises:
        InputError: It has adapters that the regime has no place for.
        MissingToolchainError: PyTorch is not installed.
    """
    with needs_extra("a federation's server", "torch", "train"):
        from reefl_edge.models.regime import with_regime
    try:
        return with_regime(model, settings.regime, seed=settings.seed)
    except ValueError as error:
        raise InputError(f"{settings.model}: {error}") from error


def federation_of(settings: FederationSettings, start: Checkpoint) -> Federation:
    """Put a federation together.

    Args:
        settings: Its settings.
        start: What ``start_of`` gives.

    Raises:
        InputError: A file is missing, damaged or does not fit.
    """
    return Federation(
        server=_server(settings, start),
        num_rounds=settings.num_rounds,
        evaluate=_evaluator(settings, start),
        evaluate_every=settings.evaluate_every,
        states=StateFiles(Path(settings.output), _identity(settings, start)),
        resume=settings.resume,
    )


def _server(settings: FederationSettings, start: Checkpoint) -> Server:
    privacy = settings.privacy()
    return Server(
        start,
        settings.rules(),
        settings.training(),
        optimizer=_optimizer(settings),
        # A bound that depends on other clients' data would undo what the noise promises.
        guard=Guard(bounds_norms=privacy is None),
        clip_norm=settings.clip_norm or None if privacy is None else None,
        privacy=privacy,
        # Every node knows the seed; in a simulation there is nobody to hide anything from.
        secret=settings.seed if settings.is_simulation else None,
    )


def _optimizer(settings: FederationSettings) -> ServerOptimizer:
    if settings.server_optimizer == "fedadam":
        return FedAdam(learning_rate=settings.server_learning_rate)
    return FedAvg()


def _evaluator(settings: FederationSettings, start: Checkpoint) -> Evaluate | None:
    if not settings.test_data:
        return None
    dataset = dataset_for(start, settings.test_data)
    return partial(evaluate, dataset=dataset, torch_device=settings.torch_device)


def _identity(settings: FederationSettings, start: Checkpoint) -> FederationIdentity:
    return FederationIdentity(
        submodel=start.submodel,
        start_sha256=weights_sha256(start.arrays),
        settings={
            key: value
            for key, value in schema.to_dict(settings).items()
            if key not in _OF_NO_MATTER
        },
    )


def depths_of(settings: FederationSettings, submodel: Submodel) -> Depths:
    """Return what says how deep each client goes; ``device`` is each node's own matter.

    Raises:
        InputError: The assignment is damaged, or does not fit the model.
    """
    match settings.tiers:
        case "assignment":
            assignment = read_assignment(Path(settings.assignment))
            return AssignedDepths(assignment, submodel, is_shared=settings.is_simulation)
        case "device":
            raise ValueError("devices say themselves how deep they go")
        case tiers:
            return TierDepths(tiers, submodel.num_exits)


def dataset_for(model: Checkpoint, name: str) -> Dataset:
    """Read a dataset for a model.

    Args:
        model: Its image size and classes count.
        name: A path, with a split after ``#``.

    Raises:
        InputError: It is missing, damaged, or has a class that the model lacks.
    """
    size = model.submodel.architecture.image_size
    return read_dataset(Path(name), image_size=size, class_names=model.names())


def client_name(index: int) -> str:
    """Return the name of a simulated client.

    >>> client_name(17)
    'client-17'
    """
    return f"client-{index}"


def client_index(name: str) -> int:
    """Return the number of a simulated client."""
    return int(name.rpartition("-")[2])


def simulated_participants(settings: FederationSettings, submodel: Submodel) -> list[Participant]:
    """List the clients of a simulation: all those whose device can train.

    Raises:
        InputError: The assignment is damaged, or does not fit the model.
    """
    depths = depths_of(settings, submodel)
    found = (
        (client_name(index), depths.of(client_name(index), index))
        for index in range(settings.num_clients)
    )
    return [
        Participant(client=client, depth=depth, max_examples=settings.max_examples)
        for client, depth in found
        if depth is not None
    ]


def simulated_client(
    settings: FederationSettings, model: Checkpoint | None = None
) -> FederatedClient:
    """Return what trains in the place of any simulated client.

    Args:
        settings: The federation's settings.
        model: The model, where it has been read already.

    Raises:
        InputError: The model or the data is missing, damaged or does not fit.
    """
    checkpoint = model or read_model(Path(settings.model))
    path = Path(settings.model)
    source = Bundle.open(path) if settings.runtime != "eager" else checkpoint
    trainer = Trainer(
        source,
        stepper=settings.runtime,
        threads=settings.threads,
        torch_device=settings.torch_device,
    )
    partition = settings.sharing().partition(dataset_for(checkpoint, settings.data))
    return FederatedClient(trainer.train, _part_of(partition))


def _part_of(partition: Partition) -> Callable[[str], Dataset]:
    def dataset_of(client: str) -> Dataset:
        (dataset,) = partition.of_client(client_index(client))
        return dataset

    return dataset_of
