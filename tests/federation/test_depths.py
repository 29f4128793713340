"""Does each client go as deep as its number, or its device, says?"""

import pytest

from reefl_edge.errors import InputError
from reefl_edge.federation.depths import AssignedDepths, Depth, TierDepths, Tiers, missing_exits
from tests.fakes.assignments import assignment_of, device_at
from tests.fakes.submodels import deep_submodel

WHOLE = deep_submodel(num_exits=4, max_exit=3)


PI, PHONE, WATCH = device_at("pi", 1), device_at("phone", 3), device_at("watch", None)


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


def test_an_assignment_goes_by_the_devices_name_and_says_how_long_its_round_takes() -> None:
    depths = AssignedDepths(assignment_of(WHOLE, PI, PHONE, WATCH), WHOLE, is_shared=False)

    assert depths.of("phone", 0) == Depth(max_exit=3, device_s=46.0)
    assert depths.of("pi", 0) == Depth(max_exit=1, device_s=26.0)
    assert depths.of("watch", 0) is None, "it meets the budget at no exit"


def test_a_device_that_the_assignment_does_not_name_is_refused() -> None:
    depths = AssignedDepths(assignment_of(WHOLE, PI, PHONE), WHOLE, is_shared=False)

    with pytest.raises(InputError, match="does not name laptop, only pi, phone"):
        depths.of("laptop", 0)


def test_many_clients_are_simulated_of_few_devices() -> None:
    depths = AssignedDepths(assignment_of(WHOLE, PI, PHONE, WATCH), WHOLE, is_shared=True)

    found = [depths.of(f"client-{index}", index) for index in range(4)]

    assert [None if depth is None else depth.max_exit for depth in found] == [1, 3, None, 1]


def test_an_assignment_of_an_exit_that_the_model_lacks_is_refused() -> None:
    with pytest.raises(InputError, match="gives phone exit 5, but the model has exits 0 to 3"):
        AssignedDepths(assignment_of(WHOLE, PI, device_at("phone", 5)), WHOLE, is_shared=False)


def test_an_assignment_of_another_network_is_refused() -> None:
    other = assignment_of(deep_submodel(num_exits=6, max_exit=5), PI)

    with pytest.raises(InputError, match="measured with another network"):
        AssignedDepths(other, WHOLE, is_shared=False)


def test_exits_that_nobody_is_deep_enough_for_are_those_beyond_the_deepest() -> None:
    assert list(missing_exits([Depth(max_exit=0), Depth(max_exit=1)], WHOLE)) == [2, 3]
    assert list(missing_exits([Depth(max_exit=3)], WHOLE)) == []
    assert list(missing_exits([], WHOLE)) == [0, 1, 2, 3]
