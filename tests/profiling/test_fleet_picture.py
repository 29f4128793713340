"""Is a fleet's picture one in which everything can be read?"""

from itertools import combinations
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from reefl_edge.profiling.assignment import assign_exits
from reefl_edge.profiling.budget import Budget
from reefl_edge.profiling.fleet_picture import draw_fleet, figure_of
from tests.profiling.test_assignment import device, round_of

FLEET = {
    "raspberry-pi-3b-plus": device(slowness=12, memory_mib=100),
    "raspberry-pi-4": device(slowness=6),
    "pixel6": device(slowness=2),
    "pixel7": device(slowness=1.8),
    "pixel9": device(),
    "a-phone-with-a-very-long-name-indeed": device(memory_mib=120),
}


def test_no_name_lies_over_another_and_every_device_is_named() -> None:
    budget = Budget(inference_ms=60, memory_mib=300, round=round_of(8.5))
    figure = figure_of(assign_exits(FLEET, budget))
    figure.draw_without_rendering()
    fleet = figure.axes[0]

    boxes = [text.get_window_extent() for text in fleet.texts]

    assert len(boxes) == len(FLEET)
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    legend = fleet.get_legend()
    assert legend is not None
    assert {text.get_text() for text in legend.get_texts()} >= {"inference", "memory"}


def test_a_large_fleet_is_counted_not_named() -> None:
    fleet = {f"phone-{index}": device() for index in range(40)}

    figure = figure_of(assign_exits(fleet, Budget(inference_ms=25)))

    assert len(figure.axes) == 1  # no deadline was asked for
    assert not figure.axes[0].texts


def test_exits_without_a_device_have_their_place() -> None:
    figure = figure_of(assign_exits({"fast": device()}, Budget(inference_ms=1000)))
    axes = figure.axes[0]

    left, right = axes.get_xlim()

    assert left < -0.5
    assert right > len(axes.get_xticks()) - 0.5


def test_the_picture_is_a_file(tmp_path: Path) -> None:
    draw_fleet(assign_exits(FLEET, Budget(inference_ms=60)), tmp_path / "fleet.png")

    assert (tmp_path / "fleet.png").read_bytes().startswith(b"\x89PNG")
