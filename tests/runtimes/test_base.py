"""What all runtimes share."""

import numpy as np
import pytest

from reefl_edge.runtimes.base import Tensors, in_batches


@pytest.mark.parametrize(
    ("total", "sizes", "parts"),
    [(5, (1, 4), [4, 1]), (5, (1,), [1] * 5), (19, (1, 4, 16), [16, 1, 1, 1]), (4, (1, 4), [4])],
)
def test_a_batch_is_run_in_the_largest_parts_that_fit(
    total: int, sizes: tuple[int, ...], parts: list[int]
) -> None:
    ran = []

    def double(size: int, part: Tensors) -> Tensors:
        assert {len(array) for array in part} == {size}
        ran.append(size)
        return tuple(2 * array for array in part)

    rows = np.arange(total)
    doubled, tens = in_batches(double, sizes, (rows, 10 * rows))

    assert ran == parts
    np.testing.assert_array_equal(doubled, 2 * rows)
    np.testing.assert_array_equal(tens, 20 * rows)
