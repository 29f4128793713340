"""How does a network become a bundle: every artifact made, proven, and described?

The bundle is assembled beside its destination and put there whole. An artifact that does not
compute what the network computes stops the export, and nothing is written.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from reefl_edge import schema
from reefl_edge.errors import MissingToolchainError
from reefl_edge.files import replacing_folder, write_text
from reefl_edge.manifest import (
    MANIFEST_NAME,
    PARITY_NAME,
    TARGETS,
    Artifact,
    Bundle,
    BundleFile,
    Manifest,
    Target,
    signatures,
)
from reefl_edge.runtimes.base import RuntimeName, default_threads, open_runtime
from reefl_edge.weights import Checkpoint, weights_sha256
from reefl_export import cache, parity
from reefl_export.recipe import RECIPES, ExportRecipe

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from reefl_edge.models.reefl import ReeFL

OnStage = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """The parity of every artifact of a bundle that can run where it was made."""

    rows: tuple[parity.ParityRow, ...]
    schema_version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a bundle says of its model besides the sub-model.

    Attributes:
        name: A short name of the model.
        has_random_weights: The weights are random: good for measuring, not for answers.
        threshold: Confidence at which to stop when the user gives none; None for never early.
    """

    name: str
    has_random_weights: bool = False
    threshold: float | None = None


def export_bundle(
    model: "ReeFL",
    directory: str | Path,
    formats: Sequence[Target] = TARGETS,
    *,
    name: str = "model",
    class_names: tuple[str, ...] | None = None,
    threshold: float | None = None,
) -> Bundle:
    """Export a network to a bundle.

    Args:
        model: The network; cut it first (``Checkpoint.cut``) to export fewer exits.
        directory: The bundle's folder: new, empty, or a bundle to replace.
        formats: Which artifacts to make.
        name: A short name of the model.
        class_names: One name per class; None for their numbers.
        threshold: Confidence at which to stop when the user gives none.

    Raises:
        MissingToolchainError: A format's packages are not installed.
        ParityError: An artifact does not compute what the network computes.
        InputError: ``directory`` exists and is something else.
    """
    from reefl_edge.models.checkpoint import arrays_of

    checkpoint = Checkpoint(
        submodel=model.submodel, arrays=arrays_of(model), class_names=class_names
    )
    return export_checkpoint(
        checkpoint, Path(directory), formats, Origin(name=name, threshold=threshold)
    )


def export_checkpoint(
    checkpoint: Checkpoint,
    directory: Path,
    formats: Sequence[Target],
    origin: Origin,
    *,
    on_stage: OnStage = lambda _: None,
) -> Bundle:
    """Export the arrays of a network; from the cache, without torch, where nothing has changed.

    LoRA and SSF are folded first: the bundle is that of a plain checkpoint, whose weights, hash and
    regime (full) are the folded ones, held to what the network before folding computes. Bottleneck
    adapters are exported as they are.

    Args:
        checkpoint: The arrays to export.
        directory: The bundle's folder: new, empty, or a bundle to replace.
        formats: Which artifacts to make.
        origin: What the bundle says of its model.
        on_stage: Called with a description of each stage as it begins.

    Raises:
        MissingToolchainError: A format's packages are not installed.
        ParityError: An artifact does not compute what the network computes.
        InputError: ``directory`` exists and is something else.
    """
    trained, checkpoint = checkpoint, checkpoint.folded()
    maker = _Maker(trained, checkpoint, on_stage)
    with replacing_folder(directory, marker=MANIFEST_NAME) as folder:
        entries = [maker.entry(RECIPES[target], folder) for target in dict.fromkeys(formats)]
        manifest = _manifest(checkpoint, origin, tuple(entry.artifact for entry in entries))
        rows = tuple(row for entry in entries for row in entry.parity)
        write_text(folder / PARITY_NAME, schema.to_json(ParityReport(rows=rows), indent=2))
        write_text(folder / MANIFEST_NAME, schema.to_json(manifest, indent=2))
    return Bundle(directory, manifest)


def _manifest(checkpoint: Checkpoint, origin: Origin, artifacts: tuple[Artifact, ...]) -> Manifest:
    return Manifest(
        name=origin.name,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        submodel=checkpoint.submodel,
        weights_sha256=weights_sha256(checkpoint.arrays),
        has_random_weights=origin.has_random_weights,
        class_names=checkpoint.names(),
        threshold=origin.threshold,
        segments=signatures(checkpoint.submodel),
        artifacts=artifacts,
    )


class _Maker:
    """Makes the artifacts of one checkpoint; the network is built only if one is not cached.

    Args:
        trained: What the artifacts are held to.
        checkpoint: The same, folded: what they are made of.
        on_stage: Called with a description of each stage as it begins.
    """

    def __init__(self, trained: Checkpoint, checkpoint: Checkpoint, on_stage: OnStage) -> None:
        self._trained = trained
        self._checkpoint = checkpoint
        self._on_stage = on_stage
        self._sha256 = weights_sha256(checkpoint.arrays)

    def entry(self, recipe: ExportRecipe, folder: Path) -> cache.CacheEntry:
        """Put the artifact of a recipe into ``folder``, from the cache or made anew."""
        key = cache.cache_key(self._sha256, self._checkpoint.submodel, recipe)
        cached = cache.fetch(key, folder)
        if cached is not None:
            self._on_stage(f"{recipe.title}: unchanged, taken from the cache")
            return cached
        paths = self._make(recipe, folder)
        artifact = Artifact(
            target=recipe.target,
            delegate=recipe.delegate,
            precision=recipe.precision,
            batch_size=recipe.batch_size,
            toolchain=recipe.toolchain(),
            files=tuple(BundleFile.of(folder, path) for path in paths),
        )
        self._on_stage(f"{recipe.title}: compare with the network")
        entry = cache.CacheEntry(artifact=artifact, parity=self._prove(artifact, folder))
        cache.store(key, folder, entry)
        return entry

    def _make(self, recipe: ExportRecipe, folder: Path) -> list[Path]:
        destination = folder / recipe.folder
        destination.mkdir(exist_ok=True)
        before = _files_in(destination)
        self._on_stage(f"{recipe.title}: trace")
        programs = self._programs(recipe)
        try:
            self._convert(recipe, programs, destination)
        except ImportError as error:
            raise MissingToolchainError.for_extra(
                f"exporting to {recipe.title}", str(error.name), recipe.target
            ) from error
        return sorted(_files_in(destination) - before)

    def _convert(
        self, recipe: ExportRecipe, programs: "dict[str, ExportedProgram]", folder: Path
    ) -> None:
        def on_segment(name: str) -> None:
            self._on_stage(f"{recipe.title}: convert {name}")

        match recipe.target:
            case "executorch":
                from reefl_export.executorch import export_executorch

                self._on_stage(f"{recipe.title}: lower to XNNPACK")
                export_executorch(programs, folder)
            case "onnx":
                from reefl_export.onnx import export_onnx

                export_onnx(programs, self._checkpoint, folder, on_segment)
            case "coreml":
                from reefl_export.coreml import export_coreml

                export_coreml(programs, self._checkpoint.submodel, folder, on_segment)
            case _:
                assert_never(recipe.target)

    def _prove(self, artifact: Artifact, folder: Path) -> tuple[parity.ParityRow, ...]:
        """Compare an artifact with the network; Core ML runs on a Mac only, so no rows for it."""
        match artifact.target:
            case "coreml":
                from reefl_export.coreml import PACKAGE_NAME, check_structure

                check_structure(folder / "coreml" / PACKAGE_NAME, self._checkpoint.submodel)
                return ()
            case "executorch" | "onnx":
                rows = self._compare(artifact, artifact.target, folder)
                parity.check(rows)
                return rows
            case _:
                assert_never(artifact.target)

    def _compare(
        self, artifact: Artifact, runtime_name: RuntimeName, folder: Path
    ) -> tuple[parity.ParityRow, ...]:
        unfinished = Bundle(
            folder, _manifest(self._checkpoint, Origin(name="unfinished"), (artifact,))
        )
        runtime = open_runtime(runtime_name, unfinished)
        submodel = self._checkpoint.submodel
        actual = parity.chain_logits(
            runtime, parity.sample_images(submodel), num_exits=submodel.num_exits
        )
        return parity.compare(artifact.target, artifact.precision, self._expected, actual)

    @cached_property
    def _network(self) -> "ReeFL":
        return _network_of(self._checkpoint)

    @cached_property
    def _expected(self) -> list[parity.Logits]:
        from reefl_edge.runtimes.eager import EagerRuntime

        submodel = self._checkpoint.submodel
        is_folded = self._trained is not self._checkpoint
        network = _network_of(self._trained) if is_folded else self._network
        eager = EagerRuntime(network, threads=default_threads())
        return parity.chain_logits(
            eager, parity.sample_images(submodel), num_exits=submodel.num_exits
        )

    def _programs(self, recipe: ExportRecipe) -> "dict[str, ExportedProgram]":
        network = self._network
        from reefl_export.segments import FORMS, trace_segments

        return trace_segments(network, batch_size=recipe.batch_size, forms=FORMS[recipe.target])


def _network_of(checkpoint: Checkpoint) -> "ReeFL":
    try:
        from reefl_edge.models.checkpoint import network_from
    except ImportError as error:
        raise MissingToolchainError.for_extra("exporting", "torch", "train") from error
    return network_from(checkpoint.submodel, checkpoint.arrays)


def _files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}
