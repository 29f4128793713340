"""How does a fine-tuning update go into an exported bundle, without exporting again?"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.update import Update, read_update
from reefl_edge.tasks.exporting import DEFAULT_NUM_IMAGES, read_images
from reefl_export.bundle import ExportImages
from reefl_export.conversion import OnStage
from reefl_export.refill.bundle import Refilled, refill_bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRequest:
    """On which images an updated bundle is calibrated and compared.

    Attributes:
        data: Images to compare artifacts with the float32 one on (``read_pictures``); None for
            noise.
        calibration: Typical images for int8-static, other ones than ``data``; without them it is
            left out.
        num_images: How many to take of each at most.
    """

    data: str | Path | None = None
    calibration: str | Path | None = None
    num_images: int = DEFAULT_NUM_IMAGES


def update_bundle(
    bundle: Bundle | str | Path,
    update: Update | str | Path,
    directory: str | Path,
    request: UpdateRequest | None = None,
    *,
    threads: int | None = None,
    on_stage: OnStage = lambda _: None,
) -> Refilled:
    """Write the bundle of a model after an update, in seconds and without PyTorch.

    ONNX artifacts get the new arrays; other precisions are compared with float32. ExecuTorch and
    Core ML hold their weights compiled and are left out, which the result says.

    Args:
        bundle: The bundle, or its folder; it must have a float32 ONNX artifact.
        update: The update, or its file.
        directory: The new bundle's folder: new, empty, or a bundle to replace.
        request: Images to calibrate and to compare on; None for noise, and no int8-static.
        threads: Threads to compute with; None for one per core this process may use.
        on_stage: Called with a description of each stage as it begins.

    Raises:
        InputError: A file is missing, damaged or of another model, the update does not fit the
            bundle, or ``directory`` holds something else than a bundle of ours.
        DivergenceError: The arrays leave the finite numbers once the update is applied.
        ParityError: An artifact does not compute what the float32 one does.
    """
    request = request or UpdateRequest()
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(Path(bundle))
    read = update if isinstance(update, Update) else read_update(Path(update))
    images_of = partial(
        read_images,
        image_size=opened.manifest.submodel.architecture.image_size,
        class_names=opened.manifest.class_names,
        limit=request.num_images,
    )
    images = ExportImages(
        calibration=images_of(request.calibration), parity=images_of(request.data)
    )
    return refill_bundle(
        opened, read, Path(directory), images=images, threads=threads, on_stage=on_stage
    )
