"""How does a bundle say what it can train: which steps, from which start, in which files?

A *training step* is compiled for one regime and one batch size, for one format or several. Its
sub-model keeps the regime's adapters, which inference may have folded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from reefl_edge.bundles.artifacts import BundleFile, Target, check_sha256, check_unique
from reefl_edge.regimes import has_adapters
from reefl_edge.submodel import StepSignature, Submodel

_MAX_BATCH_SIZE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class StepArtifact:
    """The files of a training step in one format.

    Attributes:
        target: The format; the step computes in float32.
        delegate: The accelerator library inside the format; None for none.
        toolchain: Version of each package that made it.
        files: Every file that the step reads, with its hash; weights that inference reads, too, are
            listed again.
        recompute: Blocks are computed again on the way back, in less memory.
        peak_mib: The most memory that it is predicted to take above the imports of a process
            (``step_memory.py``); None where an earlier version predicted nothing.
    """

    target: Target
    delegate: str | None
    toolchain: dict[str, str]
    files: tuple[BundleFile, ...]
    recompute: bool = False
    peak_mib: float | None = None

    def __post_init__(self) -> None:
        if self.peak_mib is not None and not 0 < self.peak_mib < inf:
            raise ValueError(f"no step takes {self.peak_mib:g} MiB at its peak")
        if not self.files:
            raise ValueError(f"the {self.target} training step lists no files")
        check_unique(file.path for file in self.files)

    @property
    def name(self) -> str:
        """How lists call it."""
        return f"{self.target} training step"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStep:
    """One compiled step of local training.

    Attributes:
        submodel: What is trained, under its regime: adapters are not folded.
        base_sha256: Identity of the plain arrays that training starts from: that of
            ``weights.base_sha256``.
        start: The arrays that training starts from and that the float32 ONNX artifact of inference
            does not hold: adapters, plain arrays that were folded, and all of them where there is
            no such artifact; None where it holds the same (``start.py`` reads them).
        batch_size: Images of a step; a smaller batch is filled up and masked.
        signature: Names, shapes and dtypes of what enters and leaves, the same in every format.
        artifacts: One per format, the preferred one first.
    """

    submodel: Submodel
    base_sha256: str
    start: BundleFile | None
    batch_size: int
    signature: StepSignature
    artifacts: tuple[StepArtifact, ...]

    def __post_init__(self) -> None:
        regime = self.submodel.regime
        check_sha256(self.base_sha256, of=f"what {regime} training starts from")
        check_batch_size(self.batch_size)
        if self.start is None and has_adapters(regime):
            raise ValueError(f"{regime} training lists no file of where its adapters start")
        if self.signature != self.submodel.step_signature():
            raise ValueError(f"the signature of {regime} training is not that of its sub-model")
        if not self.artifacts:
            raise ValueError(f"{regime} training lists no artifacts")
        check_unique(f"the {artifact.target} training step" for artifact in self.artifacts)

    def artifact(self, target: Target) -> StepArtifact | None:
        """Return what was compiled for a format; None if nothing was."""
        return next((each for each in self.artifacts if each.target == target), None)

    def files(self) -> Iterator[BundleFile]:
        """Give every file it reads."""
        if self.start is not None:
            yield self.start
        for artifact in self.artifacts:
            yield from artifact.files


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSection:
    """The training steps of a bundle, one per regime."""

    steps: tuple[TrainingStep, ...]

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("the training section lists no steps")
        check_unique(f"{step.submodel.regime} training" for step in self.steps)

    def check(self, submodel: Submodel) -> None:
        """Hold what is trained to what the bundle infers with.

        Raises:
            ValueError: A step is of another network or depth, or of a regime that has no place for
                the bundle's adapters.
        """
        for step in self.steps:
            if step.submodel != submodel.with_regime(step.submodel.regime):
                raise ValueError(
                    f"{step.submodel.regime} training is of another sub-model than inference"
                )

    def files(self) -> Iterator[BundleFile]:
        """Give every file that training reads."""
        for step in self.steps:
            yield from step.files()


def check_batch_size(batch_size: int) -> None:
    """Refuse a batch that no step is compiled for.

    Raises:
        ValueError: It has no images, or too many.
    """
    if not 1 <= batch_size <= _MAX_BATCH_SIZE:
        raise ValueError(
            f"a training batch has from 1 to {_MAX_BATCH_SIZE} images, got {batch_size}"
        )
