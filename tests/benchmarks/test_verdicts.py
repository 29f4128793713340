"""Are loads there while they are said to be, and do bars count what passed for valid?"""

from typing import Any

import psutil
import pytest

from benchmarks.verdicts import LOADS, QUIET, bars, beside


def found(*verdicts: str) -> list[Any]:
    return [{"verdict": verdict} for verdict in verdicts]


@pytest.mark.parametrize(
    ("name", "num_processes"), [(QUIET, 0), *zip(LOADS, (1, 2, 2), strict=True)]
)
def test_a_load_runs_while_its_block_does(name: str, num_processes: int) -> None:
    with beside(name, num_cores=2):
        assert len(psutil.Process().children()) == num_processes
    assert not psutil.Process().children()


def test_one_valid_row_under_load_breaks_its_bar() -> None:
    rows = {name: found("contended", "contended") for name in LOADS}
    quiet = {QUIET: found("valid", "valid", "valid", "valid", "noisy")}
    first = next(iter(LOADS))

    held = bars({**quiet, **rows})
    broken = bars({**quiet, **rows, first: found("valid", "contended")})

    assert [bar["holds"] for bar in held] == [True, True, True, True]
    assert [bar["holds"] for bar in broken] == [False, True, True, True]
