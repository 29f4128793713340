"""Does each operator compute what Apple's reference says, written here with numpy?

Letters: B batch, N tokens, D features in, F features out, H heads, W width of a head.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from reefl_export.coreml.mil.operators import OPERATORS, UnsupportedError

Inputs = dict[str, Any]
FALSE, TRUE = np.array(False), np.array(True)


def numbers(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def axis(index: int) -> NDArray[np.int32]:
    return np.array(index, np.int32)


X = numbers(2, 3, 4)
Y = numbers(2, 3, 4, seed=1)
WEIGHT, BIAS = numbers(5, 4, seed=2), numbers(5, seed=3)
IMAGES = numbers(1, 3, 8, 12)
KERNEL = numbers(5, 3, 4, 2, seed=4)
QUERY, KEY, VALUE = (numbers(1, 2, 6, 4, seed=seed) for seed in (5, 6, 7))
CONV: Inputs = {
    "x": IMAGES,
    "weight": KERNEL,
    "bias": BIAS,
    "strides": np.array([4, 2]),
    "pad_type": "valid",
    "pad": np.zeros(4, np.int32),
    "dilations": np.array([1, 1]),
    "groups": axis(1),
}
NORM: Inputs = {
    "x": X,
    "axes": np.array([-1]),
    "gamma": numbers(4, seed=8),
    "beta": numbers(4, seed=9),
    "epsilon": np.float32(1e-6),
}


def tensor(value: Any) -> Any:
    """Return an input as operators take it."""
    if isinstance(value, tuple):
        return tuple(map(tensor, value))
    return value if isinstance(value, str) else torch.from_numpy(np.asarray(value))


def tensors(inputs: Inputs) -> Inputs:
    return {name: tensor(value) for name, value in inputs.items()}


def gelu(x: NDArray[np.float32]) -> NDArray[Any]:
    given: NDArray[Any] = x * (1 + np.vectorize(math.erf)(x / 2**0.5)) / 2
    return given


def softmax(x: NDArray[Any], axis: int) -> NDArray[Any]:
    exponentials = np.exp(x - x.max(axis, keepdims=True))
    shares: NDArray[Any] = exponentials / exponentials.sum(axis, keepdims=True)
    return shares


def layer_norm() -> NDArray[Any]:
    centred = X - X.mean(-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + NORM["epsilon"])
    normed: NDArray[Any] = centred / deviation * NORM["gamma"] + NORM["beta"]
    return normed


def convolved() -> NDArray[Any]:
    """Every window of IMAGES, 4 rows and 2 columns further each, times KERNEL."""
    given = np.empty((1, 5, 2, 6))
    for row, column in np.ndindex(2, 6):
        window = IMAGES[0, :, 4 * row :, 2 * column :][:, :4, :2]
        given[0, :, row, column] = (KERNEL * window).sum((1, 2, 3)) + BIAS
    return given


CASES: list[tuple[str, Inputs, NDArray[Any]]] = [
    ("add", {"x": X, "y": Y[:1]}, X + Y[:1]),
    ("mul", {"x": X, "y": Y}, X * Y),
    ("relu", {"x": X}, np.where(X > 0, X, 0)),
    ("gelu", {"x": X, "mode": "EXACT"}, gelu(X)),
    ("softmax", {"x": X, "axis": axis(1)}, softmax(X, 1)),
    ("softmax", {"x": 1000 * X, "axis": axis(-1)}, softmax(1000 * X, -1)),
    ("layer_norm", NORM, layer_norm()),
    ("linear", {"x": X, "weight": WEIGHT, "bias": BIAS}, X @ WEIGHT.T + BIAS),
    (
        "matmul",
        {"x": QUERY, "y": KEY, "transpose_x": FALSE, "transpose_y": TRUE},
        np.einsum("bhnw,bhmw->bhnm", QUERY, KEY),
    ),
    (
        "matmul",
        {"x": QUERY, "y": KEY, "transpose_x": TRUE, "transpose_y": FALSE},
        np.einsum("bhnw,bhnv->bhwv", QUERY, KEY),
    ),
    (
        "scaled_dot_product_attention",
        {"query": QUERY, "key": KEY, "value": VALUE},
        softmax(QUERY @ KEY.swapaxes(-1, -2) / 4**0.5, -1) @ VALUE,
    ),
    ("conv", CONV, convolved()),
    (
        "concat",
        {"values": (X, Y[:, :1]), "axis": axis(1), "interleave": FALSE},
        np.concatenate([X, Y[:, :1]], 1),
    ),
    (
        "slice_by_index",
        {
            "x": X,
            "begin": np.array([0, 1, 0]),
            "end": np.array([2, 2, 0]),
            "end_mask": np.array([False, False, True]),
        },
        X[:, 1:2],
    ),
    (
        "slice_by_index",
        {
            "x": X,
            "begin": np.array([1, -1, 1]),
            "end": np.array([2, 0, 3]),
            "begin_mask": np.array([True, False, False]),
            "end_mask": np.array([True, False, False]),
            "squeeze_mask": np.array([False, True, False]),
        },
        X[:, -1, 1:3],
    ),
    ("reshape", {"x": X, "shape": np.array([2, 6, 2])}, X.reshape(2, 6, 2)),
    ("transpose", {"x": X, "perm": np.array([2, 0, 1])}, X.transpose(2, 0, 1)),
    ("cast", {"x": X, "dtype": "fp32"}, X),
]


@pytest.mark.parametrize(
    ("name", "inputs", "expected"),
    CASES,
    ids=[f"{name}-{number}" for number, (name, _, _) in enumerate(CASES)],
)
def test_an_operator_computes_what_the_reference_says(
    name: str, inputs: Inputs, expected: NDArray[Any]
) -> None:
    given = OPERATORS[name](**tensors(inputs))

    assert isinstance(given, torch.Tensor)
    assert given.dtype == torch.float32
    np.testing.assert_allclose(given.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sizes", [(1, 2), (3,), (1, 1, 1)])
def test_split_gives_the_parts_in_order(sizes: tuple[int, ...]) -> None:
    inputs = {"x": X, "split_sizes": np.array(sizes), "axis": axis(1)}

    parts = OPERATORS["split"](**tensors(inputs))

    for part, expected in zip(parts, np.split(X, np.cumsum(sizes)[:-1], 1), strict=True):
        np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize(
    ("grid", "shape"),
    [((4, 1), (4, 6)), ((2, 3), (4, 6)), ((1, 1), (4, 6)), ((2, 1, 1), (4, 3, 2))],
)
def test_scaled_integers_stand_for_their_multiple_of_the_scale_of_their_block(
    grid: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    data = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    scale = np.abs(numbers(*grid))

    inputs = tensors({"data": data, "scale": scale})
    weights = OPERATORS["constexpr_blockwise_shift_scale"](**inputs)

    assert isinstance(weights, torch.Tensor)
    for place in np.ndindex(shape):
        block = tuple(i * g // s for i, g, s in zip(place, grid, shape, strict=True))
        assert weights[place] == data[place] * scale[block]


@pytest.mark.parametrize("grid", [(1, 1), (2, 1), (4, 3)])
def test_palettized_weights_stand_for_the_entry_of_the_palette_of_their_block(
    grid: tuple[int, int],
) -> None:
    shape = (4, 6)
    indices = np.random.default_rng(0).integers(0, 16, shape).astype(np.uint8)
    palettes = numbers(*grid, 16, 1)

    weights = OPERATORS["constexpr_lut_to_dense"](**tensors({"indices": indices, "lut": palettes}))

    assert isinstance(weights, torch.Tensor)
    for place in np.ndindex(shape):
        block = tuple(i * g // s for i, g, s in zip(place, grid, shape, strict=True))
        assert weights[place] == palettes[(*block, indices[place], 0)]


@pytest.mark.parametrize(
    ("name", "inputs", "complaint"),
    [
        ("gelu", {"x": X, "mode": "TANH_APPROXIMATION"}, "mode TANH_APPROXIMATION"),
        ("conv", {**CONV, "pad_type": "same"}, "pad_type same"),
        ("conv", {**CONV, "groups": axis(3)}, "groups 3"),
        ("conv", {**CONV, "dilations": np.array([2, 1])}, "dilations"),
        ("layer_norm", {**NORM, "axes": np.array([0, 1])}, "axes"),
        ("concat", {"values": (X, Y), "axis": axis(1), "interleave": TRUE}, "interleave True"),
        ("cast", {"x": X, "dtype": "int32"}, "dtype int32"),
    ],
)
def test_a_use_that_programs_made_here_do_not_make_is_refused(
    name: str, inputs: Inputs, complaint: str
) -> None:
    with pytest.raises(UnsupportedError, match=complaint):
        OPERATORS[name](**tensors(inputs))


def test_a_palette_of_vectors_is_refused() -> None:
    with pytest.raises(ValueError, match="palettes of 2 numbers"):
        OPERATORS["constexpr_lut_to_dense"](
            indices=torch.zeros((2, 2), dtype=torch.uint8), lut=torch.zeros(1, 1, 16, 2)
        )


def test_no_operator_goes_untested() -> None:
    tested = {name for name, _, _ in CASES}

    assert (
        tested
        | {
            "split",
            "constexpr_blockwise_shift_scale",
            "constexpr_lut_to_dense",
        }
        == OPERATORS.keys()
    )
