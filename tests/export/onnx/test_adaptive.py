"""One graph with the whole chain and the stop rule."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from reefl_edge.adaptive import AdaptiveSession, ConfidencePolicy
from reefl_edge.array_files.safetensors import data_ranges
from reefl_edge.bundles.facts import METADATA_KEY
from reefl_edge.checkpoints.checkpoint import WEIGHTS_NAME
from reefl_edge.confidence import softmax
from reefl_edge.models.arrays import random_network
from reefl_edge.models.reefl import Classifier, ReeFL
from reefl_edge.runtimes.onnx import OnnxRuntime
from reefl_export.onnx.adaptive import ADAPTIVE_NAME
from reefl_export.onnx.assembly import IR_VERSION
from reefl_export.onnx.exporter import export_onnx
from reefl_export.recipe import recipe_for
from tests.export.onnx.artifacts import external, session
from tests.fakes.exports import FACTS, conversion_of
from tests.fakes.images import random_images
from tests.fakes.submodels import tiny_submodel

NUM_EXITS = 3


@pytest.fixture(scope="module")
def network() -> ReeFL:
    network = random_network(tiny_submodel(num_blocks=NUM_EXITS, num_exits=NUM_EXITS), seed=0)
    # Logits that differ from image to image, so that some stop at every exit.
    assert isinstance(network.classifier, Classifier)
    network.classifier.linear.weight.data *= 40
    return network


@pytest.fixture(scope="module")
def folder(network: ReeFL, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adaptive")
    recipe = replace(recipe_for("onnx"), adaptive_graph=True)
    export_onnx(conversion_of(network, folder, recipe=recipe))
    return folder


@pytest.fixture(scope="module")
def segments(folder: Path) -> OnnxRuntime:
    return OnnxRuntime([session(folder / f"segment_{k}.onnx") for k in range(NUM_EXITS)])


@pytest.fixture(scope="module")
def adaptive(folder: Path) -> onnxruntime.InferenceSession:
    return session(folder / ADAPTIVE_NAME)


def answer(
    adaptive: onnxruntime.InferenceSession, image: NDArray[np.uint8], threshold: float
) -> tuple[NDArray[np.float32], int]:
    feed = {"images": image[None], "threshold": np.array(threshold, np.float32)}
    logits, exit_index = adaptive.run(["logits", "exit_index"], feed)
    assert exit_index.shape == (1,)
    return logits[0], int(exit_index[0])


@pytest.mark.parametrize("threshold", [0.0001, 0.5, 0.7, 0.9, 0.99, 1.0])
def test_it_answers_as_the_session_does(
    adaptive: onnxruntime.InferenceSession,
    segments: OnnxRuntime,
    network: ReeFL,
    threshold: float,
) -> None:
    images = random_images(12)
    reference = AdaptiveSession(segments, network.submodel, ConfidencePolicy((threshold,)))
    expected = reference.predict(images)

    answers = [answer(adaptive, image, threshold) for image in images]

    assert [exit_index for _, exit_index in answers] == expected.exit_indices.tolist()
    np.testing.assert_allclose([logits for logits, _ in answers], expected.logits, atol=1e-5)


def test_every_exit_is_taken_by_some_image(adaptive: onnxruntime.InferenceSession) -> None:
    taken = {
        answer(adaptive, image, threshold)[1]
        for image in random_images(12)
        for threshold in (0.7, 0.99)
    }

    assert taken == set(range(NUM_EXITS))


def test_a_threshold_of_one_never_stops_early(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "certain"))
    multiply(copy / WEIGHTS_NAME, "classifier.linear.weight", 1e4)
    certain = session(copy / ADAPTIVE_NAME)
    (image,) = random_images(1)

    logits, exit_index = answer(certain, image, 1.0)

    assert softmax(logits).max() == 1
    assert exit_index == NUM_EXITS - 1
    assert answer(certain, image, 0.999)[1] == 0


def multiply(path: Path, name: str, factor: float) -> None:
    """Multiply an array where it lies in a weights file."""
    offset, length = data_ranges(path)[name]
    content = bytearray(path.read_bytes())
    array = np.frombuffer(content, np.float32, length // 4, offset)
    array *= factor
    path.write_bytes(content)


@pytest.mark.parametrize(("threshold", "num_run"), [(0.0001, 1), (1.0, NUM_EXITS)])
def test_what_lies_behind_the_stop_does_not_run(
    folder: Path, tmp_path: Path, threshold: float, num_run: int
) -> None:
    profiled = session(
        folder / ADAPTIVE_NAME,
        enable_profiling=True,
        profile_file_prefix=str(tmp_path / "profile"),
    )
    answer(profiled, random_images(1)[0], threshold)

    events = json.loads(Path(profiled.end_profiling()).read_text(encoding="utf-8"))
    run = {event["name"].split("/")[0] for event in events if event["name"].startswith("segment_")}
    assert run == {f"segment_{exit_index}" for exit_index in range(num_run)}


def test_it_reads_the_weights_of_the_segments(folder: Path) -> None:
    model = onnx.load(folder / ADAPTIVE_NAME, load_external_data=False)
    graphs = [onnx.load(folder / f"segment_{k}.onnx", load_external_data=False) for k in range(3)]

    places = {name: place for graph in graphs for name, place in external(graph).items()}
    assert external(model) == places
    assert {location for location, _ in places.values()} == {WEIGHTS_NAME}
    sizes = [(folder / f"segment_{k}.onnx").stat().st_size for k in range(NUM_EXITS)]
    assert (folder / ADAPTIVE_NAME).stat().st_size < 1.2 * sum(sizes)
    assert model.ir_version <= IR_VERSION
    assert {entry.key: entry.value for entry in model.metadata_props} == {METADATA_KEY: FACTS}
    onnx.checker.check_model(str(folder / ADAPTIVE_NAME), full_check=True)


def test_it_takes_one_image(adaptive: onnxruntime.InferenceSession) -> None:
    images, threshold = adaptive.get_inputs()

    assert images.shape == [1, 16, 16, 3]
    assert threshold.shape == []
    assert [output.shape for output in adaptive.get_outputs()] == [[1, 3], [1]]
