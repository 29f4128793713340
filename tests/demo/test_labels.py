"""Can every threshold in the demo's picture be read?"""

import json
from itertools import combinations
from pathlib import Path

import pytest
from matplotlib.text import Annotation, Text

from reefl_edge import schema
from reefl_edge.demo.measure import Curve
from reefl_edge.demo.picture import figure_of
from reefl_edge.pictures.labels import Box, along, grouped, place_labels

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

    axes = figure.axes[0]
    labels = [text for text in axes.texts if isinstance(text, Annotation)]
    # Of the text alone: an annotation's own extent has the line to its point in it.
    written = [Box(*Text.get_window_extent(text).extents) for text in labels]
    words = ", ".join(text.get_text() for text in labels).split(", ")
    assert sorted(words) == sorted(
        "never early" if point.threshold == 1 else f"{point.threshold:g}"
        for curve in curves
        for point in curve.points
    )
    assert overlapping(written) == []
    assert all(box.is_inside(Box(*axes.get_window_extent().extents)) for box in written)
