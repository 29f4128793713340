"""Where does the label of a point stand, so that it covers no point, no line and no other label?

Each label takes, in turn, the nearest free place around its point, first on the side where it is
wanted; the places lie on rings. All lengths are pixels, y upwards; angles are radians from the
right, counter-clockwise.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

# How far the middle of a label may lie from its point, beside half of its own height.
_RINGS = (16.0, 24.0, 36.0, 52.0, 72.0)
_NUM_DIRECTIONS = 16
# Empty space around a label.
_MARGIN = 4.0

Point = tuple[float, float]


class Box(NamedTuple):
    """A rectangle along the axes."""

    left: float
    bottom: float
    right: float
    top: float

    @classmethod
    def around(cls, centre: Point, width: float, height: float) -> "Box":
        """Return the box of a size around a point."""
        x, y = centre
        return cls(x - width / 2, y - height / 2, x + width / 2, y + height / 2)

    @property
    def centre(self) -> Point:
        """The point in its middle."""
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2

    def overlap(self, other: "Box") -> float:
        """Return the area that two boxes share."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(width, 0.0) * max(height, 0.0)

    def is_inside(self, other: "Box") -> bool:
        """Tell whether the other box holds all of this one."""
        return self.overlap(other) >= (self.right - self.left) * (self.top - self.bottom)


def place_labels(
    points: Sequence[Point],
    sizes: Sequence[tuple[float, float]],
    sides: Sequence[float],
    obstacles: Sequence[Box],
    bounds: Box,
) -> list[Box]:
    """Place a label for each point.

    Args:
        points: What the labels belong to.
        sizes: Width and height of each label.
        sides: The angle at which each label is wanted.
        obstacles: What no label may cover.
        bounds: Where they must lie.

    Returns:
        The box of each label: free of everything, or where there is no room, over as little as can
        be.
    """
    taken = list(obstacles)
    placed = []
    for point, (width, height), side in zip(points, sizes, sides, strict=True):
        places = [*_places(point, width, height, side)]
        inside = [place for place in places if place.is_inside(bounds)] or places
        best = min(inside, key=lambda place: sum(place.overlap(box) for box in taken))
        placed.append(best)
        taken.append(Box.around(best.centre, width + 2 * _MARGIN, height + 2 * _MARGIN))
        taken += along([point, best.centre], _MARGIN)
    return placed


def _places(point: Point, width: float, height: float, side: float) -> Iterator[Box]:
    """Yield the places around a point, the nearest first, beginning at a side."""
    for ring in _RINGS:
        for step in range(_NUM_DIRECTIONS):
            # To one side and to the other in turn: 0, 1, -1, 2, -2, ...
            turn = (step + 1) // 2 * (1 if step % 2 else -1)
            angle = side + 2 * math.pi * turn / _NUM_DIRECTIONS
            # An ellipse: a label is wider than high, and its edge is to keep the distance.
            dx = (ring + width / 2) * math.cos(angle)
            dy = (ring + height / 2) * math.sin(angle)
            yield Box.around((point[0] + dx, point[1] + dy), width, height)


def along(points: Sequence[Point], thickness: float) -> Iterator[Box]:
    """Cover the lines from point to point with small boxes, for labels to keep clear of."""
    for (x, y), (next_x, next_y) in pairwise(points):
        count = max(1, math.ceil(math.hypot(next_x - x, next_y - y) / thickness))
        for step in range(count + 1):
            share = step / count
            centre = (x + share * (next_x - x), y + share * (next_y - y))
            yield Box.around(centre, thickness, thickness)


def grouped(points: Sequence[Point], distance: float) -> list[list[int]]:
    """Put neighbours in a row that lie on top of each other into one group, by their indices.

    >>> grouped([(0, 0), (3, 0), (50, 0)], distance=5)
    [[0, 1], [2]]
    """
    groups: list[list[int]] = []
    for index, point in enumerate(points):
        if groups and math.dist(point, points[groups[-1][0]]) < distance:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups
