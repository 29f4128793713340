"""How is a federation set up, run from end to end, and joined by a node?

What starts Flower is loaded where it is needed: ``reefl-edge[federated]`` brings it for a server,
``reefl-edge[node]`` for a node.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from reefl_edge.data.reading import split_of
from reefl_edge.errors import InputError
from reefl_edge.extras import needs_extra
from reefl_edge.federation.report import MODEL_NAME, REPORT_NAME
from reefl_edge.federation.settings import FederationSettings, read_settings

if TYPE_CHECKING:
    from reefl_edge.federation.flower.control import Control
    from reefl_edge.federation.flower.deployment import Deployment

Value = str | int | float | bool

# Settings that are paths; where they are relative, they begin at the federation's folder.
_PATHS = ("model", "assignment", "data", "test-data", "output")
# What the server's app has to say when it fails; before it, all is of this project.
_TRACEBACK = "raised an exception\nTraceback"
_INSTALLED = "Successfully installed"


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationRun:
    """A federation that came to its end.

    Attributes:
        settings: What it was set to.
        model: The file of the trained model.
        report: The file that says what happened in each round.
    """

    settings: FederationSettings
    model: Path
    report: Path


def check_flower(extra: Literal["federated", "node"] = "federated") -> None:
    """Refuse to go on without Flower.

    Args:
        extra: What brings it: ``node`` where there is nothing to train with but a compiled step.

    Raises:
        MissingToolchainError: It is not installed.
    """
    with needs_extra("a federation", ("flwr", "cryptography"), extra):
        import cryptography  # noqa: F401
        import flwr  # noqa: F401


def init_federation(folder: str | Path, settings: FederationSettings) -> Path:
    """Write the folder of a federation; return the file that holds its settings.

    Raises:
        InputError: There is one already.
        MissingToolchainError: Flower is not installed.
    """
    check_flower()
    from reefl_edge.federation.flower.app_folder import APP_FILE, write_app

    folder = Path(folder)
    if (folder / APP_FILE).exists():
        raise InputError(f"{folder / APP_FILE} is there already; change it, or give another folder")
    write_app(folder, settings)
    return folder / APP_FILE


def deploy_federation(
    folder: str | Path,
    hosts: Sequence[str],
    nodes: Sequence[str],
    *,
    listen: str | None = None,
    port: int | None = None,
) -> tuple["Deployment", list[Path]]:
    """Write certificates and keys of a federation; those of nodes that are there stay.

    Args:
        folder: The folder of the federation.
        hosts: What nodes call the machine of its SuperLink; none for the names that its certificate
            is for, or this machine's own where it has none yet.
        nodes: Names of the nodes.
        listen: The address that the SuperLink listens on; None for the one it has, or this machine
            alone.
        port: The port; None for the one it has, or Flower's.

    Returns:
        The deployment, and the folders of the new nodes, to be carried to them.

    Raises:
        InputError: There is no federation in the folder, or its deployment is damaged.
        MissingToolchainError: Flower is not installed.
    """
    check_flower()
    from reefl_edge.federation.flower.app_folder import read_app
    from reefl_edge.federation.flower.deployment import FOLDER, Deployment, Listening

    folder = Path(folder)
    read_app(folder)
    deployment = Deployment(folder / FOLDER)
    there = deployment.listening() if deployment.exists else Listening()
    listening = Listening(host=listen or there.host, port=port or there.port)
    return deployment, deployment.write(listening, hosts or deployment.hosts(), nodes)


def run_federation(
    folder: str | Path,
    *,
    overrides: Mapping[str, Value] | None = None,
    workers: int = 1,
    shows_flower: bool = False,
    on_text: Callable[[str], object],
) -> FederationRun:
    """Run a federation: simulated, or with the nodes of its deployment.

    Nothing of what is started is left when this returns, or is interrupted.

    Args:
        folder: The folder of the federation.
        overrides: Settings that this run has otherwise, by key.
        workers: How many simulated clients train at a time.
        shows_flower: Flower tells of its own work, too.
        on_text: Told what the run says, as it says it.

    Raises:
        ReeflEdgeError: What ended it, if that was not its end.
        ValueError: There is no such setting.
        MissingToolchainError: Flower is not installed.
    """
    check_flower()
    from reefl_edge.federation.flower.app_folder import read_app, with_overrides
    from reefl_edge.federation.flower.environment import private_home

    folder = Path(folder).absolute()
    changed = dict(overrides or {})
    config = with_overrides(read_app(folder), changed)
    changed |= _absolute_paths(config, folder)
    settings = read_settings(config | changed)
    log_level = "INFO" if shows_flower else "ERROR"
    with private_home() as home:
        if settings.is_simulation:
            _check_there(settings)
            _simulate(home, folder, changed, workers, log_level, on_text)
        else:
            _deploy(home, folder, changed, log_level, on_text)
    output = Path(settings.output)
    return FederationRun(settings=settings, model=output / MODEL_NAME, report=output / REPORT_NAME)


def join_federation(folder: str | Path, tell: Callable[[str], object]) -> None:
    """Let a node take part until this process is stopped.

    Args:
        folder: The node's folder.
        tell: Told in a line what happens.

    Raises:
        FederationError: The SuperLink refuses it, or is not the one to trust.
        InputError: The folder is damaged, or others may read its key.
        MissingToolchainError: Flower is not installed.
    """
    check_flower("node")
    from reefl_edge.federation.flower.deployment import read_node
    from reefl_edge.federation.flower.environment import private_home
    from reefl_edge.federation.flower.supernode import Joining

    folder = Path(folder)
    node = read_node(folder)
    with private_home() as home:
        Joining(folder=folder, node=node, home=home, log=folder / "node.log", tell=tell).join()


def _absolute_paths(config: Mapping[str, Value], folder: Path) -> dict[str, Value]:
    """Return the paths among settings as they are from anywhere."""
    return {key: str(folder / str(config[key])) for key in _PATHS if config[key]}


def _check_there(settings: FederationSettings) -> None:
    """Refuse what names a file that is missing, before anything is started for it.

    Raises:
        InputError: It is missing.
    """
    data = (split_of(Path(name))[0] for name in (settings.data, settings.test_data) if name)
    for path in (Path(settings.model), *data):
        if not path.exists():
            raise InputError(f"{path}: no such file")


def _simulate(
    home: Path,
    folder: Path,
    changed: Mapping[str, Value],
    workers: int,
    log_level: str,
    on_text: Callable[[str], object],
) -> None:
    from flwr.proto.federation_config_pb2 import SimulationConfig

    from reefl_edge.federation.flower.superlink import simulating_superlink

    simulation = SimulationConfig(
        num_supernodes=workers,
        client_resources_num_cpus=1,
        init_args_num_cpus=workers,
        init_args_log_to_driver=log_level == "INFO",
    )
    with simulating_superlink(home, folder, log_level=log_level) as control:
        _follow(control, control.start(folder, changed, simulation), on_text)


def _deploy(
    home: Path,
    folder: Path,
    changed: Mapping[str, Value],
    log_level: str,
    on_text: Callable[[str], object],
) -> None:
    from reefl_edge.federation.flower.deployment import FOLDER, Deployment
    from reefl_edge.federation.flower.superlink import deployed_superlink

    deployment = Deployment(folder / FOLDER)
    if not deployment.exists:
        raise InputError(
            f"{folder} has no deployment; simulate with num-clients, or make one with "
            f"'reefl-edge federate init {folder} --deployment --nodes NAMES'"
        )
    deployment.check()
    listening = deployment.listening()
    with deployed_superlink(
        home,
        folder,
        listening.host,
        listening.port,
        deployment.certificates,
        log_level=log_level,
    ) as control:
        for name, key in deployment.public_keys().items():
            control.register(key, name)
        on_text(f"the SuperLink listens on {listening.host}:{listening.port}\n")
        _follow(control, control.start(folder, changed), on_text)


def _follow(control: "Control", run: int, on_text: Callable[[str], object]) -> None:
    """Pass on what a run says until it ends.

    Raises:
        ReeflEdgeError: It failed.
    """
    from reefl_edge.federation.flower.failures import failure_of, is_told

    held_back = ""  # what Flower says of an error that is reported in one line
    for text in control.said(run):
        if held_back or _TRACEBACK in text:
            held_back += text
        else:
            on_text(text.removeprefix(_first_line(text, _INSTALLED)))
    ending = control.ending(run)
    if not ending.completed:
        if not is_told(ending.reason):
            on_text(held_back)
        raise failure_of(ending.reason)


def _first_line(text: str, start: str) -> str:
    """Return the first line of a text if it starts so, else nothing."""
    return text.partition("\n")[0] + "\n" if text.startswith(start) else ""
