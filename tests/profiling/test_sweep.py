"""How many threads are tried, and which number is taken."""

from dataclasses import replace

import pytest

from reefl_edge.devices.cores import CoreCluster
from reefl_edge.profiling.sweep import fastest_threads, thread_counts
from tests.fakes.devices import HOST
from tests.fakes.measurements import row


@pytest.mark.parametrize(
    ("fast", "counts"), [((6, 7, 4, 5), (1, 2, 4)), ((0, 1), (1, 2)), ((0,), (1,))]
)
def test_one_two_and_all_fast_cores_are_tried(
    fast: tuple[int, ...], counts: tuple[int, ...]
) -> None:
    clusters = (
        CoreCluster(cores=fast, capacity=1024),
        CoreCluster(cores=(10, 11, 12), capacity=300),
    )

    assert thread_counts(replace(HOST, num_cores=16, clusters=clusters)) == counts


def test_the_fastest_is_taken_unless_it_is_hardly_faster() -> None:
    one, two, four = row(3, 10.0), row(3, 6.0, threads=2), row(3, 5.8, threads=4)

    assert fastest_threads([one, two, four]) == 2
    assert fastest_threads([one, two, row(3, 4.0, threads=4)]) == 4
    assert fastest_threads([one, row(3, 14.0, threads=2)]) == 1
