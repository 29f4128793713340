"""An operator that a format cannot take is named, with the module that uses it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from reefl_edge.bundles.artifacts import Target
from reefl_edge.errors import MissingToolchainError
from reefl_edge.models.arrays import random_network
from reefl_edge.models.vit import PatchEmbed
from reefl_export.conversion import Conversion
from reefl_export.executorch.exporter import export_executorch
from reefl_export.onnx.exporter import export_onnx
from reefl_export.recipe import recipe_for
from tests.fakes.exports import conversion_of
from tests.fakes.submodels import tiny_submodel


class Unconvertible(PatchEmbed):
    """Computes what no format has an operator for."""

    def forward(self, images: Tensor) -> Tensor:
        """Turn images into tokens that are no network's."""
        bessel: Tensor = torch.special.bessel_j0(super().forward(images))
        return bessel


# Core ML's is held in test_coreml.py.
@pytest.mark.parametrize(
    ("target", "export", "where"),
    [("onnx", export_onnx, "all segments"), ("executorch", export_executorch, "segment_0")],
)
def test_an_operator_a_format_lacks_is_named_with_its_module(
    target: Target, export: Callable[[Conversion], None], where: str, tmp_path: Path
) -> None:
    network = random_network(tiny_submodel(num_blocks=2, max_exit=0), seed=0)
    network.patch_embed = Unconvertible(width=16, patch_size=8)
    conversion = conversion_of(network, tmp_path, recipe=recipe_for(target))

    with pytest.raises(
        MissingToolchainError, match=rf"special_bessel_j0 in patch_embed \({where}\)"
    ):
        export(conversion)

    assert not list(tmp_path.glob("*.pte"))
