"""One graph with the whole chain and the stop rule."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from reefl_edge.adaptive import AdaptiveSession, ConfidencePolicy
from reefl_edge.array_files.safetensors import data_ranges
from reefl_edge.bundles.facts import METADATA_KEY
from reefl_edge.checkpoints.checkpoint import WEIGHTS_NAME
from reefl_edge.confidence import MEASURES, ConfidenceMeasure, softmax
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


class Answer(NamedTuple):
    """What the graph says of an image."""

    logits: NDArray[np.float32]
    exit_index: int
    confidence: float


def answer(
    adaptive: onnxruntime.InferenceSession, image: NDArray[np.uint8], threshold: float
) -> Answer:
    return answer_by(adaptive, image, ConfidencePolicy((threshold,)))


def answer_by(
    adaptive: onnxruntime.InferenceSession, image: NDArray[np.uint8], policy: ConfidencePolicy
) -> Answer:
    feed = {
        "images": image[None],
        "thresholds": np.array([policy.threshold(k) for k in range(NUM_EXITS - 1)], np.float32),
        "temperatures": np.array([policy.temperature(k) for k in range(NUM_EXITS)], np.float32),
        "measure": np.array(MEASURES.index(policy.measure), np.int64),
    }
    logits, exit_index, sureness = adaptive.run(["logits", "exit_index", "confidence"], feed)
    assert exit_index.shape == sureness.shape == (1,)
    return Answer(logits[0], int(exit_index[0]), float(sureness[0]))


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

    assert [each.exit_index for each in answers] == expected.exit_indices.tolist()
    np.testing.assert_allclose([each.logits for each in answers], expected.logits, atol=1e-5)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("temperatures", [(), (2.0, 0.5, 3.0)])
def test_it_stops_by_any_measure_at_any_temperature_and_by_a_threshold_per_exit(
    adaptive: onnxruntime.InferenceSession,
    segments: OnnxRuntime,
    network: ReeFL,
    measure: ConfidenceMeasure,
    temperatures: tuple[float, ...],
) -> None:
    images = random_images(12)
    taken = set()
    for thresholds in ((0.05, 0.05), (0.3, 0.9), (0.8, 0.2), (0.5, 0.5), (0.9, 1.0), (1.0, 0.1)):
        policy = ConfidencePolicy(thresholds, measure, temperatures)
        expected = AdaptiveSession(segments, network.submodel, policy).predict(images)

        answers = [answer_by(adaptive, image, policy) for image in images]

        assert [each.exit_index for each in answers] == expected.exit_indices.tolist()
        np.testing.assert_allclose(
            [each.confidence for each in answers], expected.confidences, atol=1e-5
        )
        taken |= {each.exit_index for each in answers}
    assert taken == set(range(NUM_EXITS))


def test_every_exit_is_taken_by_some_image(adaptive: onnxruntime.InferenceSession) -> None:
    taken = {
        answer(adaptive, image, threshold).exit_index
        for image in random_images(12)
        for threshold in (0.7, 0.99)
    }

    assert taken == set(range(NUM_EXITS))


def test_a_threshold_of_one_never_stops_early(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "certain"))
    multiply(copy / WEIGHTS_NAME, "classifier.linear.weight", 1e4)
    certain = session(copy / ADAPTIVE_NAME)
    (image,) = random_images(1)

    answered = answer(certain, image, 1.0)

    assert softmax(answered.logits).max() == answered.confidence == 1
    assert answered.exit_index == NUM_EXITS - 1
    assert answer(certain, image, 0.999).exit_index == 0


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
    assert (folder / ADAPTIVE_NAME).stat().st_size < 1.3 * sum(sizes)
    assert model.ir_version <= IR_VERSION
    assert {entry.key: entry.value for entry in model.metadata_props} == {METADATA_KEY: FACTS}
    onnx.checker.check_model(str(folder / ADAPTIVE_NAME), full_check=True)


def test_it_takes_one_image(adaptive: onnxruntime.InferenceSession) -> None:
    shapes = {value.name: value.shape for value in adaptive.get_inputs()}

    assert shapes == {
        "images": [1, 16, 16, 3],
        "thresholds": [NUM_EXITS - 1],
        "temperatures": [NUM_EXITS],
        "measure": [],
    }
    assert [output.shape for output in adaptive.get_outputs()] == [[1, 3], [1], [1]]
