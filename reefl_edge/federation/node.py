"""What is a node of a federation that is a client itself, with data and a device of its own?

It says who it is when the server asks (``Hello``), and trains: in its own process, or on a device
at the end of a link.
"""

from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from reefl_edge import schema
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.manifest import MANIFEST_NAME
from reefl_edge.bundles.start import read_start
from reefl_edge.checkpoints.checkpoint import Checkpoint, read_checkpoint
from reefl_edge.checkpoints.hashes import frozen_sha256
from reefl_edge.data.dataset import Dataset, num_examples
from reefl_edge.data.reading import read_dataset
from reefl_edge.devices.links.base import Link
from reefl_edge.devices.links.opening import link_for
from reefl_edge.errors import InputError, ReeflEdgeError
from reefl_edge.federation.client import (
    FederatedClient,
    Trainer,
    check_frozen,
    check_same_submodel,
)
from reefl_edge.federation.messages import ClientTask
from reefl_edge.finetune.client import ClientResult
from reefl_edge.finetune.compiled import StepperName, step_for
from reefl_edge.jobs.device_training import train_client_on
from reefl_edge.profiling.budget import Budget
from reefl_edge.profiling.choose import choose_exit
from reefl_edge.profiling.report import read_report
from reefl_edge.regimes import Regime
from reefl_edge.submodel import Submodel


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """What may be set of a node, as Flower's node configuration: a flat table in kebab-case.

    Attributes:
        name: What it calls itself; empty for the number that the engine gives it.
        model: The file of a checkpoint, or the folder of a bundle; empty for the federation's.
        data: Its examples, with a split after ``#``.
        runtime: What computes the steps; a compiled one takes a bundle that has it.
        device: A device at the end of a link that computes in its place, such as ``ssh:pi``.
        threads: Threads to compute with; 0 for what the library takes.
        torch_device: Where PyTorch computes.
        max_exit: How deep it goes, where nodes say so themselves; -1 for what its report allows, or
            as deep as its model.
        report: What ``reefl-edge profile`` measured on this device; empty for nothing.
        budget_ms: The most that an answer may take by the report; 0 for no limit.
        budget_step_ms: The most that a fine-tuning step may take by the report; 0 for no limit.
        budget_mib: The most memory that either may take by the report; 0 for no limit.
        partition_id: Its number, where depths go by number; -1 for the order in which nodes come.
        num_partitions: How many nodes there are; Flower's simulation says it, nothing is done
            with it.
    """

    __pydantic_config__: ClassVar[Any] = {
        "extra": "forbid",
        "alias_generator": schema.kebab,
    }

    name: str = ""
    model: str = ""
    data: str = ""
    runtime: StepperName = "eager"
    device: str = ""
    threads: int = 0
    torch_device: str = "cpu"
    max_exit: int = -1
    report: str = ""
    budget_ms: float = 0.0
    budget_step_ms: float = 0.0
    budget_mib: float = 0.0
    partition_id: int = -1
    num_partitions: int = 0

    def __post_init__(self) -> None:
        if self.device and self.runtime != "onnx":
            raise ValueError(
                f"a device trains by a compiled ONNX step; set runtime = 'onnx', not "
                f"{self.runtime!r}"
            )
        has_budget = self.budget() != Budget()
        if has_budget != bool(self.report):
            raise ValueError(
                "a report and a budget go together: set report, and one of budget-ms, "
                "budget-step-ms and budget-mib"
            )

    def budget(self) -> Budget:
        """Return what the device may spend."""
        return Budget(
            inference_ms=self.budget_ms or None,
            step_ms=self.budget_step_ms or None,
            memory_mib=self.budget_mib or None,
        )


def read_node_settings(values: dict[str, Any]) -> NodeSettings:
    """Read settings from a node configuration.

    Raises:
        InputError: A key is unknown, or a value is not what it must be.
    """
    return schema.from_values(NodeSettings, values, source="node config")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a node says of itself.

    Attributes:
        client: Its name.
        version: Of the reefl-edge that it runs.
        index: Its number; -1 where it has none.
        num_examples: How many examples it has.
        submodel: Its model, as deep as it is there; None where it cannot be read.
        max_exit: How deep it goes, if it says so.
        problem: Why it cannot take part; None where it can.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    client: str
    version: str
    index: int = -1
    num_examples: int = 0
    submodel: Submodel | None = None
    max_exit: int | None = None
    problem: str | None = None


class Node:
    """A client with data of its own.

    Args:
        settings: Its settings.
        name: What the engine calls it, where it does not call itself anything.
        model: The federation's model, where it has none of its own.
    """

    def __init__(self, settings: NodeSettings, *, name: str, model: str) -> None:
        self._settings = settings
        self._name = settings.name or name
        self._path = Path(settings.model or model)
        self._opened: _Opened | None = None

    def hello(self) -> Hello:
        """Say who it is; a problem is said, too."""
        try:
            opened = self._open()
            max_exit = self._max_exit(opened.submodel)
        except (ReeflEdgeError, ValueError, OSError) as error:
            return Hello(client=self._name, version=own_version(), problem=str(error))
        return Hello(
            client=self._name,
            version=own_version(),
            index=self._settings.partition_id,
            num_examples=num_examples(opened.dataset),
            submodel=opened.submodel,
            max_exit=max_exit,
        )

    def _max_exit(self, submodel: Submodel) -> int:
        """Return how deep it goes by its own word.

        Raises:
            BudgetError: No exit that was measured meets its budget.
            InputError: The report is missing, damaged or of another network.
            MeasurementError: The choice would rest on a measurement that is not valid.
        """
        settings = self._settings
        if settings.max_exit >= 0:
            return settings.max_exit
        if not settings.report:
            return submodel.max_exit
        report = read_report(Path(settings.report))
        measured = report.context.submodel
        if (measured.architecture, measured.schedule) != (
            submodel.architecture,
            submodel.schedule,
        ):
            raise InputError(
                f"{settings.report} is of another network; measure this one with 'reefl-edge "
                "profile'"
            )
        return choose_exit(report, settings.budget()).exit_index

    def client(self) -> FederatedClient:
        """Return what does the server's tasks.

        Raises:
            InputError: The model or the data is missing, damaged or does not fit.
            ReeflEdgeError: The device cannot be reached.
        """
        return self._open().client

    def _open(self) -> "_Opened":
        if self._opened is None:
            self._opened = self._read()
        return self._opened

    def _read(self) -> "_Opened":
        settings = self._settings
        model: Checkpoint | Bundle
        if (self._path / MANIFEST_NAME).is_file():
            model = Bundle.open(self._path)
            submodel, names = model.manifest.submodel, model.manifest.class_names
        else:
            model = read_checkpoint(self._path)
            submodel, names = model.submodel, model.names()
        if not settings.data:
            raise InputError("the node has no data; set data in its node config")
        dataset = read_dataset(
            Path(settings.data), image_size=submodel.architecture.image_size, class_names=names
        )
        threads = settings.threads or None
        if settings.device:
            if not isinstance(model, Bundle):
                raise InputError(f"{self._path} is no bundle; a device trains by that of one")
            train = DeviceTrainer(link_for(settings.device), model, threads=threads).train
        else:
            train = Trainer(
                model, stepper=settings.runtime, threads=threads, torch_device=settings.torch_device
            ).train
        client = FederatedClient(train, partial(_same, dataset))
        return _Opened(client=client, dataset=dataset, submodel=submodel)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    client: FederatedClient
    dataset: Dataset
    submodel: Submodel


class DeviceTrainer:
    """Trains on a device at the end of a link, by the compiled ONNX step of a bundle.

    Args:
        link: The way to the device.
        bundle: What is trained.
        threads: Threads to compute with; None for one per fast core there.
    """

    def __init__(self, link: Link, bundle: Bundle, *, threads: int | None = None) -> None:
        self._link = link
        self._bundle = bundle
        self._threads = threads
        self._frozen: dict[Regime, str] = {}

    def train(self, task: ClientTask, dataset: Dataset) -> ClientResult:
        """Train as a task says; see ``Trainer.train``.

        Raises:
            DeviceError: The device cannot be reached, or the training there died.
        """
        regime = task.submodel.regime
        step = step_for(self._bundle, regime, "onnx")
        check_same_submodel(step.submodel, task.submodel)
        if regime not in self._frozen:
            self._frozen[regime] = frozen_sha256(read_start(self._bundle, step).arrays, regime)
        check_frozen(self._frozen[regime], task)
        return train_client_on(
            self._link,
            self._bundle,
            regime,
            dataset,
            task.training,
            start_arrays=task.arrays,
            threads=self._threads,
        )


def own_version() -> str:
    """Return the version of the reefl-edge that runs here."""
    return version("reefl-edge")


def _same(dataset: Dataset, _client: str) -> Dataset:
    return dataset
