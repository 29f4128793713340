"""Depths by number: as in the paper, and as the federations that it is compared with."""

import pytest

from reefl_edge.federation.depths import Depth, TierDepths, Tiers


@pytest.mark.parametrize(
    ("tiers", "expected"),
    [
        ("round-robin", [0, 1, 2, 0, 1, 2]),
        ("maximum", [2] * 6),
        ("shallowest", [0] * 6),
        ("only-deepest", [None, None, 2, None, None, 2]),
    ],
)
def test_tiers_give_every_client_a_depth_or_leave_it_out(
    tiers: Tiers, expected: list[int | None]
) -> None:
    depths = TierDepths(tiers, num_exits=3)
    found = [depths.of(f"client-{index}", index) for index in range(6)]
    assert found == [None if each is None else Depth(max_exit=each) for each in expected]
