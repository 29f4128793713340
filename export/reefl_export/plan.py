"""Which artifacts are to be made, and for which device?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from reefl_edge.bundles.artifacts import TARGETS, Precision, Target
from reefl_edge.bundles.manifest import Deployment
from reefl_edge.regimes import Regime
from reefl_export.deployment import Capabilities, suggest_deployment
from reefl_export.recipe import ExportRecipe, recipe_for, stock
from reefl_export.training import (
    DEFAULT_BATCH_SIZE,
    DEFAULT_STEP_TARGETS,
    STEP_TARGETS,
    TrainingPlan,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPlan:
    """What to make.

    Attributes:
        recipes: A recipe for each artifact, the preferred one of a format first.
        deployment: The device it is for, if one was named.
        reasons: Why these suit the device, a sentence for each.
        training: Which training steps to compile besides, if any.
    """

    recipes: tuple[ExportRecipe, ...]
    deployment: Deployment | None = None
    reasons: tuple[str, ...] = ()
    training: TrainingPlan | None = None

    @classmethod
    def stock(
        cls, formats: Sequence[Target] = TARGETS, precisions: Sequence[Precision] = ("fp32",)
    ) -> Self:
        """Plan formats in precisions, each once, by the recipes that come with this package.

        Raises:
            ValueError: A format does not come in one of the precisions.
        """
        return cls(recipes=tuple(stock(formats, precisions)))

    @classmethod
    def for_device(
        cls,
        device: str | Capabilities,
        formats: Sequence[Target] = (),
        precisions: Sequence[Precision] = (),
    ) -> Self:
        """Plan what suits a device.

        Args:
            device: ``local``, the name or path of a device profile, or its capabilities.
            formats: Formats to make; none for the one that it runs best.
            precisions: Precisions to make; none for the one that suits it.

        Raises:
            ValueError: No device has this name, or a format does not come in a precision.
            InputError: ``device`` is a path to a profile that is missing or damaged.
        """
        capabilities = Capabilities.named(device) if isinstance(device, str) else device
        wanted: list[Precision | None] = [*dict.fromkeys(precisions)] or [None]
        suggestions = [
            suggest_deployment(capabilities, target, precision)
            for target in dict.fromkeys(formats or capabilities.formats[:1])
            for precision in wanted
        ]
        deployment = None
        if capabilities.name is not None:  # a bundle for this machine may go anywhere
            deployment = Deployment(device=capabilities.name, threads=suggestions[0].threads)
        return cls(
            recipes=tuple(
                recipe_for(suggestion.target, suggestion.precision) for suggestion in suggestions
            ),
            deployment=deployment,
            reasons=tuple(dict.fromkeys(reason for each in suggestions for reason in each.reasons)),
        )

    @property
    def formats(self) -> tuple[Target, ...]:
        """The formats of the artifacts, each once."""
        return tuple(dict.fromkeys(recipe.target for recipe in self.recipes))

    @property
    def needs_calibration(self) -> bool:
        """Whether an artifact needs images to find the ranges of activations."""
        return any(recipe.needs_calibration for recipe in self.recipes)

    def with_training(
        self,
        regimes: Sequence[Regime],
        *,
        formats: Sequence[Target] = DEFAULT_STEP_TARGETS,
        batch_size: int = DEFAULT_BATCH_SIZE,
        recompute: bool = False,
        seed: int = 0,
    ) -> Self:
        """Return the same with training steps.

        Args:
            regimes: One step for each.
            formats: Which of the planned formats get them; where none of these is planned, those
                that are. Formats that take none are left out.
            batch_size: Images of a step.
            recompute: Compute blocks again on the way back, instead of keeping what they computed.
            seed: Of adapters that the model lacks.

        Raises:
            ValueError: No format takes them or computes blocks again, or the batch size is out of
                range.
        """
        planned = {*self.formats} & {*formats} or {*self.formats}
        targets = tuple(target for target in STEP_TARGETS if target in planned)
        if not targets:
            raise ValueError(
                f"no format planned takes training steps; only --format {', '.join(STEP_TARGETS)}"
            )
        plan = TrainingPlan(
            regimes=tuple(dict.fromkeys(regimes)),
            batch_size=batch_size,
            targets=targets,
            recompute=recompute,
            seed=seed,
        )
        return replace(self, training=plan)

    def with_adaptive_graph(self) -> Self:
        """Return the same with an adaptive graph beside the segments of every ONNX artifact.

        Raises:
            ValueError: There is no ONNX artifact.
        """
        return self._changing("onnx", lambda recipe: replace(recipe, adaptive_graph=True))

    def with_batch_sizes(self, sizes: Sequence[int]) -> Self:
        """Return the same with ExecuTorch artifacts for batch sizes, and for one image.

        Raises:
            ValueError: There is no ExecuTorch artifact, or a size is not positive.
        """
        distinct = tuple(sorted({1, *sizes}))
        return self._changing("executorch", lambda recipe: replace(recipe, batch_sizes=distinct))

    def _changing(self, target: Target, change: Callable[[ExportRecipe], ExportRecipe]) -> Self:
        if not any(recipe.target == target for recipe in self.recipes):
            raise ValueError(f"no {target} artifact is asked for; only for --format {target}")
        changed = (change(each) if each.target == target else each for each in self.recipes)
        return replace(self, recipes=tuple(changed))
