"""Can every threshold in a picture be read?"""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from reefl_edge import schema
from reefl_edge.adaptive import ConfidencePolicy
from reefl_edge.demo.measure import Curve
from reefl_edge.demo.picture import figure_of
from reefl_edge.pictures import evaluation
from reefl_edge.pictures.labels import Box, along, grouped, place_labels
from reefl_edge.tasks.evaluating import Evaluated, Evaluation, ExitFigures
from reefl_edge.tasks.validation import ValidationImages
from reefl_edge.thresholds.replay import replay
from reefl_edge.thresholds.temperature import Bin
from tests.fakes.runtimes import numbered_images

ROOT = Path(__file__).parents[2]
BOUNDS = Box(0, 0, 400, 300)
SIZE = (30.0, 12.0)


def overlapping(boxes: list[Box]) -> list[tuple[Box, Box]]:
    return [(one, other) for one, other in combinations(boxes, 2) if one.overlap(other) > 0]


def test_labels_of_points_in_a_heap_stand_apart_and_leave_the_points_free() -> None:
    points = [(200.0 + x, 150.0 + y) for x in (0, 6, 12) for y in (0, 6, 12)]
    dots = [Box.around(point, 6, 6) for point in points]

    places = place_labels(points, [SIZE] * 9, [0.0] * 9, dots, BOUNDS)

    assert overlapping(places) == []
    assert not any(place.overlap(dot) for place in places for dot in dots)


def test_a_label_stands_on_its_side_unless_that_is_outside() -> None:
    (right,) = place_labels([(200, 150)], [SIZE], [0.0], [], BOUNDS)
    (inside,) = place_labels([(395, 150)], [SIZE], [0.0], [], BOUNDS)

    assert right == Box(216, 144, 246, 156)
    assert inside.is_inside(BOUNDS)


def test_a_label_keeps_clear_of_a_line() -> None:
    line = list(along([(0, 150), (400, 150)], 2))

    (place,) = place_labels([(200, 150)], [SIZE], [0.0], line, BOUNDS)

    assert not any(place.overlap(box) for box in line)


def test_where_there_is_no_room_a_label_stands_all_the_same() -> None:
    (place,) = place_labels([(5, 5)], [SIZE], [0.0], [BOUNDS], Box(0, 0, 10, 10))

    assert place.right - place.left == pytest.approx(30)


def test_only_points_on_top_of_each_other_share_a_label() -> None:
    assert grouped([(0, 0), (3, 0), (6, 0), (9, 0)], distance=5) == [[0, 1], [2, 3]]


def test_no_label_of_the_published_picture_covers_another() -> None:
    document = json.loads((ROOT / "docs" / "results" / "demo.json").read_text())
    curves = tuple(
        schema.from_json(Curve, json.dumps(curve), source="demo.json")
        for curve in document["adaptive"]
    )

    figure = figure_of(curves)
    figure.draw_without_rendering()

    words = ", ".join(text.get_text() for text in annotations(figure)).split(", ")
    assert sorted(words) == sorted(
        "never early" if point.threshold == 1 else f"{point.threshold:g}"
        for curve in curves
        for point in curve.points
    )
    assert_labels_stand_apart(figure)


def test_no_label_of_several_evaluations_covers_another() -> None:
    # The second and third are the same: their curves, too, lie on each other.
    figure = evaluation.figure_of([evaluated("one", 0), evaluated("two", 1), evaluated("three", 1)])
    figure.draw_without_rendering()

    words = ", ".join(text.get_text() for text in annotations(figure)).split(", ")
    assert words.count("never early") == words.count("this bundle") == 3
    assert_labels_stand_apart(figure)


def annotations(figure: Figure) -> list[Annotation]:
    return [text for text in figure.axes[0].texts if isinstance(text, Annotation)]


def assert_labels_stand_apart(figure: Figure) -> None:
    # Of the text alone: an annotation's own extent has the line to its point in it.
    written = [Box(*Text.get_window_extent(text).extents) for text in annotations(figure)]
    assert overlapping(written) == []
    inside = Box(*figure.axes[0].get_window_extent().extents)
    assert all(box.is_inside(inside) for box in written)


def evaluated(bundle: str, seed: int) -> Evaluated:
    """Return a made-up evaluation of three exits, the deeper the surer, on 200 images."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 5, 200)
    logits = generator.normal(size=(3, 200, 5)).astype(np.float32)
    logits[:, np.arange(200), labels] += generator.exponential(3, 200) * np.array([[1], [2], [3]])
    policy = ConfidencePolicy((0.6, 0.8))
    found = replay(policy, logits, labels)
    figures = ExitFigures(
        accuracy=0.9,
        mean_ms=1.0,
        calibration_error=0.1,
        reliability=(Bin(200, 0.8, 0.9),),
        tempered_calibration_error=None,
        tempered_reliability=(),
    )
    images = ValidationImages(200, lambda indices: numbered_images(indices.tolist()), labels)
    judged = Evaluation(
        bundle=bundle,
        artifact="onnx-fp32",
        runtime="onnx",
        thresholds=policy.thresholds,
        measure="largest-softmax",
        temperatures=(),
        promise=None,
        num_images=200,
        images_sha256="0" * 64,
        are_calibration_images=False,
        exits=(figures,) * 3,
        accuracy=found.accuracy,
        accuracy_change=0.0,
        accuracy_change_interval=(0.0, 0.0),
        disagreement=0.0,
        exit_shares=found.exit_shares(3),
        num_timed=1,
        mean_ms=1.0,
        p90_ms=1.0,
        deepest_mean_ms=1.0,
        deepest_p90_ms=1.0,
        class_accuracy={},
        confusions=(),
    )
    passed_ms = np.array([[1.0], [2.0], [3.0]]) * (1 + 0.2 * seed)
    return Evaluated(judged, policy, logits, found, passed_ms, images)
