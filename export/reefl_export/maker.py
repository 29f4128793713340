"""How is one artifact of a bundle made, or taken from the cache?"""

import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from reefl_edge import schema
from reefl_edge.bundles.artifacts import Artifact, BundleFile, Target
from reefl_edge.bundles.facts import facts_of
from reefl_edge.bundles.manifest import Manifest
from reefl_edge.checkpoints.checkpoint import Checkpoint
from reefl_edge.extras import needs_extra
from reefl_export import cache
from reefl_export.conversion import Conversion, OnStage, SharedWork
from reefl_export.images import NamedImages
from reefl_export.parity.reference import network_of
from reefl_export.recipe import PACKAGES, TITLES, ExportRecipe

if TYPE_CHECKING:
    from reefl_edge.models.reefl import ReeFL


class Maker:
    """Makes the artifacts of one network, which is built only if one of them is not cached.

    Args:
        checkpoint: What the artifacts are made of, folded.
        manifest: What the bundle says of it.
        calibration: Typical images, for recipes that need them.
        threads: Threads to compute with.
        on_stage: Called with a description of each stage as it begins.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        manifest: Manifest,
        calibration: NamedImages | None,
        threads: int,
        on_stage: OnStage,
    ) -> None:
        self._checkpoint = checkpoint
        self._facts = json.dumps(schema.to_dict(facts_of(manifest)))
        self._weights_sha256 = manifest.weights_sha256
        self._calibration = calibration
        self._threads = threads
        self._on_stage = on_stage
        self._shared: dict[Target, SharedWork] = {}

    def key(self, recipe: ExportRecipe) -> str:
        """Return the identity of the artifact of a recipe: a hash of everything it depends on."""
        return cache.artifact_key(
            recipe, self._facts, self._weights_in(recipe), self._calibration_for(recipe)
        )

    def artifact(self, recipe: ExportRecipe, folder: Path) -> Artifact:
        """Put the artifact of a recipe into ``folder``, from the cache or made anew.

        Raises:
            MissingToolchainError: The format's packages are not installed.
        """
        key = self.key(recipe)
        cached = cache.fetch_artifact(key, folder)
        if cached is not None:
            self._on_stage(f"{recipe.title}: unchanged, taken from the cache")
            return cached
        artifact = Artifact(
            target=recipe.target,
            delegate=recipe.delegate,
            precision=recipe.precision,
            batch_sizes=recipe.batch_sizes,
            toolchain=recipe.toolchain(),
            files=tuple(BundleFile.of(folder, path) for path in self._make(recipe, folder)),
        )
        cache.store_artifact(key, folder, artifact)
        return artifact

    def _make(self, recipe: ExportRecipe, folder: Path) -> list[Path]:
        destination = folder / recipe.folder
        destination.mkdir(exist_ok=True)
        before = _files_in(destination)
        network = self._network
        # What a format's artifacts have in common holds weights: the next format lets go of it.
        self._shared = {recipe.target: self._shared.get(recipe.target, SharedWork())}
        calibration = self._calibration_for(recipe)
        with needs_extra(
            f"exporting to {TITLES[recipe.target]}", PACKAGES[recipe.target], recipe.target
        ):
            converter_for(recipe.target)(
                Conversion(
                    recipe=recipe,
                    network=network,
                    checkpoint=self._checkpoint,
                    facts=self._facts,
                    calibration=None if calibration is None else calibration.pixels,
                    folder=destination,
                    shared=self._shared[recipe.target],
                    threads=self._threads,
                    on_stage=self._on_stage,
                )
            )
        return sorted(_files_in(destination) - before)

    @cached_property
    def _network(self) -> "ReeFL":
        network = network_of(self._checkpoint)
        import torch

        torch.set_num_threads(self._threads)
        return network

    def _weights_in(self, recipe: ExportRecipe) -> str:
        """Identify what an artifact holds of the weights.

        In float32, ONNX holds them as a checkpoint, which says what of them is random.
        """
        if (recipe.target, recipe.precision) == ("onnx", "fp32"):
            return f"{self._weights_sha256}, random: {self._checkpoint.random}"
        return self._weights_sha256

    def _calibration_for(self, recipe: ExportRecipe) -> NamedImages | None:
        return self._calibration if recipe.needs_calibration else None


def converter_for(target: Target) -> Callable[[Conversion], None]:
    """Return what makes the artifacts of a format."""
    match target:
        case "executorch":
            from reefl_export.executorch.exporter import export_executorch

            return export_executorch
        case "onnx":
            from reefl_export.onnx.exporter import export_onnx

            return export_onnx
        case "coreml":
            from reefl_export.coreml.exporter import export_coreml

            return export_coreml


def _files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}
