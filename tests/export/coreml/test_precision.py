"""Does a Core ML package in each precision compute what the network computes, at its size?

The sub-model has two blocks with an exit each.
"""

from collections import Counter
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from reefl_edge.architectures import ARCHITECTURES
from reefl_edge.bundles.artifacts import Precision
from reefl_edge.errors import ParityError
from reefl_edge.models import build
from reefl_edge.models.reefl import ReeFL
from reefl_edge.runtimes.chain import Logits
from reefl_edge.runtimes.eager import EagerRuntime
from reefl_edge.submodel import ExitSchedule, Submodel
from reefl_export.coreml.exporter import PACKAGE_NAME, write_package
from reefl_export.coreml.mil import MilRuntime
from reefl_export.coreml.mil.constants import Constants, type_of
from reefl_export.coreml.mil.package import WEIGHTS_PATH, load_spec, quiet_coremltools
from reefl_export.coreml.program import operation, text, values_of
from reefl_export.coreml.structure import check_structure
from reefl_export.parity.comparison import chain_logits
from reefl_export.quiet import without_progress_bars
from reefl_export.recipe import recipe_for
from reefl_export.segments import trace_segments
from tests.fakes.exports import conversion_of
from tests.fakes.images import random_images

pytestmark = pytest.mark.skipif(
    find_spec("coremltools") is None, reason="coremltools makes the package"
)

SUBMODEL = Submodel(
    architecture=replace(ARCHITECTURES["digits"], num_blocks=2),
    schedule=ExitSchedule((0, 1)),
    max_exit=1,
)
IMAGES = random_images(3, edge=32)
# Mean error over the spread of the logits, and bytes of a weight beside those of float32.
PRECISIONS: dict[Precision, tuple[float, float]] = {
    "fp32": (1e-6, 1.0),
    "fp16": (0.01, 0.5),
    "int8-weights": (0.05, 0.27),
    "palette4": (0.4, 0.17),
}


@dataclass(frozen=True)
class Exported:
    """A network as packages of all precisions, and its logits (B, C) at each exit."""

    paths: dict[Precision, Path]
    logits: list[Logits]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    network = trained_like()
    programs = trace_segments(network, batch_size=1, forms={})
    paths: dict[Precision, Path] = {}
    for precision in PRECISIONS:
        folder = tmp_path_factory.mktemp(precision)
        write_package(
            conversion_of(network, folder, recipe=recipe_for("coreml", precision)), programs
        )
        paths[precision] = folder / PACKAGE_NAME
    return Exported(paths, chain_logits(EagerRuntime(network, threads=1), IMAGES, num_exits=2))


def trained_like() -> ReeFL:
    """Return a network whose arrays all differ, as in a trained one, but for two that are equal."""
    torch.manual_seed(0)
    network = build(SUBMODEL).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.1)
        # Equal constants of a norm and a linear layer are one constant of the program.
        network.accumulator.norm1.bias.zero_()
        network.accumulator.proj.bias.zero_()
    return network


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_exit_gives_the_logits_of_the_network(
    exported: Exported, precision: Precision
) -> None:
    runtime = MilRuntime(exported.paths[precision], SUBMODEL.segments(), threads=1)

    logits = chain_logits(runtime, IMAGES, num_exits=2)

    largest, _ = PRECISIONS[precision]
    for given, expected in zip(logits, exported.logits, strict=True):
        assert given.dtype == np.float32
        error = np.abs(given - expected).mean() / expected.std()
        assert error <= largest
        if precision != "fp32":
            assert error > 1e-6  # it is not the float32 program that was run


@pytest.mark.parametrize("precision", PRECISIONS)
def test_weights_are_stored_once_and_as_narrow_as_asked(
    exported: Exported, precision: Precision
) -> None:
    stored_bytes = (exported.paths[precision] / WEIGHTS_PATH).stat().st_size

    _, share = PRECISIONS[precision]
    array_bytes = 4 * sum(spec.num_elements for spec in SUBMODEL.arrays())
    assert stored_bytes == pytest.approx(share * array_bytes, rel=0.08)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_inputs_and_outputs_stay_float32(exported: Exported, precision: Precision) -> None:
    description = load_spec(exported.paths[precision]).description

    last = description.functions[-1]
    dtypes = {each.type.multiArrayType.dataType for each in [*last.input, *last.output]}
    assert dtypes == {last.input[0].type.multiArrayType.FLOAT32}


def test_narrowed_weights_are_the_matrices(exported: Exported) -> None:
    program = load_spec(exported.paths["palette4"]).mlProgram
    function = program.functions["segment_1"]
    operations = function.block_specializations[function.opset].operations

    narrowed = [each.outputs[0].name for each in operations if each.type.startswith("constexpr")]
    # Outputs of the classifier (10) and of the accumulator's first MLP layer (86) make no groups.
    accumulator = ["accumulator_qkv", "accumulator_proj", "accumulator_mlp_fc2"]
    block = [f"blocks_1_{layer}" for layer in ("attn_qkv", "attn_proj", "mlp_fc1", "mlp_fc2")]
    assert narrowed == [f"p_network_{layer}_weight" for layer in (*block, *accumulator)]


def test_half_precision_is_what_coremltools_makes_of_a_segment(
    exported: Exported, tmp_path: Path
) -> None:
    import coremltools as ct

    segment = SUBMODEL.segments()[1]
    program = trace_segments(trained_like(), batch_size=1, forms={})[segment.name]
    theirs = tmp_path / "half.mlpackage"
    with quiet_coremltools(), without_progress_bars():
        ct.convert(
            program.run_decompositions({}),
            inputs=[ct.TensorType(name=spec.name, dtype=np.float32) for spec in segment.inputs],
            outputs=[ct.TensorType(name=spec.name, dtype=np.float32) for spec in segment.outputs],
            minimum_deployment_target=ct.target.iOS18,
            compute_precision=ct.precision.FLOAT16,
            package_dir=str(theirs),
            skip_model_load=True,
        )

    ours = exported.paths["fp16"]
    assert _operations(ours, segment.name) == _operations(theirs, "main")


def _operations(path: Path, name: str) -> Counter[tuple[str, bytes]]:
    """Count the operations of a function by type, and its constants by content.

    Not those that are no weights: an axis may be counted from either end.
    """
    function = load_spec(path).mlProgram.functions[name]
    constants = Constants(path / WEIGHTS_PATH)
    return Counter(
        (each.type, np.asarray(constants.value(each.attributes["val"])).tobytes())
        if each.type == "const"
        else (each.type, each.outputs[0].type.SerializeToString(deterministic=True))
        for each in function.block_specializations[function.opset].operations
        if each.type != "const" or type_of(each.outputs[0].type).name == "FLOAT16"
    )


@pytest.mark.parametrize(
    ("made", "claimed"),
    [("fp32", "fp16"), ("fp16", "int8-weights"), ("int8-weights", "palette4"), ("fp16", "fp32")],
)
def test_a_package_in_another_precision_is_refused(
    exported: Exported, made: Precision, claimed: Precision
) -> None:
    with pytest.raises(ParityError, match=r"its weights take .* bytes, where its arrays have"):
        check_structure(exported.paths[made], SUBMODEL, claimed)


def test_a_package_without_the_segment_is_refused(exported: Exported) -> None:
    deeper = replace(
        SUBMODEL,
        architecture=replace(SUBMODEL.architecture, num_blocks=3),
        schedule=ExitSchedule((0, 1, 2)),
        max_exit=2,
    )

    with pytest.raises(ParityError, match=r"model.mlpackage lacks segment_2"):
        MilRuntime(exported.paths["fp32"], deeper.segments(), threads=1)


def test_a_newer_system_can_be_asked_for(tmp_path: Path) -> None:
    network = build(SUBMODEL.cut(0)).eval()
    recipe = replace(recipe_for("coreml"), deployment_target="iOS26")

    write_package(
        conversion_of(network, tmp_path, recipe=recipe),
        trace_segments(network, batch_size=1, forms={}),
    )

    spec = load_spec(tmp_path / PACKAGE_NAME)
    assert {function.opset for function in spec.mlProgram.functions.values()} == {"CoreML9"}
    runtime = MilRuntime(tmp_path / PACKAGE_NAME, SUBMODEL.cut(0).segments(), threads=1)
    logits = runtime.run(0, (IMAGES,))[-1]
    expected = EagerRuntime(network, threads=1).run(0, (IMAGES,))[-1]
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_what_goes_into_the_weights_file_comes_by_name_whatever_protobuf_makes_of_it() -> None:
    from coremltools.proto import MIL_pb2

    names = [f"part_{index}" for index in range(9)]
    function = MIL_pb2.Function(opset="CoreML8")
    taken = {name: text(name) for name in reversed(names)}
    made = operation("constexpr", MIL_pb2.NamedValueType(name="weight"), **taken)
    function.block_specializations["CoreML8"].operations.append(made)

    given = [value.immediateValue.tensor.strings.values[0] for value in values_of(function)]

    assert given == ["weight", *names]
