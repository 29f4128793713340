"""A picture is drawn without a screen; where things stand in it is asked of matplotlib."""

from pathlib import Path

import numpy as np

from reefl_edge.pictures.federation import draw_federation, figure_of
from tests.fakes.federation_reports import federation_report


def test_every_exit_has_a_line_and_shallow_and_deep_clients_have_theirs() -> None:
    above, below = figure_of(federation_report(num_rounds=5, num_exits=2)).axes

    deep, shallow = above.lines
    names = [str(line.get_label()) for line in below.lines]
    assert (deep.get_label(), shallow.get_label()) == ("exit 1", "exit 0")
    assert deep.get_color() != shallow.get_color()
    assert np.size(deep.get_xdata()) == 6  # before the first round, and after each
    assert [name for name in names if not name.startswith("_")] == [
        "to exit 1: 4 clients",
        "to exit 0: 4 clients",
        "somebody left out",
    ]
    assert [line.get_color() for line in below.lines[:2]] == [deep.get_color()] * 2


def test_no_legend_covers_a_curve() -> None:
    figure = figure_of(federation_report(num_rounds=5, num_exits=4, num_clients=8))
    figure.draw_without_rendering()

    legends = [each.get_window_extent() for axes in figure.axes if (each := axes.get_legend())]

    assert len(legends) == 2
    assert not any(axes.bbox.overlaps(each) for axes in figure.axes for each in legends)
    assert not legends[0].overlaps(legends[1])
    assert all(figure.bbox.fully_containsx(each.x1) for each in legends)


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    draw_federation(federation_report(), tmp_path / "federation.png")

    assert (tmp_path / "federation.png").read_bytes().startswith(b"\x89PNG")
