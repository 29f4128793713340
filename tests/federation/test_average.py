"""Arrays in these tests can be averaged in the head, or are averaged by numpy alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.checkpoints.update import Update
from reefl_edge.federation.average import RunningAverage
from tests.fakes.submodels import deep_submodel, narrow_submodel
from tests.fakes.updates import drawn_arrays, filled_arrays, update_of

DEPTH_EMBEDDING = "accumulator.depth_embedding"
# Exits after blocks 2, 5, 8 and 11: sub-models of 3, 6, 9 and 12 blocks.
WHOLE = deep_submodel(num_exits=4, max_exit=3, regime="lora")

weights = st.one_of(st.integers(1, 5000), st.floats(0.01, 1e4))
clients = st.lists(st.tuples(st.integers(0, 3), weights), min_size=1, max_size=6)


def filled(max_exit: int, value: float) -> Update:
    submodel = WHOLE.cut(max_exit)
    return update_of(submodel, filled_arrays(submodel, value))


def averaged(updates: list[tuple[Update, float]], current: Arrays) -> Arrays:
    average = RunningAverage(WHOLE)
    for update, weight in updates:
        average.add(update, weight)
    return average.average(current)


def drawn(clients: list[tuple[int, float]], seed: int) -> list[tuple[Update, float]]:
    generator = np.random.default_rng(seed)
    return [
        (update_of(WHOLE.cut(max_exit), drawn_arrays(WHOLE.cut(max_exit), generator)), weight)
        for max_exit, weight in clients
    ]


def plain_average(updates: list[tuple[Update, float]], current: Arrays) -> Arrays:
    """Average element by element over the clients that hold it, with all of them at hand."""
    result = {}
    for name, array in current.items():
        total, weight_sum = np.zeros(array.shape), np.zeros(array.shape)
        for update, weight in updates:
            if name in update.arrays:
                holds = np.ones(array.shape)
                if name == DEPTH_EMBEDDING:
                    holds[1 + update.submodel.depth :] = 0
                total += holds * weight * update.arrays[name].astype(np.float64)
                weight_sum += holds * weight
        is_held = weight_sum > 0
        result[name] = np.where(is_held, total / np.where(is_held, weight_sum, 1), array)
    return result


def test_an_array_is_averaged_over_the_clients_that_have_it_weighted() -> None:
    current = filled_arrays(WHOLE, 9.0)
    result = averaged([(filled(0, 1.0), 10), (filled(1, 4.0), 20), (filled(1, 2.0), 10)], current)

    # (10 * 1 + 20 * 4 + 10 * 2) / 40, over all three
    np.testing.assert_array_equal(result["classifier.linear.bias"], 2.75)
    np.testing.assert_array_equal(result["blocks.2.attn.lora_q.a"], 2.75)
    # (20 * 4 + 10 * 2) / 30, over the two that have block 3
    np.testing.assert_allclose(result["blocks.3.attn.lora_q.a"], 100 / 30, rtol=1e-7)
    # nobody has block 6
    np.testing.assert_array_equal(result["blocks.6.attn.lora_q.a"], 9.0)


def test_a_row_of_the_depth_embedding_is_averaged_over_the_clients_deep_enough() -> None:
    rows = averaged([(filled(0, 1.0), 30), (filled(2, 5.0), 10)], filled_arrays(WHOLE, 9.0))[
        DEPTH_EMBEDDING
    ]

    np.testing.assert_array_equal(rows[:4], 2.0)  # the meta token's row, and blocks 0 to 2
    np.testing.assert_array_equal(rows[4:10], 5.0)  # blocks 3 to 8
    np.testing.assert_array_equal(rows[10:], 9.0)  # nobody has blocks 9 to 11


def test_without_updates_everything_stays() -> None:
    current = drawn_arrays(WHOLE, np.random.default_rng(0))
    average = RunningAverage(WHOLE)

    result = average.average(current)

    assert result.keys() == current.keys()
    assert all(np.array_equal(result[name], current[name]) for name in current)
    assert not any(rows.any() for rows in average.held().values())


def test_what_is_held_is_said_by_array_and_by_row() -> None:
    average = RunningAverage(WHOLE)
    average.add(filled(1, 1.0), 3)

    held = average.held()

    assert held["blocks.5.attn.lora_v.b"].all()
    assert not held["blocks.6.attn.lora_v.b"].any()
    assert held[DEPTH_EMBEDDING].ravel().tolist() == [True] * 7 + [False] * 6


@settings(max_examples=30)
@given(clients=clients, seed=st.integers(0, 999))
def test_any_mix_of_depths_gives_what_numpy_gives_with_everything_at_hand(
    clients: list[tuple[int, float]], seed: int
) -> None:
    current = drawn_arrays(WHOLE, np.random.default_rng(seed + 1000))
    updates = drawn(clients, seed)

    result = averaged(updates, current)

    expected = plain_average(updates, current)
    assert result.keys() == expected.keys()
    for name, array in result.items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, expected[name], rtol=1e-6, atol=1e-7)


@settings(max_examples=30)
@given(clients=clients, seed=st.integers(0, 999), data=st.data())
def test_the_order_of_updates_does_not_matter(
    clients: list[tuple[int, float]], seed: int, data: st.DataObject
) -> None:
    current = filled_arrays(WHOLE, 0.0)
    updates = drawn(clients, seed)

    one, other = averaged(updates, current), averaged(data.draw(st.permutations(updates)), current)

    for name, array in one.items():
        np.testing.assert_allclose(array, other[name], rtol=1e-6, atol=1e-7)


@settings(max_examples=30)
@given(clients=clients, seed=st.integers(0, 999), factor=st.floats(0.01, 100))
def test_only_the_ratio_of_weights_matters(
    clients: list[tuple[int, float]], seed: int, factor: float
) -> None:
    current = filled_arrays(WHOLE, 0.0)
    updates = drawn(clients, seed)

    one = averaged(updates, current)
    other = averaged([(update, factor * weight) for update, weight in updates], current)

    for name, array in one.items():
        np.testing.assert_allclose(array, other[name], rtol=1e-6, atol=1e-7)


def test_sums_are_float64() -> None:
    # In float32, the ones would vanish beside 2 ** 26.
    updates = [(filled(0, 2.0**26), 1.0), *[(filled(0, 1.0), 1.0)] * 3]

    result = averaged(updates, filled_arrays(WHOLE, 0.0))

    assert result["accumulator.meta_token"][0] == np.float32((2**26 + 3) / 4)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("inf"), float("nan")])
def test_a_weight_must_be_positive_and_finite(weight: float) -> None:
    with pytest.raises(ValueError, match="weight must be positive and finite"):
        RunningAverage(WHOLE).add(filled(0, 1.0), weight)


def test_an_update_that_does_not_fit_changes_nothing() -> None:
    average = RunningAverage(WHOLE.cut(1))
    short = filled(0, 1.0)
    del short.arrays["classifier.linear.bias"]
    other = narrow_submodel("lora", num_exits=4, max_exit=0)
    misfits = [filled(2, 1.0), short, update_of(other, filled_arrays(other, 1.0))]

    for update in misfits:
        with pytest.raises(ValueError, match=r"to exit 2|other arrays|another model or regime"):
            average.add(update, 1.0)

    assert not any(rows.any() for rows in average.held().values())
    assert not any(total.any() for total in average.sums.values())
