"""Honest updates here move every array by noise of about one deviation, from where it was zero."""

from dataclasses import replace

import numpy as np
import pytest

from reefl_edge.checkpoints.update import Update
from reefl_edge.errors import RefusedUpdateError
from reefl_edge.federation.average import RunningAverage
from reefl_edge.federation.guard import Expected, Guard
from tests.fakes.poison import POISONS
from tests.fakes.submodels import deep_submodel
from tests.fakes.updates import drawn_arrays, filled_arrays, update_of

WHOLE = deep_submodel(num_exits=4, max_exit=3, regime="lora")
NUM_CLIENTS = 40


EXPECTED = [
    Expected(
        client="",
        submodel=WHOLE.cut(max_exit),
        base_sha256=letter * 64,
        server_round=1,
        start=filled_arrays(WHOLE.cut(max_exit), 0.0),
        max_examples=1000,
    )
    for max_exit, letter in enumerate("abcd")
]


def expected_of(index: int, *, server_round: int = 1) -> Expected:
    """Say what is expected of a client; depths go round."""
    return replace(EXPECTED[index % 4], client=f"client-{index}", server_round=server_round)


def honest(expected: Expected, generator: np.random.Generator, *, scale: float = 0.01) -> Update:
    return update_of(
        expected.submodel,
        drawn_arrays(expected.submodel, generator, scale=scale),
        base_sha256=expected.base_sha256,
        server_round=expected.server_round,
        num_examples=int(generator.integers(1, 1001)),
    )


def test_a_thousand_poisoned_updates_are_refused_and_every_honest_one_is_averaged() -> None:
    generator = np.random.default_rng(0)
    guard, average = Guard(max_norm=10.0), RunningAverage(WHOLE)
    num_refused = 0
    for server_round in range(1, 26):
        guard.begin_round()
        for index in range(NUM_CLIENTS):
            expected = expected_of(index, server_round=server_round)
            update = honest(expected, generator, scale=0.01 * generator.uniform(0.5, 2))
            poison = POISONS[num_refused % len(POISONS)]
            # Its own error, and no other, whatever the numbers in it.
            with pytest.raises(RefusedUpdateError, match=f"^client-{index}: the update "):
                guard.check(poison(update, generator), expected)
            num_refused += 1
            guard.check(update, expected)
            average.add(update, 1.0)

    assert num_refused == 1000
    assert average.weights["classifier.linear.bias"][0] == 25 * NUM_CLIENTS


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"submodel": WHOLE.cut(2)},
            "the update goes to exit 1, shallower than exit 2, which was assigned",
        ),
        (
            {"submodel": WHOLE.cut(0)},
            "the update goes to exit 1, deeper than exit 0, which was assigned",
        ),
        (
            {"submodel": WHOLE.cut(1).with_regime("ssf")},
            "the update is of regime 'lora', and asked for was 'ssf'",
        ),
        ({"server_round": 2}, "the update is of round 1, and this is round 2"),
        (
            {"base_sha256": "f" * 64},
            "the update was trained from weights bbbbbbbbbbbb, and those of the round are "
            "ffffffffffff",
        ),
        ({"max_examples": 4}, "the update is of 5 examples, and from 1 to 4 are plausible"),
    ],
)
def test_what_was_not_asked_for_is_named(changes: dict[str, object], problem: str) -> None:
    expected = expected_of(1)
    update = update_of(
        expected.submodel, expected.start, base_sha256=expected.base_sha256, num_examples=5
    )

    with pytest.raises(RefusedUpdateError) as caught:
        Guard().check(update, replace(expected, **changes))  # type: ignore[arg-type]

    assert str(caught.value) == f"client-1: {problem}"


def test_arrays_that_do_not_fit_are_named() -> None:
    expected = expected_of(0)
    update = honest(expected, np.random.default_rng(0))
    update.arrays["left.over"] = update.arrays.pop("accumulator.meta_token")

    with pytest.raises(RefusedUpdateError, match=r"accumulator\.meta_token is missing, and 1 more"):
        Guard().check(update, expected)


def test_the_second_update_of_a_client_in_a_round_is_refused() -> None:
    guard, expected = Guard(), expected_of(3)
    update = honest(expected, np.random.default_rng(0))
    guard.check(update, expected)

    with pytest.raises(RefusedUpdateError, match="client-3 already sent its update of round 1"):
        guard.check(update, expected)

    guard.begin_round()  # the round is repeated
    guard.check(update, expected)


def test_a_refused_update_does_not_take_the_place_of_an_honest_one() -> None:
    guard, expected = Guard(), expected_of(3)
    update = honest(expected, np.random.default_rng(0))

    with pytest.raises(RefusedUpdateError):
        guard.check(replace(update, arrays={}), expected)

    guard.check(update, expected)


def moved_by(distance: float, expected: Expected) -> Update:
    arrays = {name: array.copy() for name, array in expected.start.items()}
    arrays["accumulator.meta_token"][0] += distance
    return update_of(expected.submodel, arrays, base_sha256=expected.base_sha256)


def test_the_first_round_is_bounded_absolutely_and_later_ones_by_what_was_usual() -> None:
    guard, shallow = Guard(max_norm=50.0), [expected_of(4 * index) for index in range(9)]
    with pytest.raises(RefusedUpdateError, match="moves its arrays by 51, and 50 is the most"):
        guard.check(moved_by(51.0, shallow[0]), shallow[0])
    for distance, expected in enumerate(shallow, start=1):  # 1 to 9; 2.2 deviations are 6.67
        guard.check(moved_by(distance, expected), expected)
        assert guard.bound(0) == 50.0  # until the round is over

    guard.begin_round()

    # The median 5, six deviations of 1.4826 times 2.
    assert guard.bound(0) == pytest.approx(5 + 6 * 1.4826 * 2)
    assert guard.bound(1) == 50.0  # nobody has gone so deep yet
    with pytest.raises(RefusedUpdateError, match=r"by 23, and 22\.79 is the most"):
        guard.check(moved_by(23.0, shallow[0]), shallow[0])
    guard.check(moved_by(22.0, shallow[0]), shallow[0])


def test_where_all_moved_alike_some_more_is_still_usual() -> None:
    guard = Guard()
    for index in range(0, 40, 4):
        guard.check(moved_by(2.0, expected_of(index)), expected_of(index))
    guard.begin_round()

    assert guard.bound(0) == 2 + 6 * 0.5 * 2


def test_norms_that_are_not_bounded_pass_while_they_are_finite() -> None:
    guard, expected = Guard(max_norm=1.0, bounds_norms=False), expected_of(0)
    far = replace(expected, start=filled_arrays(expected.submodel, -3e38))

    with pytest.raises(RefusedUpdateError, match="moves its arrays by inf"):
        guard.check(
            update_of(far.submodel, filled_arrays(far.submodel, 3e38), base_sha256="a" * 64), far
        )

    guard.check(moved_by(1e6, expected), expected)


def test_a_guard_that_was_stopped_knows_what_is_usual() -> None:
    guard, resumed = Guard(), Guard()
    for index in range(0, 40, 4):
        guard.check(moved_by(1.0 + index / 7, expected_of(index)), expected_of(index))

    resumed.load(guard.state())

    guard.begin_round()
    assert resumed.bound(0) == guard.bound(0) < 100.0


def test_a_norm_that_allows_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="largest norm of an update must be positive, got 0"):
        Guard(max_norm=0.0)
