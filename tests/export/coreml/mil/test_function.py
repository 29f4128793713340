"""Is a small program, built by hand and read back from its package, run as it says?"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reefl_edge.errors import ParityError
from reefl_export.coreml.mil.constants import Constants
from reefl_export.coreml.mil.function import Function
from reefl_export.coreml.mil.package import (
    WEIGHTS_PATH,
    load_coremltools,
    load_spec,
    quiet_coremltools,
)
from reefl_export.quiet import without_progress_bars

pytestmark = pytest.mark.skipif(
    find_spec("coremltools") is None, reason="coremltools builds and reads programs"
)

WEIGHT = np.random.default_rng(0).standard_normal((8, 4), np.float32)
X = np.random.default_rng(1).standard_normal((2, 4), np.float32)

# Takes coremltools' builder and the input; gives the output.
Body = Callable[[Any, Any], Any]


def built(body: Body, folder: Path, *, is_half: bool = False) -> Path:
    """Write a package whose one function, ``main``, takes ``x`` (2, 4) and has a body."""
    ct = load_coremltools()
    from coremltools.converters.mil.mil import Builder, types

    dtype = types.fp16 if is_half else types.fp32

    def main(x: Any) -> Any:
        return body(Builder, x)

    specs = [Builder.TensorSpec(shape=X.shape, dtype=dtype)]
    program = Builder.program(input_specs=specs, opset_version=ct.target.iOS18)(main)
    path = folder / "program.mlpackage"
    with quiet_coremltools(), without_progress_bars():
        ct.convert(
            program,
            minimum_deployment_target=ct.target.iOS18,
            compute_precision=ct.precision.FLOAT32,
            pass_pipeline=ct.PassPipeline.EMPTY,
            skip_model_load=True,
        ).save(str(path))
    return path


def loaded(path: Path) -> Function:
    message = load_spec(path).mlProgram.functions["main"]
    return Function("main", message, Constants(path / WEIGHTS_PATH))


def result(path: Path, x: NDArray[np.float32] = X) -> NDArray[Any]:
    (output,) = loaded(path).run({"x": x}).values()
    return output


def test_weights_in_a_file_are_read(tmp_path: Path) -> None:
    path = built(lambda mb, x: mb.linear(x=x, weight=WEIGHT), tmp_path)

    assert (path / WEIGHTS_PATH).stat().st_size >= WEIGHT.nbytes
    np.testing.assert_allclose(result(path), X @ WEIGHT.T, rtol=1e-6)


def test_half_precision_is_rounded_operation_by_operation(tmp_path: Path) -> None:
    weight = WEIGHT.astype(np.float16)

    def body(mb: Any, x: Any) -> Any:
        return mb.add(x=mb.linear(x=x, weight=weight), y=np.float16(1))

    given = result(built(body, tmp_path, is_half=True))

    product = X.astype(np.float16).astype(np.float32) @ weight.astype(np.float32).T
    rounded = product.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(given, (rounded + 1).astype(np.float16))
    assert not np.array_equal(given, (product + 1).astype(np.float16))


def test_what_is_too_large_for_half_precision_is_infinite(tmp_path: Path) -> None:
    path = built(lambda mb, x: mb.mul(x=x, y=np.float16(2)), tmp_path, is_half=True)

    given = result(path, np.full(X.shape, 40_000, np.float32))

    assert np.isinf(given).all()


def test_a_cast_takes_inputs_to_half_precision_and_back(tmp_path: Path) -> None:
    def body(mb: Any, x: Any) -> Any:
        return mb.cast(x=mb.cast(x=x, dtype="fp16"), dtype="fp32")

    np.testing.assert_array_equal(
        result(built(body, tmp_path)), X.astype(np.float16).astype(np.float32)
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_eight_bit_weights_are_scaled_by_output(tmp_path: Path, dtype: type[np.floating]) -> None:
    data = np.random.default_rng(2).integers(-128, 128, (8, 4)).astype(np.int8)
    scale = np.linspace(0.01, 0.09, 8, dtype=dtype)[:, None]

    def body(mb: Any, x: Any) -> Any:
        weight = mb.constexpr_blockwise_shift_scale(data=data, scale=scale)
        return mb.linear(x=x, weight=weight)

    given = result(built(body, tmp_path, is_half=dtype == np.float16))

    weight = (data * scale.astype(np.float32)).astype(dtype).astype(np.float32)
    expected = X.astype(dtype).astype(np.float32) @ weight.T
    np.testing.assert_allclose(given, expected.astype(dtype), rtol=1e-6)


def test_four_bit_weights_are_looked_up_in_their_palette(tmp_path: Path) -> None:
    from coremltools.converters.mil.mil import types

    codes = np.random.default_rng(2).integers(0, 16, (8, 4)).astype(np.uint8)
    palettes = np.random.default_rng(3).standard_normal((2, 1, 16, 1), np.float32)

    def body(mb: Any, x: Any) -> Any:
        indices = codes.astype(types.np_uint4_dtype)
        return mb.linear(x=x, weight=mb.constexpr_lut_to_dense(indices=indices, lut=palettes))

    given = result(built(body, tmp_path))

    weight = np.concatenate([palettes[0, 0, codes[:4], 0], palettes[1, 0, codes[4:], 0]])
    np.testing.assert_allclose(given, X @ weight.T, rtol=1e-6)


def test_parts_are_taken_and_joined(tmp_path: Path) -> None:
    def body(mb: Any, x: Any) -> Any:
        first, second = mb.split(x=x, split_sizes=[1, 3], axis=1)
        row = mb.slice_by_index(x=second, begin=[1, 0], end=[2, 0], end_mask=[False, True])
        turned = mb.transpose(x=row, perm=[1, 0])
        return mb.concat(values=[turned, first], axis=0)

    expected = np.concatenate([X[1:2, 1:].T, X[:, :1]])
    np.testing.assert_array_equal(result(built(body, tmp_path)), expected)


def test_a_value_that_is_used_again_is_kept_until_then(tmp_path: Path) -> None:
    def body(mb: Any, x: Any) -> Any:
        doubled = mb.add(x=x, y=x)
        return mb.mul(x=mb.relu(x=doubled), y=mb.add(x=doubled, y=x))

    np.testing.assert_allclose(
        result(built(body, tmp_path)), np.maximum(2 * X, 0) * 3 * X, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (lambda mb, x: mb.erf(x=x), "main uses erf, which the check .* knows add, cast, concat"),
        (
            lambda mb, x: mb.slice_by_index(x=x, begin=[0, 0], end=[2, 4], stride=[1, 2]),
            "main: slice_by_index .* unexpected keyword argument 'stride'",
        ),
        (
            lambda mb, x: mb.layer_norm(x=x, axes=[-1], epsilon=1e-6),
            "main: layer_norm .* missing a required argument: 'gamma'",
        ),
        (
            lambda mb, x: mb.cast(x=x, dtype="uint8"),
            "no tensor of UINT8",
        ),
    ],
)
def test_what_is_not_known_is_named_when_the_program_is_loaded(
    tmp_path: Path, body: Body, complaint: str
) -> None:
    path = built(body, tmp_path)

    with pytest.raises(ParityError, match=complaint):
        loaded(path)


def test_an_unknown_use_is_named_when_the_program_is_run(tmp_path: Path) -> None:
    function = loaded(built(lambda mb, x: mb.gelu(x=x, mode="TANH_APPROXIMATION"), tmp_path))

    with pytest.raises(ParityError, match=r"main: gelu .* mode TANH_APPROXIMATION"):
        function.run({"x": X})


def test_a_result_of_another_shape_than_declared_is_named(tmp_path: Path) -> None:
    path = built(lambda mb, x: mb.relu(x=x), tmp_path)
    message = load_spec(path).mlProgram.functions["main"]
    operations = message.block_specializations[message.opset].operations
    operations[-1].outputs[0].type.tensorType.dimensions[0].constant.size = 3
    function = Function("main", message, Constants(path / WEIGHTS_PATH))

    with pytest.raises(ParityError, match=r"relu .* gives \[\(2, 4\)\], where \[\(3, 4\)\]"):
        function.run({"x": X})


@pytest.mark.parametrize("inputs", [{}, {"x": X, "y": X}, {"x": X[:1]}])
def test_other_inputs_than_declared_are_refused(
    tmp_path: Path, inputs: dict[str, NDArray[np.float32]]
) -> None:
    function = loaded(built(lambda mb, x: mb.relu(x=x), tmp_path))

    with pytest.raises(ValueError, match=r"main takes \{'x': \(2, 4\)\}, got"):
        function.run(inputs)
