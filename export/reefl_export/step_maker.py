"""How is a training step of a bundle compiled, or taken from the cache?"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import assert_never

from reefl_edge import schema
from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.bundles.artifacts import Artifact, BundleFile, Target, float32_onnx
from reefl_edge.bundles.facts import Facts
from reefl_edge.bundles.start import start_arrays, start_name, write_start
from reefl_edge.bundles.training import StepArtifact, TrainingStep
from reefl_edge.checkpoints.checkpoint import WEIGHTS_NAME, Checkpoint
from reefl_edge.checkpoints.hashes import base_sha256, weights_sha256
from reefl_edge.extras import needs_extra
from reefl_edge.regimes import Regime
from reefl_edge.step_memory import predicted_peak_mib
from reefl_export import cache
from reefl_export.conversion import OnStage, SharedWork
from reefl_export.parity.reference import network_of
from reefl_export.recipe import PACKAGES, TITLES, recipe_for
from reefl_export.training import STEP_SUFFIXES, StepConversion, TrainingPlan


@dataclass(frozen=True, slots=True)
class MadeStep:
    """A training step, and the key of each of its artifacts in the cache."""

    step: TrainingStep
    keys: tuple[str, ...]


class StepMaker:
    """Compiles the training steps of one model.

    Args:
        trained: The model, adapters unfolded.
        plan: What to compile.
        folder: The bundle's, in which the artifacts of inference lie already.
        artifacts: These artifacts.
        on_stage: Called with a description of each stage as it begins.
    """

    def __init__(
        self,
        trained: Checkpoint,
        plan: TrainingPlan,
        folder: Path,
        artifacts: tuple[Artifact, ...],
        on_stage: OnStage,
    ) -> None:
        self._trained, self._folded = trained, trained.folded()
        self._trained_sha256 = weights_sha256(trained.arrays)
        self._plan = plan
        self._folder = folder
        self._inferred = float32_onnx(artifacts)
        self._on_stage = on_stage
        self._shared = SharedWork()

    def steps(self) -> Iterator[MadeStep]:
        """Compile the step of every regime."""
        for regime in self._plan.regimes:
            yield self._step(regime)

    def _step(self, regime: Regime) -> MadeStep:
        submodel = self._trained.submodel.with_regime(regime)
        keys = tuple(self._key(regime, target) for target in self._plan.targets)
        artifacts = tuple(
            self._artifact(regime, target, key)
            for target, key in zip(self._plan.targets, keys, strict=True)
        )
        start = self._folder / start_name(regime)
        step = TrainingStep(
            submodel=submodel,
            base_sha256=base_sha256(self._plain(regime).arrays),
            start=BundleFile.of(self._folder, start) if start.exists() else None,
            batch_size=self._plan.batch_size,
            signature=submodel.step_signature(),
            artifacts=artifacts,
        )
        return MadeStep(step, keys)

    def _plain(self, regime: Regime) -> Checkpoint:
        """Return the model with the plain arrays that a regime starts from."""
        return self._trained if regime == self._trained.submodel.regime else self._folded

    def _key(self, regime: Regime, target: Target) -> str:
        """Return the identity of a step in one format: a hash of everything it depends on."""
        weights = self._weights()
        return cache.step_key(
            self._plan,
            regime,
            target,
            facts=self._facts(regime),
            weights=f"{self._trained_sha256}, random: {self._trained.random}",
            beside=None if weights is None else weights.sha256,
        )

    def _facts(self, regime: Regime) -> str:
        submodel = self._trained.submodel.with_regime(regime)
        facts = Facts(submodel=submodel, class_names=self._trained.names())
        return json.dumps(schema.to_dict(facts))

    def _peak_mib(self, regime: Regime, target: Target) -> float:
        """Predict the memory of a step in one format."""
        peak_mib = predicted_peak_mib(
            self._trained.submodel.with_regime(regime),
            batch_size=self._plan.batch_size,
            recompute=self._plan.recompute,
            target=target,
        )
        return round(peak_mib, 1)

    def _weights(self) -> BundleFile | None:
        """Return the file in which inference holds float32 weights, if it does."""
        files = () if self._inferred is None else self._inferred.files
        return next((file for file in files if Path(file.path).name == WEIGHTS_NAME), None)

    def _artifact(self, regime: Regime, target: Target, key: str) -> StepArtifact:
        """Put a step in one format into the folder, from the cache or made anew."""
        own = cache.fetch_step(key, self._folder)
        if own is not None:
            self._on_stage(f"{regime} training: unchanged, taken from the cache")
        else:
            own = StepArtifact(
                target=target,
                delegate=recipe_for(target).delegate,
                toolchain=recipe_for(target).toolchain(),
                files=tuple(
                    BundleFile.of(self._folder, path) for path in self._make(regime, target)
                ),
                recompute=self._plan.recompute,
            )
            cache.store_artifact(key, self._folder, own)
        weights = self._weights()
        files = own.files if weights is None else (*own.files, weights)
        # Predicted anew, by the formula of today.
        return replace(own, files=files, peak_mib=self._peak_mib(regime, target))

    def _make(self, regime: Regime, target: Target) -> Iterator[Path]:
        """Write the files of a step that are its own, and give them."""
        with needs_extra(f"exporting to {TITLES[target]}", PACKAGES[target], target):
            from reefl_edge.models.regime import with_regime

            convert = step_converter_for(target)
        start = with_regime(self._trained, regime, seed=self._plan.seed)
        weights = self._weights()
        inferred: Arrays = {} if weights is None else self._folded.arrays
        files = [] if weights is None else [self._folder / weights.path]
        if own := start_arrays(start, inferred):
            files.append(self._folder / start_name(regime))
            write_start(start, own, files[-1])
            yield files[-1]
        path = self._folder / f"train_{regime}{STEP_SUFFIXES[target]}"
        convert(
            StepConversion(
                network=network_of(start),
                start=start,
                batch_size=self._plan.batch_size,
                recompute=self._plan.recompute,
                facts=self._facts(regime),
                path=path,
                weights=tuple(files),
                shared=self._shared,
                on_stage=self._on_stage,
            )
        )
        yield path


def step_converter_for(target: Target) -> Callable[[StepConversion], None]:
    """Return what compiles a training step to a format."""
    match target:
        case "onnx":
            from reefl_export.onnx.step.exporter import export_step

            return export_step
        case "executorch":
            from reefl_export.executorch.step.exporter import export_step as lower_step

            return lower_step
        case "coreml":
            raise ValueError(f"no training step is compiled to {target}")
        case _:
            assert_never(target)
