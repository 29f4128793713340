"""Do named architectures measure what their papers say?"""

import numpy as np
import pytest

from reefl_edge.architectures import ARCHITECTURES, named_submodel
from reefl_edge.demo.digits import load_digits, split_digits
from reefl_edge.submodel import Submodel


def num_block_weights(submodel: Submodel) -> int:
    return sum(spec.num_elements for spec in submodel.arrays() if ".0." in spec.name)


@pytest.mark.parametrize(
    ("name", "width", "num_weights"),
    [("deit_tiny", 192, 444_864), ("deit_small", 384, 1_774_464), ("deit_base", 768, 7_087_872)],
)
def test_deit_has_the_size_of_its_paper(name: str, width: int, num_weights: int) -> None:
    submodel = named_submodel(name)

    assert submodel.architecture.width == width
    assert submodel.architecture.width // submodel.architecture.num_heads == 64
    assert submodel.architecture.num_tokens == 197
    assert submodel.depth == 12
    assert num_block_weights(submodel) == num_weights


def test_options_change_what_they_name() -> None:
    submodel = named_submodel(
        "deit_tiny", num_classes=7, num_exits=3, max_exit=1, regime="frozen", image_size=96
    )

    assert submodel.architecture.num_classes == 7
    assert submodel.architecture.image_size == 96
    assert submodel.exit_blocks == (3, 7)
    assert submodel.regime == "frozen"


def test_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(ValueError, match="'deit_smal'; did you mean deit_small"):
        named_submodel("deit_smal")


def test_digits_are_normalised_by_their_own_statistics() -> None:
    digits = ARCHITECTURES["digits"]
    public = split_digits(load_digits(image_size=digits.image_size), seed=0).public
    scaled = public.images(np.arange(len(public.labels))) / 255

    assert scaled.mean() == pytest.approx(digits.mean[0], abs=0.003)
    assert scaled.std() == pytest.approx(digits.std[0], abs=0.003)
