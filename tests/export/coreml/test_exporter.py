"""What does the Core ML package hold, read back without a Mac?

The sub-model has three blocks with an exit each, so that there is a first, a middle and a last
segment.
"""

import logging
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from reefl_edge.architectures import ARCHITECTURES
from reefl_edge.errors import MissingToolchainError, ParityError
from reefl_edge.models import build
from reefl_edge.submodel import ExitSchedule, Submodel
from reefl_export.coreml.exporter import PACKAGE_NAME, export_coreml, write_package
from reefl_export.coreml.mil.package import SPEC_PATH, load_spec
from reefl_export.coreml.structure import check_structure
from reefl_export.segments import trace_segments
from tests.fakes.exports import FACTS, conversion_of

pytestmark = pytest.mark.skipif(
    find_spec("coremltools") is None, reason="coremltools makes the package"
)

MEAN = (0.1, 0.2, 0.3)
STD = (0.5, 0.25, 0.125)
SUBMODEL = Submodel(
    architecture=replace(ARCHITECTURES["digits"], num_blocks=3, mean=MEAN, std=STD),
    schedule=ExitSchedule((0, 1, 2)),
    max_exit=2,
)
WEIGHT_BYTES = 4 * sum(spec.num_elements for spec in SUBMODEL.arrays())


@dataclass(frozen=True)
class Export:
    """One export, and what was seen of it."""

    path: Path
    graphs_before: list[str]
    graphs_after: list[str]
    announced: list[str]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    return export_of_network(tmp_path_factory.mktemp("bundle"))


def export_of_network(folder: Path) -> Export:
    """Export a network, the same one every time."""
    torch.manual_seed(0)
    network = build(SUBMODEL).eval()
    with torch.no_grad():
        for parameter in network.parameters():  # no two arrays alike, as in a trained network
            parameter.normal_(std=0.02)
    programs = trace_segments(network, batch_size=1, forms={})
    before = _graphs(programs)
    announced: list[str] = []
    write_package(conversion_of(network, folder, announced.append), programs)
    return Export(folder / PACKAGE_NAME, before, _graphs(programs), announced)


@pytest.fixture
def damaged(export: Export, tmp_path: Path) -> Path:
    """A copy of the package, to be damaged."""
    return shutil.copytree(export.path, tmp_path / PACKAGE_NAME)


def test_the_package_is_what_the_submodel_says(export: Export) -> None:
    check_structure(export.path, SUBMODEL, "fp32")


def test_every_segment_is_a_function_and_the_first_is_the_default(export: Export) -> None:
    description = _spec(export.path).description

    assert [function.name for function in description.functions] == [
        "segment_0",
        "segment_1",
        "segment_2",
    ]
    assert description.defaultFunctionName == "segment_0"


def test_the_first_function_takes_an_rgb_image(export: Export) -> None:
    (images,) = _spec(export.path).description.functions[0].input

    image = images.type.imageType
    assert images.name == "images"
    assert image.ColorSpace.Name(image.colorSpace) == "RGB"
    assert (image.height, image.width) == (32, 32)


def test_a_function_takes_and_gives_the_arrays_of_its_segment(export: Export) -> None:
    middle = _spec(export.path).description.functions[1]

    assert _shapes(middle.input) == {
        "tokens": [1, 17, 64],
        "keys": [1, 1, 16],
        "values": [1, 1, 16],
    }
    assert _shapes(middle.output) == {
        "next_tokens": [1, 17, 64],
        "next_keys": [1, 2, 16],
        "next_values": [1, 2, 16],
        "logits": [1, 10],
    }


def test_pixels_are_normalised_channel_by_channel_inside_the_first_function(
    export: Export,
) -> None:
    operations = _operations(_spec(export.path), "segment_0")

    constants = {each.outputs[0].name: each for each in operations if each.type == "const"}
    scaling, shifting = [each for each in operations if each.type != "const"][:2]
    assert (scaling.type, _source(scaling, "x")) == ("mul", "images")
    assert (shifting.type, _source(shifting, "x")) == ("add", scaling.outputs[0].name)
    scale, offset = (_floats(constants[_source(each, "y")]) for each in (scaling, shifting))
    assert scale == pytest.approx([1 / (255 * s) for s in STD])
    assert offset == pytest.approx([-m / s for m, s in zip(MEAN, STD, strict=True)])


def test_weights_are_stored_once_in_float32(export: Export) -> None:
    size_bytes = _weights(export.path).stat().st_size

    assert size_bytes == pytest.approx(WEIGHT_BYTES, rel=0.01)


def test_the_package_says_what_it_is_and_names_no_author(export: Export) -> None:
    metadata = _spec(export.path).description.metadata

    assert metadata.userDefined["reefl_edge"] == FACTS
    assert metadata.shortDescription == "ReeFL, 3 exits over 3 blocks: a function per segment"
    assert not metadata.author


def test_the_same_network_gives_the_same_bytes(export: Export, tmp_path: Path) -> None:
    again = export_of_network(tmp_path)

    paths = [path for path in export.path.rglob("*") if path.is_file()]
    assert len(paths) == 3
    for path in paths:
        assert path.read_bytes() == (again.path / path.relative_to(export.path)).read_bytes()
    # In any process: maps are in the order of their keys.
    spec = load_spec(export.path)
    written = (export.path / SPEC_PATH).read_bytes()
    assert written == spec.SerializeToString(deterministic=True)


def test_segments_are_announced_in_order(export: Export) -> None:
    assert export.announced == [
        f"Core ML fp32: convert segment_{exit_index}" for exit_index in range(3)
    ]


def test_the_traced_programs_stay_as_they_are(export: Export) -> None:
    assert export.graphs_after == export.graphs_before


def test_others_may_read_the_package(export: Export) -> None:
    for path in export.path.rglob("*"):
        assert path.stat().st_mode & 0o044 == 0o044, path


def test_a_package_of_fewer_segments_is_refused(export: Export) -> None:
    deeper = replace(
        SUBMODEL,
        architecture=replace(SUBMODEL.architecture, num_blocks=4),
        schedule=ExitSchedule((0, 1, 2, 3)),
        max_exit=3,
    )

    with pytest.raises(ParityError, match=r"segment_3 should be .* but is None"):
        check_structure(export.path, deeper, "fp32")


def _take_a_bgr_image(spec: Any) -> None:
    image = spec.description.functions[0].input[0].type.imageType
    image.colorSpace = image.ColorSpace.Value("BGR")


def _start_in_the_middle(spec: Any) -> None:
    spec.description.defaultFunctionName = "segment_1"


def _use_another_operator(spec: Any) -> None:
    _operations(spec, "segment_2")[-1].type = "erf"


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (_take_a_bgr_image, r"segment_0 should be \(images RGB .* is \(images BGR"),
        (_start_in_the_middle, "the default function is 'segment_1'"),
        (_use_another_operator, "segment_2 uses erf"),
    ],
)
def test_a_package_with_another_description_is_refused(
    damaged: Path, damage: Callable[[Any], None], complaint: str
) -> None:
    spec = _spec(damaged)
    damage(spec)
    (damaged / "Data/com.apple.CoreML/model.mlmodel").write_bytes(spec.SerializeToString())

    with pytest.raises(ParityError, match=complaint):
        check_structure(damaged, SUBMODEL, "fp32")


@pytest.mark.parametrize("share", [0.5, 1.1])
def test_weights_of_half_precision_or_stored_twice_are_refused(damaged: Path, share: float) -> None:
    _weights(damaged).write_bytes(bytes(int(share * WEIGHT_BYTES)))

    with pytest.raises(ParityError, match=f"where its arrays have {WEIGHT_BYTES}"):
        check_structure(damaged, SUBMODEL, "fp32")


class _Unconvertible(nn.Module):
    """Uses an operator that Core ML does not have."""

    def forward(self, images: Tensor) -> Tensor:
        unknown: Tensor = torch.special.bessel_j0(images.float())
        return unknown


# What it was converting holds a temporary folder, which the error keeps until it is dropped.
@pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")
def test_an_operator_that_core_ml_lacks_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    images = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    program = torch.export.export(_Unconvertible(), (images,))

    with pytest.raises(MissingToolchainError, match=r"operator special_bessel_j0 in .*segment_0"):
        write_package(conversion_of(build(SUBMODEL), tmp_path), {"segment_0": program})

    assert not any(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_conversion_prints_nothing_and_leaves_logging_as_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    submodel = SUBMODEL.cut(0)
    level = logging.getLogger("coremltools").level

    export_coreml(conversion_of(build(submodel).eval(), tmp_path))

    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("coremltools").level == level


def test_without_coremltools_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "coremltools", None)

    with pytest.raises(MissingToolchainError, match=r"install 'reefl-edge\[coreml\]'"):
        export_coreml(conversion_of(build(SUBMODEL).eval(), tmp_path))


def _graphs(programs: dict[str, ExportedProgram]) -> list[str]:
    return [str(program.graph) for program in programs.values()]


def _spec(path: Path) -> Any:
    from coremltools.models.utils import load_spec

    return load_spec(str(path))


def _weights(path: Path) -> Path:
    return path / "Data/com.apple.CoreML/weights/weight.bin"


def _operations(spec: Any, name: str) -> Any:
    function = spec.mlProgram.functions[name]
    return function.block_specializations[function.opset].operations


def _source(operation: Any, name: str) -> str:
    """Return what an operation reads as its input ``name``."""
    source: str = operation.inputs[name].arguments[0].name
    return source


def _shapes(features: Any) -> dict[str, list[int]]:
    return {feature.name: list(feature.type.multiArrayType.shape) for feature in features}


def _floats(constant: Any) -> list[float]:
    return list(constant.attributes["val"].immediateValue.tensor.floats.values)
