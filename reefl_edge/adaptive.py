"""When does an example stop, and how is a bundle run so that stopping skips what follows?

The stop rule: stop at the first exit that is as sure as its threshold asks for (``confidence.py``
says how sure an exit is). It is written once, in ``ConfidencePolicy.stops``.

Letters: B batch, H and W image size, C classes, E exits.
"""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from reefl_edge.bundles.artifacts import Artifact, Precision
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.thresholds import (
    ArtifactThresholds,
    Certificate,
    check_temperatures,
    check_threshold,
    check_thresholds,
)
from reefl_edge.confidence import ConfidenceMeasure, check_temperature, confidence
from reefl_edge.runtimes.base import Runtime, RuntimeName, Tensors
from reefl_edge.runtimes.opening import artifact_for, open_runtime
from reefl_edge.submodel import Submodel

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConfidencePolicy:
    """Stop at the first exit that is confident enough.

    Attributes:
        thresholds: One confidence in (0, 1] for all exits, or one per exit but the last; 1 means
            never to stop there.
        measure: What is held against them.
        temperatures: What the logits of each exit are divided by first; none for 1 everywhere.
    """

    thresholds: tuple[float, ...] = (1.0,)
    measure: ConfidenceMeasure = "largest-softmax"
    temperatures: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for threshold in self.thresholds:
            check_threshold(threshold)
        for temperature in self.temperatures:
            check_temperature(temperature)

    @classmethod
    def of(cls, entry: ArtifactThresholds | None) -> Self:
        """Return how an artifact stops by its entry in a manifest; without one, never early."""
        if entry is None:
            return cls()
        return cls(entry.thresholds, entry.measure, entry.temperatures)

    def cut(self, max_exit: int) -> "ConfidencePolicy":
        """Return how exits up to one stop, which is the last then."""
        thresholds = self.thresholds if len(self.thresholds) == 1 else self.thresholds[:max_exit]
        return replace(self, thresholds=thresholds, temperatures=self.temperatures[: max_exit + 1])

    def check(self, num_exits: int) -> None:
        """Hold the number of thresholds and temperatures to the number of exits.

        Raises:
            ValueError: There is neither one threshold nor one per exit but the last, or there are
                temperatures, but not one per exit.
        """
        check_thresholds(self.thresholds, num_exits=num_exits)
        check_temperatures(self.temperatures, num_exits=num_exits)

    def threshold(self, exit_index: int) -> float:
        """Return how sure an exit must be, other than the last."""
        return self.thresholds[exit_index if len(self.thresholds) > 1 else 0]

    def temperature(self, exit_index: int) -> float:
        """Return what the logits of an exit are divided by."""
        return self.temperatures[exit_index] if self.temperatures else 1.0

    def stops(self, logits: NDArray[np.float32], exit_index: int) -> NDArray[np.bool_]:
        """Tell which examples of a batch stop at an exit, from its logits (B, C)."""
        threshold = self.threshold(exit_index)
        if threshold == 1:
            return np.zeros(len(logits), bool)
        temperature = self.temperature(exit_index)
        sureness = confidence(logits, self.measure, temperature=temperature)
        stopped: NDArray[np.bool_] = sureness >= threshold
        return stopped


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a session says of a batch.

    Attributes:
        logits: At the exit where each example stopped, (B, C).
        exit_indices: That exit, (B,).
        policy: What made them stop there.
    """

    logits: NDArray[np.float32]
    exit_indices: NDArray[np.int64]
    policy: ConfidencePolicy = field(default_factory=ConfidencePolicy)

    @property
    def labels(self) -> NDArray[np.int64]:
        """The most likely class of each example, (B,)."""
        labels: NDArray[np.int64] = self.logits.argmax(axis=-1)
        return labels

    @property
    def confidences(self) -> NDArray[np.float32]:
        """The probability of that class, (B,), at the temperature of the exit."""
        temperatures = np.array(self.policy.temperatures or (1.0,), np.float32)
        if len(temperatures) > 1:
            temperatures = temperatures[self.exit_indices]
        return confidence(self.logits / temperatures[:, None])


def policy_in_force(
    bundle: Bundle, artifact: Artifact, *, runtime: RuntimeName
) -> tuple[ConfidencePolicy, Certificate | None]:
    """Return where an artifact stops by its bundle, and what that is certified to keep here.

    A certificate that was made for other weights or files does not count, which is logged. Eager
    runs the weights of an artifact, but not the artifact: for it nothing is certified.
    """
    entry = bundle.manifest.entry_for(artifact)
    policy = ConfidencePolicy.of(entry)
    if entry is None or entry.certificate is None or runtime == "eager":
        return policy, None
    made_for = entry.certificate.why_not_for(artifact, bundle.manifest.weights_sha256)
    if made_for is not None:
        _log.warning(
            "the thresholds of %s were certified for %s: nothing is promised until reefl-edge "
            "calibrate has run again",
            artifact.name,
            made_for,
        )
        return policy, None
    return policy, entry.certificate


class AdaptiveSession:
    """Runs a bundle's segments until each example is confident enough.

    Example:
        >>> session = AdaptiveSession.open("digits", policy=ConfidencePolicy((0.9,)))
        ... # doctest: +SKIP
        >>> session.predict(images).labels  # doctest: +SKIP
    """

    def __init__(
        self,
        runtime: Runtime,
        submodel: Submodel,
        policy: ConfidencePolicy,
        certificate: Certificate | None = None,
    ) -> None:
        policy.check(submodel.num_exits)
        self.policy = policy
        # What the policy is certified to keep here; None for nothing.
        self.certificate = certificate
        self.submodel = submodel
        self._runtime = runtime

    @classmethod
    def open(
        cls,
        bundle: Bundle | str | Path,
        *,
        runtime: RuntimeName = "onnx",
        precision: Precision | None = None,
        policy: ConfidencePolicy | None = None,
        threads: int | None = None,
        is_short_lived: bool = False,
    ) -> Self:
        """Load a bundle.

        Args:
            bundle: The bundle or its folder.
            runtime: What runs the segments.
            precision: Of the artifact; None for the first that the runtime can run.
            policy: When to stop; None for the bundle's own thresholds of the artifact that runs, or
                never early without any.
            threads: Threads to compute with; None as for ``open_runtime``.
            is_short_lived: Whether only a few images will come; as for ``open_runtime``.

        Raises:
            InputError: The folder is no bundle, or lacks what the runtime needs.
            MissingToolchainError: The runtime is not installed.
            ValueError: The policy does not fit the number of exits.
        """
        if not isinstance(bundle, Bundle):
            bundle = Bundle.open(Path(bundle))
        certificate = None
        if policy is None:
            artifact = artifact_for(runtime, bundle, precision)
            policy, certificate = policy_in_force(bundle, artifact, runtime=runtime)
        policy.check(bundle.manifest.submodel.num_exits)
        opened = open_runtime(
            runtime, bundle, precision=precision, threads=threads, is_short_lived=is_short_lived
        )
        return cls(opened, bundle.manifest.submodel, policy, certificate)

    def with_policy(self, policy: ConfidencePolicy) -> "AdaptiveSession":
        """Return a session that shares this one's runtime and stops by another policy."""
        return AdaptiveSession(self._runtime, self.submodel, policy)

    def predict(self, images: NDArray[np.uint8]) -> Prediction:
        """Classify 8-bit RGB images of the model's size.

        Args:
            images: uint8, (B, H, W, 3).

        Raises:
            ValueError: The array has another shape or dtype.
        """
        edge = self.submodel.architecture.image_size
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (edge, edge, 3):
            raise ValueError(
                f"images must be uint8 (B, {edge}, {edge}, 3), got {images.dtype} {images.shape}"
            )
        final_logits = np.empty((len(images), self.submodel.architecture.num_classes), np.float32)
        exit_indices = np.full(len(images), self.submodel.max_exit)
        if not len(images):
            return Prediction(final_logits, exit_indices, self.policy)
        # Segment after segment, each on the examples that have not stopped yet.
        running = np.arange(len(images))
        carried: Tensors = (images,)
        for exit_index in range(self.submodel.num_exits):
            *rest, logits = self._runtime.run(exit_index, carried)
            if exit_index == self.submodel.max_exit:
                final_logits[running] = logits
                break
            stopped = self.policy.stops(logits, exit_index)
            final_logits[running[stopped]] = logits[stopped]
            exit_indices[running[stopped]] = exit_index
            running = running[~stopped]
            if not len(running):
                break
            carried = tuple(rest) if not stopped.any() else tuple(part[~stopped] for part in rest)
        return Prediction(final_logits, exit_indices, self.policy)
