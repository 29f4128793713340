"""Which stages does the demo run, and what does each hand to the next?

Every stage calls what the command of the same name calls; what it found is explained in a line.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.thresholds import Promise
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.checkpoints.update import write_update
from reefl_edge.data.clients.partition import dirichlet_partition
from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.demo.digits import DigitsSplit, load_digits, save_digits, split_digits
from reefl_edge.demo.measure import RUNTIMES, Curve, measure_curve
from reefl_edge.demo.narrator import Narrator
from reefl_edge.demo.picture import draw
from reefl_edge.demo.pretrain import pretrain
from reefl_edge.errors import PromiseError
from reefl_edge.finetune.client import ClientResult, train_client
from reefl_edge.finetune.evaluate import checkpoint_accuracy
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.models import build_model
from reefl_edge.models.checkpoint import save_checkpoint
from reefl_edge.models.reefl import ReeFL
from reefl_edge.profiling.budget import Budget
from reefl_edge.profiling.choose import choose_exit
from reefl_edge.profiling.report import Choice, Report, write_report
from reefl_edge.submodel import Submodel
from reefl_edge.tasks.calibrating import CalibrationRequest, calibrate_bundle
from reefl_edge.tasks.exporting import export_model
from reefl_edge.tasks.models import Model, open_model
from reefl_edge.tasks.profiling import ProfileRequest, profile_model
from reefl_edge.thresholds.calibrate import CalibrationPlan

NUM_CLIENTS = 8
LABEL_SKEW_ALPHA = 0.5
CLIENT_INDEX = 0
CLIENT_EPOCHS = 5
CLIENT_LEARNING_RATE = 0.005
BUDGET_FRACTION = 0.8
# As much as 197 images can show, and not much more: 1 point takes at least 299.
PROMISE = Promise(kind="max-drop", limit=2.0, confidence=0.95)
VALIDATION_NAME = "validation_digits.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Personalisation:
    """What the client's fine-tuning changed, per exit of its sub-model, on the test digits.

    Attributes:
        result: The update, and what happened on the way.
        own_classes: The classes the client holds.
        own_before: Accuracy on those classes before, (E,).
        own_after: The same after.
        all_before: Accuracy on everybody's classes before, (E,).
        all_after: The same after.
    """

    result: ClientResult
    own_classes: tuple[int, ...]
    own_before: tuple[float, ...]
    own_after: tuple[float, ...]
    all_before: tuple[float, ...]
    all_after: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """What the demo found.

    Attributes:
        pretrained_accuracy: On the test digits after pretraining, per exit.
        report: Costs of every exit depth on this machine.
        choice: The exit chosen, and why.
        personalisation: What fine-tuning changed.
        bundle: What was exported.
        curves: Accuracy against latency, a curve per runtime.
    """

    pretrained_accuracy: tuple[float, ...]
    report: Report
    choice: Choice
    personalisation: Personalisation
    bundle: Bundle
    curves: tuple[Curve, ...]


def run_demo(output: Path, narrator: Narrator, *, threads: int, seed: int) -> DemoResult:
    """Run every stage and save what each makes in ``output``.

    Args:
        output: A folder; it is made.
        narrator: Tells what is being done, and what was found.
        threads: Threads to compute with.
        seed: Of everything random.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    output.mkdir(parents=True, exist_ok=True)
    network = build_model("digits", num_classes=10)
    digits, client = _data(network.submodel, output, narrator, seed=seed)
    model, pretrained_accuracy = _pretrain(network, digits, output, narrator, seed=seed)
    report, choice = _profile(model, output, narrator, threads=threads)
    part = model.cut(choice.exit_index)
    personalisation = _finetune(part, client, digits.test, output, narrator, seed=seed)
    part = part.updated(personalisation.result.update)
    bundle = _export(part, output, narrator)
    bundle = keep_promise(bundle, output / VALIDATION_NAME, narrator, threads=threads)
    curves = _adapt(bundle, digits.test, output, narrator, threads=threads)
    return DemoResult(
        pretrained_accuracy=pretrained_accuracy,
        report=report,
        choice=choice,
        personalisation=personalisation,
        bundle=bundle,
        curves=curves,
    )


def _data(
    submodel: Submodel, output: Path, narrator: Narrator, *, seed: int
) -> tuple[DigitsSplit, ArrayDataset]:
    """Split the digits, and the private part among clients; return one client's part."""
    with narrator.stage("1/7 data"):
        digits = load_digits(image_size=submodel.architecture.image_size)
        split = split_digits(digits, seed=seed)
        parts = dirichlet_partition(
            split.private.labels, num_clients=NUM_CLIENTS, alpha=LABEL_SKEW_ALPHA, seed=seed
        )
        client = split.private.subset(parts[CLIENT_INDEX])
        save_digits(split.validation, output / VALIDATION_NAME)
        save_digits(split.test, output / "test_digits.npz")
    counts = np.bincount(client.labels, minlength=10)
    narrator.explain(
        f"{len(digits.labels)} scanned digits: {len(split.public.labels)} public, "
        f"{len(split.private.labels)} private on {NUM_CLIENTS} clients, "
        f"{len(split.validation.labels)} for validation, {len(split.test.labels)} for the test"
    )
    narrator.explain(f"client {CLIENT_INDEX} holds {_histogram(counts)}")
    return split, client


def _histogram(counts: NDArray[np.int64]) -> str:
    held = [f"{count} x {digit}" for digit, count in enumerate(counts) if count]
    return ", ".join(held)


def _pretrain(
    network: ReeFL, digits: DigitsSplit, output: Path, narrator: Narrator, *, seed: int
) -> tuple[Model, tuple[float, ...]]:
    path = output / "model.safetensors"
    with narrator.stage("2/7 pretrain the backbone") as bar:
        pretrain(network, digits.public, seed=seed, on_step=bar.step)
        network.eval()
        save_checkpoint(network, path, class_names=digits.public.class_names)
    model = replace(open_model(path), name="digits")
    per_exit = _accuracies(model.checkpoint, digits.test)
    narrator.explain(f"accuracy on the test digits by exit: {_percents(per_exit)}")
    return model, per_exit


def _profile(
    model: Model, output: Path, narrator: Narrator, *, threads: int
) -> tuple[Report, Choice]:
    """Measure every depth in fresh processes, and choose the deepest inside a relative budget."""
    with narrator.stage("3/7 profile this machine") as bar:
        report = profile_model(
            model,
            ProfileRequest(threads=threads),
            on_stage=lambda text: bar.say(f"3/7 profile · {text}"),
            on_process=bar.step,
        )
        choice = choose_exit(report, Budget.relative(report, BUDGET_FRACTION), accept_noisy=True)
        report = replace(report, choice=choice)
        write_report(report, output / "report.json")
    for reason in choice.reasons:
        narrator.explain(reason)
    for line in _verdicts(report):
        narrator.explain(line)
    return report, choice


def _verdicts(report: Report) -> Iterator[str]:
    """Say how far the measurements are to be trusted; the demo goes on with what it has."""
    doubtful = [row for row in report.rows if row.summary.verdict != "valid"]
    yield f"{len(report.rows) - len(doubtful)} of {len(report.rows)} measurements are valid"
    for row in doubtful:
        yield f"exit {row.exit_index}, {row.kind}: {row.summary.verdict} ({row.summary.reason})"


def _finetune(
    model: Model,
    client: ArrayDataset,
    test: ArrayDataset,
    output: Path,
    narrator: Narrator,
    *,
    seed: int,
) -> Personalisation:
    """Train one client's sub-model."""
    training = LocalTraining(
        epochs=CLIENT_EPOCHS, batch_size=16, learning_rate=CLIENT_LEARNING_RATE, seed=seed
    )
    with narrator.stage("4/7 fine-tune on one client") as bar:
        result = train_client(
            *(model.checkpoint, "frozen", client, training),
            on_step=lambda done, total, _: bar.step(done, total),
        )
        write_update(result.update, output / "update.safetensors")
    before, after = result.start, result.trained
    own = test.subset(np.flatnonzero(np.isin(test.labels, client.labels)))
    personalisation = Personalisation(
        result=result,
        own_classes=tuple(int(label) for label in np.unique(client.labels)),
        own_before=_accuracies(before, own),
        own_after=_accuracies(after, own),
        all_before=_accuracies(before, test),
        all_after=_accuracies(after, test),
    )
    narrator.explain(
        f"deepest exit on the client's classes {_percent(personalisation.own_before[-1])} to "
        f"{_percent(personalisation.own_after[-1])}, on all "
        f"{_percent(personalisation.all_before[-1])} to {_percent(personalisation.all_after[-1])}; "
        f"batches taught by each exit: {', '.join(map(str, result.history.teacher_counts))}"
    )
    return personalisation


def _export(model: Model, output: Path, narrator: Narrator) -> Bundle:
    with narrator.stage("5/7 export") as bar:
        bundle = export_model(
            model,
            output / "bundle",
            on_stage=lambda text: bar.say(f"5/7 export · {text}"),
        )
    sizes = ", ".join(
        f"{artifact.target} {artifact.size_bytes / 2**20:.1f} MiB"
        for artifact in bundle.manifest.artifacts
    )
    narrator.explain(f"{sizes}; all agree with the network at every exit (parity.json)")
    return bundle


def keep_promise(bundle: Bundle, validation: Path, narrator: Narrator, *, threads: int) -> Bundle:
    """Give each artifact that runs here thresholds that keep the promise.

    Args:
        bundle: What was exported; with one exit, which a budget of a busy machine may leave, it
            comes back as it is.
        validation: The digits to certify them on.
        narrator: Tells what was found.
        threads: Threads to compute with.
    """
    if bundle.manifest.submodel.num_exits < 2:
        narrator.explain("6/7 calibrate: one exit fits the budget, there is nothing to stop early")
        return bundle
    with narrator.stage("6/7 calibrate") as bar:
        said = []
        for runtime in RUNTIMES:
            request = CalibrationRequest(
                plan=CalibrationPlan(promise=PROMISE),
                data=validation,
                runtime=runtime,
                threads=threads,
            )
            try:
                calibrated = calibrate_bundle(bundle, request, on_step=bar.step)
            except PromiseError as error:
                said.append(f"{runtime}: {error}; it never stops early")
                continue
            bundle, found = calibrated.bundle, calibrated.found
            said.append(
                f"{runtime}: threshold {found.thresholds[0]:g}, certified on {found.num_images} "
                f"digits; shares stopping at each exit there: {_percents(found.exit_shares)}"
            )
    narrator.explain(f"promised: {PROMISE}")
    for each in said:
        narrator.explain(each)
    return bundle


def _adapt(
    bundle: Bundle, test: ArrayDataset, output: Path, narrator: Narrator, *, threads: int
) -> tuple[Curve, ...]:
    with narrator.stage("7/7 adaptive inference") as bar:
        curves = measure_curve(bundle, test, threads=threads, on_step=bar.step)
        draw(curves, output / "accuracy_latency.png")
    for curve in curves:
        chosen, deepest = curve.chosen, curve.deepest
        narrator.explain(
            f"{curve.runtime}: {chosen.mean_latency_ms:.2f} ms at threshold {curve.threshold:g}, "
            f"{deepest.mean_latency_ms:.2f} ms always to the deepest exit; accuracy "
            f"{_percent(chosen.accuracy)} and {_percent(deepest.accuracy)}"
        )
    return curves


def _accuracies(checkpoint: Checkpoint, dataset: ArrayDataset) -> tuple[float, ...]:
    return tuple(map(float, checkpoint_accuracy(checkpoint, dataset)))


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _percents(shares: tuple[float, ...]) -> str:
    return ", ".join(_percent(share) for share in shares)
