"""Which stages does the demo of a federation run?

As in the paper: the backbone was trained on public data, all that exits share is new, and clients
of mixed depth train it together on data of their own, which does not leave them. The rounds are
those that ``reefl-edge federate run`` makes, by Flower's simulation.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from reefl_edge.architectures import ARCHITECTURES
from reefl_edge.checkpoints.checkpoint import Checkpoint, write_checkpoint
from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.demo.digits import load_digits, save_digits
from reefl_edge.demo.narrator import Narrator
from reefl_edge.demo.pretrain import pretrain
from reefl_edge.federation.report import FederationReport, read_federation_report
from reefl_edge.federation.settings import FederationSettings
from reefl_edge.models import build_model
from reefl_edge.models.arrays import arrays_of, random_network
from reefl_edge.models.reefl import ReeFL
from reefl_edge.pictures.federation import draw_federation
from reefl_edge.regimes import is_trained
from reefl_edge.tasks.federating import init_federation, run_federation

NUM_CLIENTS = 20
CLIENTS_PER_ROUND = 8
NUM_ROUNDS = 15
LABEL_SKEW_ALPHA = 1.0
LEARNING_RATE = 0.05
BATCH_SIZE = 4
_PRETRAIN_EPOCHS = 18
# The first digits are public, the next the clients', the rest for the test.
_SPLITS = (700, 1400)

BACKBONE_NAME = "backbone.safetensors"
PICTURE_NAME = "federation.png"
FOLDER_NAME = "federation"


@dataclass(frozen=True, slots=True, kw_only=True)
class FederatedDemoResult:
    """What the demo found.

    Attributes:
        report: What happened in each round.
        model: The file of the trained model.
        picture: The picture of the rounds.
        folder: The federation's, to be run on.
    """

    report: FederationReport
    model: Path
    picture: Path
    folder: Path


def run_federated_demo(
    output: Path, narrator: Narrator, *, threads: int, seed: int
) -> FederatedDemoResult:
    """Run every stage and save what each makes in ``output``.

    Args:
        output: A folder; it is made.
        narrator: Tells what is being done, and what was found.
        threads: How many clients train at a time, each on one thread.
        seed: Of everything random.

    Raises:
        InputError: The folder holds a federation already.
        ReeflEdgeError: The federation failed.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # more would wait for each other: the network is tiny
    output = output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    folder, settings = output / FOLDER_NAME, _settings(output, seed=seed)
    init_federation(folder, settings)
    public = _data(output, narrator, seed=seed)
    _pretrain(public, output, narrator, seed=seed)
    with narrator.stage("3/3 federate") as bar:
        run = run_federation(folder, workers=threads, on_text=partial(_pass_on, narrator))
        bar.step(settings.num_rounds, settings.num_rounds)
    report = read_federation_report(run.report)
    draw_federation(report, output / PICTURE_NAME)
    return FederatedDemoResult(
        report=report, model=run.model, picture=output / PICTURE_NAME, folder=folder
    )


def _pass_on(narrator: Narrator, text: str) -> None:
    """Tell what the federation says."""
    for line in filter(None, map(str.strip, text.splitlines())):
        narrator.explain(line)


def _data(output: Path, narrator: Narrator, *, seed: int) -> ArrayDataset:
    """Save what clients share and what is tested on; return what is public."""
    with narrator.stage("1/3 data"):
        digits = load_digits(image_size=ARCHITECTURES["digits"].image_size)
        order = np.random.default_rng(seed).permutation(len(digits.labels))
        public, private, test = (digits.subset(part) for part in np.split(order, _SPLITS))
        save_digits(private, output / "private_digits.npz")
        save_digits(test, output / "test_digits.npz")
    narrator.explain(
        f"{len(public.labels)} public digits, {len(private.labels)} of {NUM_CLIENTS} clients with "
        f"label skew, {len(test.labels)} for the test"
    )
    return public


def _pretrain(public: ArrayDataset, output: Path, narrator: Narrator, *, seed: int) -> None:
    """Train a backbone on public digits, and put a new accumulator and classifier on it."""
    network = build_model("digits", num_classes=len(public.class_names))
    with narrator.stage("2/3 pretrain the backbone") as bar:
        pretrain(network, public, epochs=_PRETRAIN_EPOCHS, seed=seed, on_step=bar.step)
    checkpoint = _with_new_exits(network, public.class_names, seed=seed)
    write_checkpoint(checkpoint, output / BACKBONE_NAME)
    narrator.explain("what the exits share is random again, as on a backbone of somebody else")


def _with_new_exits(network: ReeFL, class_names: tuple[str, ...], *, seed: int) -> Checkpoint:
    """Return a network's backbone with an accumulator and a classifier that know nothing."""
    fresh = arrays_of(random_network(network.submodel, seed=seed + 1))
    arrays = {
        name: fresh[name] if is_trained(name, "frozen") else array
        for name, array in arrays_of(network.eval()).items()
    }
    return Checkpoint(
        submodel=network.submodel, arrays=arrays, class_names=class_names, random="shared"
    )


def _settings(output: Path, *, seed: int) -> FederationSettings:
    return FederationSettings(
        model=str(output / BACKBONE_NAME),
        regime="lora",
        num_rounds=NUM_ROUNDS,
        num_clients=NUM_CLIENTS,
        clients_per_round=CLIENTS_PER_ROUND,
        tiers="round-robin",
        data=str(output / "private_digits.npz"),
        alpha=LABEL_SKEW_ALPHA,
        test_data=str(output / "test_digits.npz"),
        learning_rate=LEARNING_RATE,
        batch_size=BATCH_SIZE,
        seed=seed,
        output=str(output / FOLDER_NAME / "output"),
    )
