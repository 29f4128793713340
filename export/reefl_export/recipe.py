"""How is each target made: with which delegate, precision, batch size and packages?"""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from reefl_edge.errors import MissingToolchainError
from reefl_edge.manifest import Precision, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRecipe:
    """How one target is made.

    Attributes:
        target: The format.
        title: Its name in messages.
        folder: Where in a bundle its files lie.
        delegate: The accelerator library inside the target; None for none.
        precision: Of weights and activations.
        batch_size: The one batch size it takes; None for any.
        packages: What makes it; their versions are part of the artifact's identity.
    """

    target: Target
    title: str
    folder: str
    delegate: str | None
    precision: Precision
    batch_size: int | None
    packages: tuple[str, ...]

    def toolchain(self) -> dict[str, str]:
        """Return the installed version of each package, importing none of them.

        Raises:
            MissingToolchainError: One is not installed.
        """
        versions = {}
        for package in self.packages:
            try:
                versions[package] = version(package)
            except PackageNotFoundError as error:
                raise MissingToolchainError.for_extra(
                    f"exporting to {self.title}", package, self.target
                ) from error
        return versions


RECIPES: dict[Target, ExportRecipe] = {
    "executorch": ExportRecipe(
        target="executorch",
        title="ExecuTorch",
        folder=".",
        delegate="xnnpack",
        precision="fp32",
        batch_size=1,
        packages=("torch", "executorch", "torchao"),
    ),
    "onnx": ExportRecipe(
        target="onnx",
        title="ONNX",
        folder="onnx",
        delegate=None,
        precision="fp32",
        batch_size=None,
        packages=("torch", "onnx", "onnxscript", "onnx-ir"),
    ),
    "coreml": ExportRecipe(
        target="coreml",
        title="Core ML",
        folder="coreml",
        delegate=None,
        precision="fp32",
        batch_size=1,
        packages=("torch", "coremltools"),
    ),
}
