"""Which artifacts do the options of ``reefl-edge export`` ask for?"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from reefl_edge.cli import options
from reefl_edge.devices.host import describe_host
from reefl_edge.devices.profiles import LOCAL_DEVICE, load_profile
from reefl_edge.manifest import (
    TARGETS,
    Deployment,
    Precision,
    Target,
    parse_precision,
    parse_target,
)
from reefl_export.deployment import DeviceFacts, choose_deployment
from reefl_export.recipe import ExportRecipe, read_recipe, recipe_for, stock


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to make.

    Attributes:
        recipes: A recipe for each artifact.
        deployment: The device it is for, if one was named.
        reasons: Why these suit the device, a sentence for each.
    """

    recipes: list[ExportRecipe]
    deployment: Deployment | None = None
    reasons: tuple[str, ...] = ()

    @property
    def needs_calibration(self) -> bool:
        """Whether an artifact needs images to find the ranges of activations."""
        return any(recipe.needs_calibration for recipe in self.recipes)

    def with_adaptive_graph(self) -> "Wanted":
        """Return the same with an adaptive graph beside the segments of every ONNX artifact.

        Raises:
            BadParameter: There is no ONNX artifact.
        """
        with options.usage_errors("--adaptive-graph"):
            return self._changing("onnx", lambda recipe: replace(recipe, adaptive_graph=True))

    def with_batch_sizes(self, text: str) -> "Wanted":
        """Return the same with ExecuTorch artifacts for batch sizes, separated by commas, and 1.

        Raises:
            BadParameter: There is no ExecuTorch artifact, or a size is no positive number.
        """
        with options.usage_errors("--batch-sizes"):
            sizes = tuple(sorted({1, *map(options.parse_whole, options.split_list(text))}))
            return self._changing("executorch", lambda recipe: replace(recipe, batch_sizes=sizes))

    def _changing(self, target: Target, change: Callable[[ExportRecipe], ExportRecipe]) -> "Wanted":
        if not any(recipe.target == target for recipe in self.recipes):
            raise ValueError(f"only for --format {target}")
        recipes = [change(recipe) if recipe.target == target else recipe for recipe in self.recipes]
        return replace(self, recipes=recipes)


def wanted_recipes(
    *, formats: str | None, precisions: str | None, recipes: list[str], device: str | None
) -> Wanted:
    """Return what the options ask for.

    Args:
        formats: Formats, separated by commas; None for all, or what suits the device.
        precisions: Precisions, separated by commas; None for float32, or what suits the device.
        recipes: Names or paths of recipes, which stand instead of the others.
        device: A device profile, or this machine.

    Raises:
        BadParameter: A name is unknown, or options contradict each other.
        InputError: A file is missing or damaged.
    """
    with options.usage_errors("--recipe"):
        if recipes and (formats, precisions, device) != (None, None, None):
            raise ValueError("a recipe says format and precision: give it alone")
        if recipes:
            return Wanted(recipes=[read_recipe(text) for text in recipes])
    with options.usage_errors("--format"):
        targets = [] if formats is None else [*map(parse_target, options.split_list(formats))]
    with options.usage_errors("--precision"):
        listed = [] if precisions is None else options.split_list(precisions)
        chosen = [*map(parse_precision, listed)]
    if device is not None:
        return _for_device(device, targets, chosen)
    with options.usage_errors("--precision"):
        return Wanted(recipes=stock(targets or TARGETS, chosen or ["fp32"]))


def _for_device(device: str, targets: list[Target], precisions: list[Precision]) -> Wanted:
    facts = _facts_of(device)
    wanted: list[Precision | None] = [*dict.fromkeys(precisions)] or [None]
    choices = [
        choose_deployment(facts, target, precision)
        for target in dict.fromkeys(targets or facts.formats[:1])
        for precision in wanted
    ]
    with options.usage_errors("--precision"):
        recipes = [recipe_for(choice.target, choice.precision) for choice in choices]
    reasons = dict.fromkeys(reason for choice in choices for reason in choice.reasons)
    deployment = None
    if facts.name is not None:  # a bundle for this machine may go anywhere
        deployment = Deployment(device=facts.name, threads=choices[0].threads)
    return Wanted(recipes=recipes, deployment=deployment, reasons=tuple(reasons))


def _facts_of(device: str) -> DeviceFacts:
    if device == LOCAL_DEVICE:
        return DeviceFacts.of_host(describe_host())
    with options.usage_errors("--device"):
        return DeviceFacts.of_profile(load_profile(device))
