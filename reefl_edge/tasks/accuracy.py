"""How often is each exit of a client's model right, before its training and after?

After training with a compiled step, a device answers with its bundle: so that is what is measured,
by onnxruntime, before and with the update in it. PyTorch measures where there is no such bundle.

Letters: E exits.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.data.dataset import Dataset
from reefl_edge.extras import needs_extra
from reefl_edge.finetune.client import ClientResult
from reefl_edge.finetune.evaluate import accuracy, checkpoint_accuracy, exit_logits
from reefl_edge.partials import scratch_folder
from reefl_edge.runtimes.opening import open_runtime
from reefl_edge.tasks.applying import update_bundle
from reefl_edge.tasks.training import CompiledStep

Accuracy = NDArray[np.float64]


def check_measurable(compiled: CompiledStep | None) -> None:
    """Refuse before training what could not be measured after it.

    Raises:
        MissingToolchainError: It takes PyTorch, which is not installed.
    """
    if compiled is None or not compiled.is_applicable:
        with needs_extra("measuring before and after", "torch", "train"):
            import torch  # noqa: F401 - said before the work, not after


def accuracy_before_and_after(
    result: ClientResult, held_out: Dataset, compiled: CompiledStep | None, *, threads: int
) -> tuple[Accuracy, Accuracy]:
    """Return the share of a dataset that each exit gets right, (E,), before training and after.

    Args:
        result: What training gave.
        held_out: The dataset.
        compiled: The compiled step that gave it; None for PyTorch.
        threads: Threads to compute with: those of the training.

    Raises:
        InputError: A file of the bundle is missing or changed.
        ValueError: The dataset is empty.
    """
    if compiled is None or not compiled.is_applicable:
        return (
            checkpoint_accuracy(result.start, held_out),
            checkpoint_accuracy(result.trained, held_out),
        )
    bundle = _only_float32(compiled.bundle)
    with scratch_folder() as folder:
        after = update_bundle(bundle, result.update, folder / "updated", threads=threads).bundle
        return (
            _bundle_accuracy(bundle, held_out, threads=threads),
            _bundle_accuracy(after, held_out, threads=threads),
        )


def _only_float32(bundle: Bundle) -> Bundle:
    """Return a bundle without what need not be written to be measured."""
    artifacts = (bundle.artifact("onnx", "fp32"),)
    manifest = replace(bundle.manifest, artifacts=artifacts, thresholds=())
    return Bundle(bundle.directory, manifest)


def _bundle_accuracy(bundle: Bundle, dataset: Dataset, *, threads: int) -> Accuracy:
    runtime = open_runtime("onnx", bundle, precision="fp32", threads=threads)
    return accuracy(exit_logits(runtime, bundle.manifest.submodel, dataset), dataset.labels)
