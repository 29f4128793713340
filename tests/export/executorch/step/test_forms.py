"""Do the forms compute what the operators do for which they stand?"""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from reefl_edge.models.vit import PatchEmbed
from reefl_export.executorch.step.forms import FORMS
from reefl_export.executorch.step.layers import LAYERS

aten = torch.ops.aten


def noise(*shape: int, scale: float = 1.0, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


@pytest.mark.parametrize("dims", [[0], [1], [2], [0, 1], [-1, 0], [0, 1, 2]])
@pytest.mark.parametrize("keepdim", [False, True])
def test_sums(dims: list[int], keepdim: bool) -> None:
    array = noise(2, 3, 4)

    summed = FORMS[aten.sum.dim_IntList](array, dims, keepdim)

    torch.testing.assert_close(summed, array.sum(dims, keepdim))


def test_layer_norm_and_its_gradients() -> None:
    rows, gradient = noise(2, 3, 8, scale=3) + 2, noise(2, 3, 8, seed=1)
    weight, bias = noise(8, seed=2), noise(8, seed=3)
    args = (rows, [8], weight, bias, 1e-6)
    expected, mean, factor = aten.native_layer_norm(*args)
    of_all = [True, True, True]
    gradients = aten.native_layer_norm_backward(
        gradient, rows, [8], mean, factor, weight, bias, of_all
    )

    normed, *kept = FORMS[aten.native_layer_norm.default](*args)
    backward = FORMS[aten.native_layer_norm_backward.default]

    torch.testing.assert_close(normed, expected)
    for actual, wanted in zip(
        backward(gradient, rows, [8], *kept, weight, bias, of_all), gradients, strict=True
    ):
        torch.testing.assert_close(actual, wanted, atol=1e-5, rtol=1e-5)
    assert backward(gradient, rows, [8], *kept, weight, bias, [False] * 3) == (None, None, None)


def test_gradient_of_gelu_at_zero_and_far_out() -> None:
    rows = torch.cat([torch.tensor([0.0, -0.0, 1e-20, -1e-20, 30.0, -30.0]), noise(100, scale=3)])

    gradient = FORMS[aten.gelu_backward.default](torch.ones(106), rows)

    expected = aten.gelu_backward(torch.ones(106), rows)
    torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 200.0])
def test_log_softmax_of_logits_far_apart_and_its_gradient(scale: float) -> None:
    logits, gradient = noise(3, 5, scale=scale), noise(3, 5, seed=1)

    log_probs = FORMS[aten._log_softmax.default](logits, -1, False)

    torch.testing.assert_close(log_probs, logits.log_softmax(-1), atol=scale * 1e-6, rtol=1e-6)
    args = (gradient, logits.log_softmax(-1), -1, torch.float32)
    torch.testing.assert_close(
        FORMS[aten._log_softmax_backward_data.default](*args),
        aten._log_softmax_backward_data(*args),
    )


@pytest.mark.parametrize(
    "values", [[3.0], [2.0, 1.0], [1.0, 1.0, 1.0], [5.0, 1.0, 1.0 + 1e-7, 1.0], [-1.0, 0.0, -2.0]]
)
def test_the_first_of_the_lowest_and_of_the_highest(values: Sequence[float]) -> None:
    array = torch.tensor(values)

    assert FORMS[aten.argmin.default](array) == array.argmin()
    assert FORMS[aten.argmax.default](array) == array.argmax()


def test_one_array_is_not_put_beside_others() -> None:
    array = noise(2, 3)

    assert FORMS[aten.cat.default]([array], 1) is array
    assert FORMS[aten.stack.default]([array], 1).shape == (2, 1, 3)
    torch.testing.assert_close(FORMS[aten.cat.default]([array, array], 1), array.repeat(1, 2))


def test_comparisons_give_ones_and_zeros() -> None:
    indices = torch.arange(3)

    assert FORMS[aten.eq.Tensor](indices, torch.tensor(1)).tolist() == [0.0, 1.0, 0.0]
    assert FORMS[aten.eq.Tensor](indices, torch.tensor(2.0)).tolist() == [0.0, 0.0, 1.0]
    chosen = FORMS[aten.where.self](torch.tensor(True), torch.tensor(0.1), torch.tensor(7.0))
    assert chosen == torch.tensor(0.1)


def test_parts_of_gradients_lie_among_zeros() -> None:
    row, part = noise(2, 4), noise(2, 2, 4)

    select, cut = FORMS[aten.select_backward.default], FORMS[aten.slice_backward.default]

    for index in (0, 2, -1):
        at = ([2, 3, 4], 1, index)
        torch.testing.assert_close(select(row, *at), aten.select_backward(row, *at))
    for start in (0, 1):
        span = ([2, 3, 4], 1, start, start + 2, 1)
        torch.testing.assert_close(cut(part, *span), aten.slice_backward(part, *span))


def test_attention_and_its_gradients() -> None:
    arrays = [noise(2, 3, 5, 4, seed=seed).requires_grad_() for seed in range(3)]
    query, key, value = arrays
    gradient = noise(2, 3, 5, 4, seed=9)
    attend = functional.scaled_dot_product_attention

    attended = LAYERS[attend](query, key, value, scale=0.7)
    expected = attend(query, key, value, scale=0.7)

    torch.testing.assert_close(attended, expected)
    for actual, wanted in zip(
        torch.autograd.grad(attended, arrays, gradient),
        torch.autograd.grad(expected, arrays, gradient),
        strict=True,
    ):
        torch.testing.assert_close(actual, wanted)


def test_patches_are_projected_as_by_a_convolution() -> None:
    projection = PatchEmbed(width=6, patch_size=4).proj
    images = noise(2, 3, 12, 8)

    projected = LAYERS[torch.conv2d](images, projection.weight, projection.bias, (4, 4))

    torch.testing.assert_close(projected, projection(images))
