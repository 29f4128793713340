"""How does a device that is not this machine classify images?

The same as here (``AdaptiveSession``), by a job: the bundle goes there, with the images at the
model's size; the answers come back.
"""

import numpy as np
from numpy.typing import NDArray

from reefl_edge.adaptive import ConfidencePolicy
from reefl_edge.answers import ImageAnswer
from reefl_edge.bundles.artifacts import Precision
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.devices.links.base import Link
from reefl_edge.errors import DeviceError
from reefl_edge.files import sha256_of_file
from reefl_edge.jobs.job import InferJob
from reefl_edge.jobs.running import run_inference
from reefl_edge.jobs.sources import BundleFolder
from reefl_edge.partials import scratch_folder
from reefl_edge.submodel import Submodel


def classify_on(
    link: Link,
    bundle: Bundle,
    images: NDArray[np.uint8],
    *,
    thresholds: tuple[float, ...] | None = None,
    precision: Precision | None = None,
    threads: int | None = None,
    batch_size: int = 1,
    wants_logits: bool = False,
) -> tuple[ImageAnswer, ...]:
    """Classify images on a device, with the ONNX artifact of a bundle.

    Args:
        link: The way to the device, which is held.
        bundle: What classifies them.
        images: 8-bit RGB images of the model's size, (N, H, W, 3).
        thresholds: Confidence at which to stop: one for all exits, or one per exit but the last;
            None for the bundle's own.
        precision: Of the artifact; None for the bundle's preferred one.
        threads: Threads to compute with; None for one per fast core there.
        batch_size: Images at once.
        wants_logits: Whether the answers are to have their logits.

    Returns:
        What is said of each image, in their order.

    Raises:
        ValueError: The thresholds do not fit the exits, or there are no so many cores there.
        DeviceError: The device cannot be reached, or the process there died.
        InputError: The images do not fit, or the bundle lacks what onnxruntime needs.
    """
    submodel = bundle.manifest.submodel
    artifact = bundle.artifact("onnx", precision)
    source = BundleFolder.of(bundle.directory)
    with scratch_folder() as folder:
        path = folder / "images.npy"
        np.save(path, images)
        job = InferJob(
            source=source,
            max_exit=submodel.max_exit,
            images=sha256_of_file(path),
            thresholds=None if thresholds is None else _each(thresholds, submodel),
            runtime="onnx",
            precision=artifact.precision,
            threads=link.describe().threads(threads),
            batch_size=batch_size,
            wants_logits=wants_logits,
        )
        files = {source.sha256: bundle.directory, job.images: path}
        answers = run_inference(link, job, files)
    num_classes = submodel.architecture.num_classes
    is_possible = all(
        answer.exit_index <= submodel.max_exit
        and answer.class_index < num_classes
        and (not wants_logits or len(answer.logits or ()) == num_classes)
        for answer in answers
    )
    if len(answers) != len(images) or not is_possible:
        raise DeviceError(
            f"{link.name} left {len(answers)} answers to {len(images)} images, which are none of "
            "this model's"
        )
    return answers


def _each(thresholds: tuple[float, ...], submodel: Submodel) -> tuple[float, ...]:
    """Return one threshold per exit but the last.

    Raises:
        ValueError: They do not fit the exits.
    """
    policy = ConfidencePolicy(thresholds)
    policy.check(submodel.num_exits)
    return tuple(policy.threshold(exit_index) for exit_index in range(submodel.max_exit))
