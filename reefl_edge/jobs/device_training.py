"""How does a client train on a device that is not this machine?

The same as here (``train_client``), by a job: the bundle goes there, with the examples at the
model's size and the order in which they come; the update comes back.
"""

from pathlib import Path

import numpy as np

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.start import read_start
from reefl_edge.data.dataset import Dataset, num_examples
from reefl_edge.devices.links.base import Link
from reefl_edge.files import sha256_of_file
from reefl_edge.finetune.batches import check_dataset
from reefl_edge.finetune.client import ClientResult
from reefl_edge.finetune.compiled import check_batch_size, step_for
from reefl_edge.finetune.loop import History, drawn_order
from reefl_edge.finetune.training import LocalTraining
from reefl_edge.jobs.job import FinetuneJob
from reefl_edge.jobs.progress import OnProgress
from reefl_edge.jobs.running import MAX_STEP_S, run_training
from reefl_edge.jobs.sources import BundleFolder
from reefl_edge.partials import scratch_folder
from reefl_edge.regimes import Regime


def train_client_on(
    link: Link,
    bundle: Bundle,
    regime: Regime,
    dataset: Dataset,
    training: LocalTraining,
    *,
    threads: int | None = None,
    max_step_s: float = MAX_STEP_S,
    on_progress: OnProgress = lambda *_: None,
) -> ClientResult:
    """Train a client's sub-model on a device, by the compiled ONNX step of a bundle.

    Args:
        link: The way to the device.
        bundle: What is trained.
        regime: Which of its arrays are trained.
        dataset: The client's examples; images of the network's size.
        training: The settings.
        threads: Threads to compute with; None for one per fast core there.
        max_step_s: How long a step may take before the training is taken to hang, and is ended.
        on_progress: Called now and then with the steps that are done, and how many there are.

    Raises:
        ValueError: The dataset is empty or does not fit, the batch is larger than the step was
            compiled for, or there are no so many cores there.
        DeviceError: The device cannot be reached, or the training there died.
        DivergenceError: A loss, or a trained array, is no longer finite.
        InputError: The bundle has no such step, or a file of it is missing or changed.
    """
    step = step_for(bundle, regime, "onnx")
    check_batch_size(step, "onnx", training.batch_size)
    check_dataset(dataset, step.submodel.architecture)
    threads = link.describe().threads(threads)
    source = BundleFolder.of(bundle.directory)
    with scratch_folder() as folder, link.held():
        examples = _packed(dataset, folder / "examples.npz")
        job = FinetuneJob(
            source=source,
            max_exit=step.submodel.max_exit,
            regime=regime,
            start=None,
            dataset=sha256_of_file(examples),
            order=tuple(drawn_order(dataset, training).tolist()),
            training=training,
            threads=threads,
        )
        files = {source.sha256: bundle.directory, job.dataset: examples}
        update, trained = run_training(
            link, job, files, max_step_s=max_step_s, on_progress=on_progress
        )
    history = History(
        num_examples=trained.num_examples,
        losses=trained.losses,
        teacher_counts=trained.teacher_counts,
    )
    return ClientResult(update=update, history=history, open_start=lambda: read_start(bundle, step))


def _packed(dataset: Dataset, path: Path) -> Path:
    """Write examples at the model's size; the same ones always make the same file."""
    images = dataset.images(np.arange(num_examples(dataset)))
    np.savez(path, images=images, labels=dataset.labels.astype(np.int64))
    return path
