"""A link that is cut leaves no process on the device, and no half file there or here."""

from pathlib import Path

from tests.errands import cut_once, uncut_s
from tests.remotes import Remote


def test_a_cut_at_a_random_moment_leaves_nothing_amiss(remote: Remote, tmp_path: Path) -> None:
    longest_s = uncut_s(remote, tmp_path)

    cuts = [cut_once(remote, tmp_path, seed=seed, longest_s=longest_s) for seed in range(3)]

    assert any(cuts)
