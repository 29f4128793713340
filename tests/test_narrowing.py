"""Numbers of a narrower precision, and how what holds them is called."""

import numpy as np
import pytest

from reefl_edge.narrowing import halved, input_point, origin_of, quantised


def test_a_weight_is_rounded_channel_by_channel() -> None:
    weight = np.array([[0.3, -1.0, 0.24], [0.0, 0.0, 0.0], [127.0, -2.4, 2.6]], np.float32)

    rounded, scale = quantised(weight)

    assert rounded.dtype == np.int8
    np.testing.assert_array_equal(rounded.T, [[38, -127, 30], [0, 0, 0], [127, -2, 3]])
    np.testing.assert_allclose(scale, [1 / 127, 1, 1])


def test_neighbouring_weights_never_saturate_16_bits() -> None:
    weight = np.random.default_rng(0).normal(size=(32, 64)).astype(np.float32)
    weight[0] = 1

    rounded, scale = quantised(weight)

    columns = rounded.T.astype(int)
    assert np.abs(columns[:, :-1] + columns[:, 1:]).max() * 255 < 2**15
    assert np.abs(columns).max() * 255 < 2**15
    np.testing.assert_allclose(columns * scale[:, None], weight, atol=scale.max() / 2 * 1.01)


@pytest.mark.parametrize(
    ("extremes", "scale", "zero_point"),
    [((-1.0, 1.55), 0.01, 100), ((0.3, 0.51), 0.002, 0), ((-2.55, -1.0), 0.01, 255)],
)
def test_the_range_of_activations_holds_zero(
    extremes: tuple[float, float], scale: float, zero_point: int
) -> None:
    found = input_point(*extremes)

    assert [(number.dtype.name, number.shape) for number in found] == [
        ("float32", ()),
        ("uint8", ()),
    ]
    assert float(found[0]) == pytest.approx(scale)
    assert int(found[1]) == zero_point


def test_activations_that_never_change_have_a_scale() -> None:
    assert [float(number) for number in input_point(0.0, 0.0)] == [1.0, 0.0]


def test_halves_are_the_nearest_there_are() -> None:
    array = np.array([1 + 2**-12, 2049.0, -0.75], np.float32)

    np.testing.assert_array_equal(halved(array), np.array([1.0, 2048.0, -0.75], np.float16))


def test_a_stored_array_leads_back_to_the_one_it_was_made_from() -> None:
    known = {"fc1.weight", "norm.scale"}

    stored = ("fc1.weight", "fc1.weight_int8", "fc1.weight_scale", "norm.scale", "fc1.input_scale")
    assert [origin_of(name, known) for name in stored] == [
        "fc1.weight", "fc1.weight", "fc1.weight", "norm.scale", None,
    ]  # fmt: skip
