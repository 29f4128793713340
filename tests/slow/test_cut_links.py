"""Sixty cuts of a link at random moments, half of them of each kind."""

from pathlib import Path

import pytest

from tests.errands import cut_once, uncut_s
from tests.remotes import Remote

NUM_CUTS = 30


@pytest.mark.slow
def test_cuts_at_random_moments_leave_nothing_amiss(remote: Remote, tmp_path: Path) -> None:
    longest_s = uncut_s(remote, tmp_path)

    cuts = [
        cut_once(remote, tmp_path, seed=1000 + seed, longest_s=longest_s)
        for seed in range(NUM_CUTS)
    ]

    assert sum(cuts) > NUM_CUTS / 2
