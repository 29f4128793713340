"""How is an artifact made: in which format and precision, with which delegate, held to what?

A *recipe* is a TOML file. Those that come with this package (``recipes/``) are called by their
name, ``FORMAT-PRECISION``; a user's own file is given by its path.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import ClassVar, Literal

from reefl_edge import schema
from reefl_edge.bundles.artifacts import (
    PRECISIONS_OF,
    TARGETS,
    Precision,
    Target,
    artifact_name,
    check_batch_sizes,
)
from reefl_edge.errors import MissingToolchainError
from reefl_edge.names import parse_name
from reefl_export.parity.gate import Gate

DeploymentTarget = Literal["iOS18", "iOS26"]

TITLES: dict[Target, str] = {"executorch": "ExecuTorch", "onnx": "ONNX", "coreml": "Core ML"}
# What makes each format; their versions are part of an artifact's identity.
PACKAGES: dict[Target, tuple[str, ...]] = {
    "executorch": ("torch", "executorch", "torchao"),
    "onnx": ("torch", "onnx", "onnxscript", "onnx-ir"),
    "coreml": ("torch", "coremltools"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRecipe:
    """How one artifact is made.

    Attributes:
        target: The format.
        precision: Of weights and activations.
        delegate: The accelerator library inside the artifact; None for none.
        batch_sizes: The batch sizes it takes; empty for any.
        keep_float: Layers that stay in float32 where ``precision`` is narrower: names of arrays
            without their ``.weight``, with ``*`` for anything.
        adaptive_graph: ONNX: also write all segments and the stop rule as one graph.
        deployment_target: Core ML: the oldest system that is to run it.
        gate: What the artifact's logits are held to.
    """

    # A misspelt key in a file written by hand is an error (read by schema.py).
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    target: Target
    precision: Precision
    delegate: Literal["xnnpack"] | None = None
    batch_sizes: tuple[int, ...] = ()
    keep_float: tuple[str, ...] = ()
    adaptive_graph: bool = False
    deployment_target: DeploymentTarget | None = None
    gate: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS_OF[self.target]:
            raise ValueError(f"{self.target} does not come in {self.precision}")
        check_batch_sizes(self.target, self.batch_sizes)
        if (self.delegate == "xnnpack") != (self.target == "executorch"):
            raise ValueError("the delegate is xnnpack for executorch, and for no other format")
        if self.deployment_target is not None and self.target != "coreml":
            raise ValueError(f"deployment_target is for coreml, not for {self.target}")
        if self.adaptive_graph and self.target != "onnx":
            raise ValueError(f"adaptive_graph is for onnx, not for {self.target}")
        if self.keep_float and self.precision not in ("int8-dynamic", "int8-static"):
            raise ValueError(f"keep_float says nothing of {self.precision}")

    @property
    def name(self) -> str:
        """How reports call the artifact."""
        return artifact_name(self.target, self.precision)

    @property
    def title(self) -> str:
        """Format and precision, for messages."""
        return f"{TITLES[self.target]} {self.precision}"

    @property
    def folder(self) -> str:
        """Where in a bundle the artifact's files lie."""
        if self.precision != "fp32":
            return self.name
        return "." if self.target == "executorch" else self.target

    @property
    def needs_calibration(self) -> bool:
        """Whether images must be given to find the ranges of activations."""
        return self.precision == "int8-static"

    def toolchain(self) -> dict[str, str]:
        """Return the installed version of each package that makes it, importing none of them.

        Raises:
            MissingToolchainError: One is not installed.
        """
        versions = {}
        for package in PACKAGES[self.target]:
            try:
                versions[package] = version(package)
            except PackageNotFoundError as error:
                raise MissingToolchainError.for_extra(
                    f"exporting to {TITLES[self.target]}", package, self.target
                ) from error
        return versions


@cache
def stock_recipes() -> dict[str, ExportRecipe]:
    """Return the recipes that come with this package, by name, the formats in their order."""
    folder = files("reefl_export") / "recipes"
    paths = [path for path in folder.iterdir() if path.name.endswith(".toml")]
    recipes = {
        path.name.removesuffix(".toml"): schema.from_toml(
            ExportRecipe, path.read_bytes(), source=path.name
        )
        for path in paths
    }
    return dict(sorted(recipes.items(), key=lambda item: (TARGETS.index(item[1].target), item[0])))


def recipe_for(target: Target, precision: Precision = "fp32") -> ExportRecipe:
    """Return the recipe for a format and precision.

    Raises:
        ValueError: The format does not come in that precision.
    """
    if precision not in PRECISIONS_OF[target]:
        have = ", ".join(PRECISIONS_OF[target])
        raise ValueError(f"{target} does not come in {precision}, only in {have}")
    return stock_recipes()[artifact_name(target, precision)]


def stock(
    targets: Sequence[Target] = TARGETS, precisions: Sequence[Precision] = ("fp32",)
) -> list[ExportRecipe]:
    """Return the recipes for formats in precisions, each once.

    Raises:
        ValueError: A format does not come in one of the precisions.
    """
    recipes = []
    for target in dict.fromkeys(targets):
        for precision in dict.fromkeys(precisions):
            recipes.append(recipe_for(target, precision))
    return recipes


def read_recipe(text: str) -> ExportRecipe:
    """Return the recipe that a name or the path of a TOML file stands for.

    Raises:
        InputError: The file is missing, no TOML, or no recipe.
        ValueError: There is no recipe of that name.
    """
    path = Path(text)
    if path.suffix == ".toml":
        return schema.read_toml(ExportRecipe, path)
    recipes = stock_recipes()
    return recipes[parse_name(text, recipes, kind="recipe")]
