"""How does an update go into an exported bundle: what is refilled, held to what, and left out?

The new bundle is assembled beside its destination and put there whole. Where ONNX holds the weights
apart from the graphs, they are exchanged; formats that hold them compiled are left out, and named.
The float32 ONNX artifact is what other precisions are held to: its graphs are those of the bundle
before, byte for byte, and it is seen to that they read every array.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from reefl_edge import schema
from reefl_edge.bundles.artifacts import Artifact, BundleFile, float32_onnx
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.checkpoint import mapped_checkpoint
from reefl_edge.bundles.manifest import MANIFEST_NAME, PARITY_NAME, Manifest
from reefl_edge.bundles.start import read_start
from reefl_edge.checkpoints.checkpoint import Checkpoint, stated_weights_sha256
from reefl_edge.checkpoints.update import Update, apply_update
from reefl_edge.errors import InputError
from reefl_edge.files import replacing_folder, write_text
from reefl_edge.partials import scratch_folder
from reefl_edge.regimes import has_adapters
from reefl_edge.runtimes.base import default_threads
from reefl_export.bundle import ExportImages
from reefl_export.conversion import OnStage
from reefl_export.destination import check_replaceable
from reefl_export.images import noise
from reefl_export.parity.comparison import ParityReport, ParityRow, check_parity
from reefl_export.parity.gate import Gate
from reefl_export.parity.recheck import gates_of
from reefl_export.parity.reference import Reference
from reefl_export.refill.filling import Filling
from reefl_export.refill.left_out import LeftOut, why_left_out
from reefl_export.refill.onnx import (
    Constants,
    activation_constants,
    layers_in_int8,
    refill_onnx,
    weights_file,
)
from reefl_export.refill.training import refill_training, step_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Refilled:
    """What became of a bundle and an update.

    Attributes:
        bundle: The new bundle, where it was to go.
        parity: How its artifacts compare with its float32 ONNX artifact.
        left_out: What it lacks of the bundle before.
    """

    bundle: Bundle
    parity: ParityReport
    left_out: tuple[LeftOut, ...]


def refill_bundle(
    bundle: Bundle,
    update: Update,
    directory: Path,
    *,
    images: ExportImages | None = None,
    threads: int | None = None,
    on_stage: OnStage = lambda _: None,
) -> Refilled:
    """Write the bundle that an export of the updated model would be, as far as ONNX goes.

    Thresholds stay, and certificates say that they were made for other weights.

    Args:
        bundle: The bundle.
        update: The update, trained from the bundle's weights.
        directory: The new bundle's folder: new, empty, or a bundle to replace
            (``check_replaceable``).
        images: Images to calibrate int8-static on (without them it is left out), and to compare on.
        threads: Threads to compute with; None for one per core this process may use.
        on_stage: Called with a description of each stage as it begins.

    Raises:
        InputError: The bundle holds no float32 weights, a file of it is missing or changed, or the
            update does not fit it; or ``directory`` holds something else than a bundle of ours.
        DivergenceError: The arrays leave the finite numbers once the update is applied.
        ParityError: An artifact does not compute what the float32 one does.
        ValueError: The images are not of the model's size.
    """
    images, threads = images or ExportImages(), threads or default_threads()
    kept, left_out = _divided(bundle, has_calibration=images.calibration is not None)
    gates = gates_of(bundle)
    with (
        scratch_folder(),
        replacing_folder(directory, check=check_replaceable) as folder,
        _verified_meanwhile(bundle, kept),
    ):
        on_stage("apply the update")
        filling = _filling(bundle, update)
        artifacts = _refilled(bundle, kept, filling, folder, images, threads, on_stage)
        manifest = _manifest(bundle.manifest, filling, artifacts, folder)
        training = refill_training(bundle, update, filling, folder, _weights(artifacts))
        report = _compared(Bundle(folder, manifest), gates, images, threads, on_stage)
        write_text(folder / PARITY_NAME, schema.to_json(report, indent=2))
        listed = BundleFile.of(folder, folder / PARITY_NAME)
        manifest = replace(manifest, training=training.section, parity=listed)
        write_text(folder / MANIFEST_NAME, schema.to_json(manifest, indent=2))
    return Refilled(
        bundle=Bundle(directory, manifest), parity=report, left_out=(*left_out, *training.left_out)
    )


def _divided(
    bundle: Bundle, *, has_calibration: bool
) -> tuple[tuple[Artifact, ...], tuple[LeftOut, ...]]:
    """Return the artifacts that can be refilled, and why the others cannot."""
    artifacts = bundle.manifest.artifacts
    if float32_onnx(artifacts) is None:
        raise InputError(
            f"{bundle.directory} holds no float32 weights (no onnx-fp32) that an update could go "
            "into: export the model it was made from again, with --update"
        )
    reasons = [why_left_out(artifact, has_calibration=has_calibration) for artifact in artifacts]
    kept = (each for each, reason in zip(artifacts, reasons, strict=True) if reason is None)
    return tuple(kept), tuple(reason for reason in reasons if reason is not None)


@contextmanager
def _verified_meanwhile(bundle: Bundle, artifacts: tuple[Artifact, ...]) -> Iterator[None]:
    """Hold the files that the block uses to their hashes while it runs.

    What is wrong with them is told, not what the block stumbled over in them.
    """
    files = {file.path: file for artifact in artifacts for file in artifact.files}
    with ThreadPoolExecutor(1, thread_name_prefix="verifying") as verifying:
        verified = verifying.map(lambda file: file.verified(bundle.directory), files.values())
        try:
            yield
        finally:
            list(verified)


def _filling(bundle: Bundle, update: Update) -> Filling:
    held, path = mapped_checkpoint(bundle)
    filling = Filling.of(_trained(bundle, update, held, path), held=held)
    if filling.deployed.submodel != bundle.manifest.submodel:
        raise InputError(
            f"the update brings adapters of regime {update.submodel.regime!r}, which do not fold "
            f"into the weights, and {bundle.directory} was exported without: export the model "
            "again, with --update"
        )
    return filling


def _trained(bundle: Bundle, update: Update, held: Checkpoint, path: Path) -> Checkpoint:
    """Apply an update to what it was trained from: what inference holds, or holds folded."""
    known_base = None if has_adapters(held.submodel.regime) else stated_weights_sha256(path)
    step = step_of(bundle, update.submodel.regime)
    if step is None or step.start is None or known_base == update.provenance.base_sha256:
        return apply_update(held, update, known_base=known_base)
    return apply_update(read_start(bundle, step), update, known_base=step.base_sha256)


def _refilled(
    bundle: Bundle,
    artifacts: tuple[Artifact, ...],
    filling: Filling,
    folder: Path,
    images: ExportImages,
    threads: int,
    on_stage: OnStage,
) -> tuple[Artifact, ...]:
    """Write the artifacts, float32 first: it is run to calibrate others."""
    refilled: dict[str, Artifact] = {}
    for artifact in sorted(artifacts, key=lambda each: each.precision != "fp32"):
        on_stage(f"{artifact.name}: replace arrays")
        constants: Constants = {}
        if artifact.precision == "int8-static":
            assert images.calibration is not None  # else it was left out
            on_stage(f"{artifact.name}: calibrate")
            float32 = replace(
                bundle.manifest,
                artifacts=(refilled["onnx-fp32"],),
                thresholds=(),
                parity=None,
                training=None,
            )
            layers = layers_in_int8(bundle, artifact)
            constants = activation_constants(
                Bundle(folder, float32), layers, images.calibration.pixels, threads=threads
            )
        refilled[artifact.name] = refill_onnx(bundle, artifact, filling, folder, constants)
    return tuple(refilled[artifact.name] for artifact in artifacts)


def _manifest(
    before: Manifest, filling: Filling, artifacts: tuple[Artifact, ...], folder: Path
) -> Manifest:
    names = {artifact.name for artifact in artifacts}
    stated = stated_weights_sha256(folder / _weights(artifacts).path)
    assert stated is not None  # it was just written
    return replace(
        before,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        weights_sha256=stated,
        has_random_weights=filling.deployed.is_untrained,
        artifacts=artifacts,
        thresholds=tuple(each for each in before.thresholds if each.artifact in names),
        parity=None,
        training=None,
    )


def _weights(artifacts: tuple[Artifact, ...]) -> BundleFile:
    """Return the file in which inference holds float32 weights."""
    float32 = float32_onnx(artifacts)
    assert float32 is not None  # else the bundle was refused
    return weights_file(float32)


def _compared(
    bundle: Bundle,
    gates: Mapping[str, Gate],
    images: ExportImages,
    threads: int,
    on_stage: OnStage,
) -> ParityReport:
    """Hold the artifacts to the float32 one."""
    manifest = bundle.manifest
    compared_on = images.parity or noise(manifest.submodel)
    reference = Reference.of_onnx(bundle, compared_on, manifest.common_threshold, threads=threads)
    rows: list[ParityRow] = []
    for artifact in manifest.artifacts:
        if artifact.precision != "fp32":
            on_stage(f"{artifact.name}: compare with float32")
            compared = reference.rows(bundle, artifact)
            is_trained = not manifest.has_random_weights
            check_parity(compared, gates[artifact.name], is_trained=is_trained)
            rows.extend(compared)
    return reference.report({each.name: gates[each.name] for each in manifest.artifacts}, rows)
