"""What does a bundle say, on a device, of many images that lie here?

They are read and brought to size here: a device has no decoders, and gets no more than the network
sees.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from reefl_edge.bundles.artifacts import Precision
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.devices.links.base import Link
from reefl_edge.jobs.device_inference import classify_on
from reefl_edge.tasks.inference import Answer, OnFile, classify_files_by
from reefl_edge.tasks.inputs import Unreadable

# Enough that the start of a process there hardly counts, few enough to wait for in memory.
_IMAGES_PER_JOB = 128
# They read ahead, each a few jobs.
_READERS = 4


def classify_files_on(
    link: Link,
    bundle: Bundle,
    files: Sequence[Path | Unreadable],
    *,
    thresholds: tuple[float, ...] | None = None,
    precision: Precision | None = None,
    threads: int | None = None,
    batch_size: int = 1,
    on_file: OnFile = lambda *_: None,
) -> Iterator[Answer | Unreadable]:
    """Classify the images of files that ``files_in`` has found, on a device.

    Args:
        link: The way to the device.
        bundle: What classifies them.
        files: The files.
        thresholds: As for ``classify_on``.
        precision: Of the artifact; None for the bundle's preferred one.
        threads: Threads to compute with; None for one per fast core there.
        batch_size: Images at once.
        on_file: Called with the files that the answers have come to, and how many there are.

    Raises:
        ReeflEdgeError: As for ``classify_on``.
        ValueError: There are no so many cores there.
    """
    precision = bundle.artifact("onnx", precision).precision  # what is lacking shows at once
    with link.held():  # once: nobody else's job comes between two of ours
        yield from classify_files_by(
            partial(
                classify_on,
                link,
                bundle,
                thresholds=thresholds,
                precision=precision,
                threads=threads,
                batch_size=batch_size,
            ),
            bundle.manifest.class_names,
            files,
            image_size=bundle.manifest.submodel.architecture.image_size,
            batch_size=_IMAGES_PER_JOB,
            workers=_READERS,
            on_file=on_file,
        )
