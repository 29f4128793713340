"""Does each axis of growth change one size, and is a straight line told from a curve?"""

import pytest

from benchmarks.growth import AXES, Axis, grown, over_the_line, sizes_of


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("is_quick", [True, False])
def test_networks_of_an_axis_differ_in_it_alone(axis: Axis, is_quick: bool) -> None:
    sizes = sizes_of(axis, is_quick=is_quick)
    submodels = [grown(axis, size, is_quick=is_quick) for size in sizes]
    found = {
        "blocks": [submodel.depth for submodel in submodels],
        "width": [submodel.architecture.width for submodel in submodels],
        "exits": [submodel.num_exits for submodel in submodels],
        "image size": [submodel.architecture.image_size for submodel in submodels],
    }

    assert found.pop(axis) == list(sizes)
    assert all(len(set(same)) == 1 for same in found.values())


def test_what_doubles_with_its_axis_lies_on_the_line_and_what_squares_does_not() -> None:
    figures = {str(size): {"linear": 3 * size + 1, "square": size**2} for size in (1, 2, 4)}

    assert over_the_line([1, 2, 4], figures) == {"linear": 1.0, "square": 1.6}
