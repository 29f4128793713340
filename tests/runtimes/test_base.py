"""What all runtimes share."""

import logging
import os
from contextlib import AbstractContextManager
from functools import partial

import numpy as np
import pytest

from reefl_edge.errors import InputError
from reefl_edge.runtimes.base import (
    Tensors,
    check_threads,
    in_batches,
    refusal,
    translated,
)


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


def test_threads_are_at_most_the_cores_of_the_machine() -> None:
    check_threads(os.cpu_count() or 1)

    for threads in (0, -1, (os.cpu_count() or 1) + 1, 1000, 10**20):
        with pytest.raises(ValueError, match=f"threads must be from 1 to .*, got {threads}"):
            check_threads(threads)


def test_what_an_engine_says_in_several_lines_becomes_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, "reefl_edge"):
        error = refusal("engine 1.0", "load it", RuntimeError("\nno such node\n  at line 7\n"))

    assert str(error) == "engine 1.0 cannot load it: no such node"
    assert [record.message for record in caplog.records] == ["engine 1.0: at line 7"]
    assert str(refusal("engine", "run", RuntimeError())) == "engine cannot run: RuntimeError"


def test_what_an_engine_raises_is_an_input_error_and_nothing_else_is() -> None:
    translating = partial(translated, "engine", "run segment_1", (RuntimeError,))

    with pytest.raises(InputError, match="engine cannot run segment_1: no such shape"):
        _raise(RuntimeError("no such shape"), translating())
    with pytest.raises(KeyError):
        _raise(KeyError("a bug"), translating())


def _raise(error: Exception, context: AbstractContextManager[None]) -> None:
    with context:
        raise error
